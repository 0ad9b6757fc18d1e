"""What every recogniser of personal data promises, over the built-in one and, where it is installed, presidio."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.ports import Recogniser
from router.stages.pii import BuiltinRecogniser
from router.stages.signals import HIDDEN_TEXT, SignalDetector
from tests.unit.stages.requests import text_request


@pytest.fixture(scope="module", params=["builtin", "presidio"])
def recogniser(request: pytest.FixtureRequest) -> Recogniser:
    if request.param == "builtin":
        return BuiltinRecogniser()
    pytest.importorskip("presidio_analyzer")
    from adapters.presidio_recogniser import PresidioRecogniser

    return PresidioRecogniser(min_score=0.4, most_chars=8192)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("pii.email", "jane.doe@acme.io"),
        ("pii.iban", "DE89 3704 0044 0532 0130 00"),
        ("pii.card", "4111 1111 1111 1111"),
        ("pii.phone", "+49 30 901820"),
        ("pii.ip", "203.0.113.45"),
        ("pii.ssn", "536-90-4399"),
    ],
)
def test_a_kind_is_found_where_it_is(recogniser: Recogniser, kind: str, value: str) -> None:
    """With its name, from its first character to its last, after characters of any width."""
    text = f"日本 🙂 my data: {value} and no more"
    assert [(each.kind, text[each.start : each.end]) for each in recogniser.find(text)] == [(kind, value)]


@pytest.mark.parametrize(
    "text", ["", "hello", "where is invoice 4711?", "4111 1111 1111 1112", "DE89 3704 0044 0532 0130 01", "see you at 10:45"]
)
def test_ordinary_text_has_none(recogniser: Recogniser, text: str) -> None:
    """Words, short numbers and numbers whose check digits are wrong."""
    assert list(recogniser.find(text)) == []


def test_several_are_in_the_order_of_the_text(recogniser: Recogniser) -> None:
    """Each for itself."""
    found = recogniser.find("a@acme.io, 203.0.113.45, b@acme.io")
    assert [each.kind for each in found] == ["pii.email", "pii.ip", "pii.email"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(exclude_categories=()), max_size=60) | st.text("0123456789 +-@.:/aDE", max_size=60))
def test_places_lie_in_the_text_and_apart(recogniser: Recogniser, text: str) -> None:
    """Whatever the text: scores are in range, and no place is within another."""
    found = recogniser.find(text)
    assert all(0 <= each.start < each.end <= len(text) and 0.0 < each.score <= 1.0 and each.kind.startswith("pii.") for each in found)
    assert all(one.end <= other.start for one, other in pairwise(found))


def test_it_works_beside_the_built_in_one(recogniser: Recogniser) -> None:
    """A place is counted once, and masked in the text that people see and in what goes on."""
    detector, text = SignalDetector(recogniser=recogniser), "mail a@acme.io and pay DE89370400440532013000"
    signals = detector.inspect(text_request(text))
    assert [(each.name, each.count) for each in signals.findings] == [("pii.email", 1), ("pii.iban", 1)]
    assert signals.masked_text == detector.mask(text) == "mail [email] and pay [iban]"


class Broken:
    most_chars = 100

    def find(self, text: str) -> list[object]:
        raise RuntimeError(text)


class Short:
    most_chars = 10

    def find(self, text: str) -> list[object]:
        return []


def test_one_that_fails_leaves_personal_data_unknown() -> None:
    """The text is shown to nobody then."""
    signals = SignalDetector(recogniser=Broken()).inspect(text_request("hello"))  # type: ignore[arg-type]
    assert (signals.unknown, signals.masked_text) == (("pii",), HIDDEN_TEXT)


def test_a_text_that_is_not_looked_at_whole_is_unknown() -> None:
    """Longer than the recogniser reads."""
    detector = SignalDetector(recogniser=Short())  # type: ignore[arg-type]
    assert detector.inspect(text_request("x" * 10)).unknown == ()
    assert detector.inspect(text_request("x" * 11)).unknown == ("pii",)
