"""For whom a candidate decides: stable, growing, and elsewhere in the next rollout."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.decision import ANONYMOUS, BodyView, Request, Subject, TraceContext
from router.rollout.stage import NOBODY, Stage, place

shares = st.floats(0.0, 1.0)
names = st.text(max_size=40)


def request(subject: Subject, request_id: str = "r1") -> Request:
    return Request(
        id=request_id,
        received_ns=1,
        door="gateway",
        subject=subject,
        method="GET",
        host="a",
        path="/",
        query="",
        headers=(),
        content_type="",
        client="127.0.0.1",
        body=BodyView(),
        trace=TraceContext("0" * 32, "0" * 16),
    )


def by(name: str, tenant: str | None = None) -> Request:
    return request(Subject(name, "user", tenant=tenant))


@given(names, shares, shares)
def test_who_is_in_a_share_is_in_every_larger_one(who: str, one: float, other: float) -> None:
    """Nobody goes back to the former policies because a rollout goes on."""
    small, large = sorted((one, other))
    if Stage(small).takes("x", by(who)):
        assert Stage(large).takes("x", by(who))


@given(names)
def test_nobody_and_everybody(who: str) -> None:
    """A share of nothing takes nobody, one of everything everybody."""
    assert not NOBODY.takes("x", by(who))
    assert Stage(1.0).takes("x", by(who))


def test_a_share_is_about_that_many_callers() -> None:
    """Of ten thousand, within a percent and a half."""
    taken = sum(Stage(0.2).takes("x", by(f"u{number}")) for number in range(10_000))
    assert 1_850 < taken < 2_150


def test_other_rollouts_begin_with_others() -> None:
    """Not always the same callers are the first."""
    first = {number for number in range(1000) if Stage(0.1).takes("x", by(f"u{number}"))}
    second = {number for number in range(1000) if Stage(0.1).takes("y", by(f"u{number}"))}
    assert len(first & second) < 40


def test_anonymous_requests_are_placed_one_by_one() -> None:
    """They have no one else in common."""
    taken = [Stage(0.5).takes("x", request(ANONYMOUS, f"r{number}")) for number in range(200)]
    assert 60 < sum(taken) < 140


def test_tenants_are_taken_whole() -> None:
    """And nobody else is, not even who has none."""
    stage = Stage(tenants=frozenset({"acme"}))
    assert [stage.takes("x", by("a", tenant)) for tenant in ("acme", "other", None)] == [True, False, False]


@given(shares, st.frozensets(names))
def test_it_comes_back_from_a_message(share: float, tenants: frozenset[str]) -> None:
    """As it was."""
    assert Stage.from_json(Stage(share, tenants).to_json()) == Stage(share, tenants)


@given(names)
def test_a_place_lies_within_one(who: str) -> None:
    """From 0 on, and below 1."""
    assert 0.0 <= place("x", who) < 1.0
