"""What is unusual is told from what was there before; until enough was, nothing is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision import Classification, Finding, Request, RuleMatch, Signals, Status, Subject
from router.stages.usual import RATE, SIZE, RateCounter, SizeSketch, Usual
from tests.unit.stages.requests import text_request

PAY = Classification(Status.CLASSIFIED, "pay", 0.9)
SECOND = 10**9


def request(at_s: float = 0.0, subject: str = "ada", **changes: str) -> Request:
    who = Subject(subject, "user", authenticated_by=changes.pop("authenticated_by", "api_key"))
    return replace(text_request("x"), subject=who, received_ns=int(at_s * SECOND), **changes)


def sized(size: int) -> Signals:
    return Signals(body_bytes=size)


def found(signals: Signals) -> dict[str, float]:
    return {finding.name: finding.score for finding in signals.findings}


def learnt(sizes: list[int]) -> SizeSketch:
    sketch = SizeSketch()
    for size in sizes:
        sketch.add(size)
    return sketch


def test_nothing_is_said_of_a_size_before_enough_were_seen() -> None:
    """One less than enough is `learning`, enough is an answer."""
    assert learnt([100] * (SizeSketch.ENOUGH - 1)).score(10**6) is None
    assert learnt([100] * SizeSketch.ENOUGH).score(100) == 0.0


def test_a_size_that_was_never_seen_is_unusual() -> None:
    """The more was seen without it, the more."""
    few, many = learnt([100, 120, 90] * 70).score(5000), learnt([100, 120, 90] * 2000).score(5000)
    assert few is not None
    assert many is not None
    assert 0.0 < few < many <= 1.0


@pytest.mark.parametrize("size", [0, 50, 130, 330])
def test_a_size_a_little_off_is_usual(size: int) -> None:
    """Clearly less than four times the median is ordinary, however alike all the others were."""
    assert learnt([100] * 1000).score(size) == 0.0


def test_a_size_that_comes_often_is_usual() -> None:
    """Large ones are unusual only as long as they are rare."""
    assert learnt([100] * 900 + [5000] * 100).score(5000) == 0.0


def test_a_lasting_change_becomes_usual() -> None:
    """Old sizes fade."""
    sketch = learnt([100] * 8000)
    assert sketch.score(5000) == pytest.approx(1.0, abs=0.02)
    for _ in range(4000):
        sketch.add(5000)
    assert sketch.score(5000) == 0.0


@given(st.lists(st.integers(0, 2**60), max_size=300), st.integers(0, 2**60))
def test_a_size_score_is_in_range(sizes: list[int], size: int) -> None:
    """Whatever sizes come."""
    score = learnt(sizes).score(size)
    assert score is None or 0.0 <= score <= 1.0


def test_a_steady_caller_is_usual() -> None:
    """One request every ten seconds for two hours says nothing, and is not learning any more."""
    usual = Usual()
    for second in range(0, 7200, 10):
        last = usual.judge(request(second), sized(1), PAY)
    assert found(last) == {}
    assert last.learning == ()


def test_a_burst_of_a_known_caller_is_unusual() -> None:
    """The same caller at forty times the rate is found within half a minute."""
    usual = Usual()
    for second in range(0, 7200, 10):
        usual.judge(request(second), sized(1), PAY)
    scores = [found(usual.judge(request(7200 + each / 4), sized(1), PAY)).get(RATE, 0.0) for each in range(120)]
    assert scores[0] == 0.0
    assert scores[-1] > 0.5


def test_nothing_is_said_of_a_caller_who_is_new() -> None:
    """A flood from somebody unknown is `learning`: there is no usual rate to compare it with."""
    usual = Usual()
    last = [usual.judge(request(each / 100), sized(1), PAY) for each in range(500)][-1]
    assert RATE in last.learning
    assert RATE not in found(last)


def test_a_few_requests_are_no_burst() -> None:
    """A caller who asks once an hour may ask five times in a row."""
    usual = Usual()
    for hour in range(3):
        usual.judge(request(hour * 3600), sized(1), PAY)
    assert [found(usual.judge(request(10_900 + each), sized(1), PAY)) for each in range(5)] == [{}] * 5


def test_a_clock_that_goes_back_changes_nothing() -> None:
    """Time only ever passes forwards."""
    counter = RateCounter(0, 0)
    counter.add(100 * SECOND)
    counter.add(50 * SECOND)
    assert counter.seen_ns == 100 * SECOND
    assert counter.fast == pytest.approx(2.0)


def test_callers_without_a_name_are_told_apart_by_address() -> None:
    """Otherwise all of them would be one busy caller."""
    usual = Usual()
    for client in ("192.0.2.1", "192.0.2.2"):
        usual.judge(request(subject="anonymous", authenticated_by="none", client=client), sized(1), PAY)
    usual.judge(request(client="192.0.2.1"), sized(1), PAY)
    usual.judge(request(client="192.0.2.2"), sized(1), PAY)
    assert len(usual._rates) == 3


def test_memory_is_bounded() -> None:
    """The caller who was not seen for longest is forgotten."""
    usual = Usual(callers=2)
    for name in ("a", "b", "a", "c"):
        usual.judge(request(subject=name), sized(1), PAY)
    assert [name for name, _ in usual._rates] == ["a", "c"]


def test_each_intent_has_its_own_usual_size() -> None:
    """What is ordinary for an upload is not for a question; rules without an intent are apart too."""
    usual = Usual()
    rule = Classification(Status.SKIPPED, rule=RuleMatch("upload", None))
    for _ in range(SizeSketch.ENOUGH):
        usual.judge(request(), sized(100), PAY)
        usual.judge(request(), sized(50_000), rule)
    assert SIZE in found(usual.judge(request(), sized(50_000), PAY))
    assert SIZE not in found(usual.judge(request(), sized(50_000), rule))
    assert SIZE in usual.judge(request(), sized(50_000), Classification(Status.OUT_OF_SCOPE)).learning


def test_what_was_found_before_stays() -> None:
    """Findings are added to, not replaced."""
    before = Signals((Finding("pii.iban", 1.0),), body_bytes=3)
    assert Usual().judge(request(), before, PAY).findings == before.findings
