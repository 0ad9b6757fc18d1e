"""When a call is made again, by a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.client.calls import Answer, Attempt, Call, Came, Failure, Patience, Pause, Trouble, calling, retry_after

UNSURE = (Trouble.TIMEOUT, Trouble.INTERRUPTED)


@dataclass
class Played:
    """What was done, with each attempt's time and each pause's length."""

    last: Came | None = None
    attempts: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    ended: float = 0.0


def play(comes: list[Came], timeout: float, attempts: int, *, repeatable: bool = False, each: float = 0.0, jitter: float = 0.5) -> Played:
    """`each`: seconds that an attempt takes, unless it is given less."""
    played, now = Played(), 0.0
    flow = calling(Call("POST", "u", repeatable=repeatable), Patience(timeout, attempts, 0.05, lambda: now, lambda: jitter))
    came: Came | None = None
    waiting = list(comes)
    try:
        while True:
            step = flow.send(came)
            came = None
            if isinstance(step, Pause):
                played.pauses.append(step.seconds)
                now += step.seconds
            else:
                assert isinstance(step, Attempt)
                played.attempts.append(step.seconds)
                now += min(each, step.seconds)
                came = waiting.pop(0) if len(waiting) > 1 else waiting[0]
    except StopIteration as done:
        played.last, played.ended = done.value, now
        return played


CAMES = st.one_of(
    st.builds(Answer, st.sampled_from((200, 400, 401, 403, 413, 429, 500, 502, 503, 504)), st.just(b""), st.none() | st.floats(0, 1000)),
    st.builds(Failure, st.sampled_from(Trouble), st.just("")),
)


@given(st.lists(CAMES, min_size=1, max_size=12), st.floats(0.01, 60), st.integers(1, 8), st.booleans(), st.floats(0, 30), st.floats(0, 1))
def test_time_and_number_are_bounded(
    comes: list[Came], timeout: float, attempts: int, repeatable: bool, each: float, jitter: float
) -> None:
    """Whatever comes: never more attempts than were set, none that is given more than what is left, and an end in time."""
    played = play(comes, timeout, attempts, repeatable=repeatable, each=each, jitter=jitter)
    assert 1 <= len(played.attempts) <= attempts
    assert all(seconds <= timeout for seconds in played.attempts)
    assert played.ended <= timeout + 0.002


@given(st.lists(CAMES, min_size=1, max_size=12), st.integers(1, 8))
def test_what_may_have_been_decided_is_not_asked_again(comes: list[Came], attempts: int) -> None:
    """Unless it is repeatable."""
    played = play(comes, 1000, attempts)
    for came in comes[: len(played.attempts) - 1]:
        assert came.trouble is Trouble.UNREACHABLE if isinstance(came, Failure) else came.status in (429, 503)


@pytest.mark.parametrize(("asked", "attempts"), [(4.0, 2), (5.0, 2), (5.5, 1), (3600.0, 1)])
def test_a_long_wait_is_the_callers(asked: float, attempts: int) -> None:
    """Who has the time for it may ask again; it is not spent inside a call."""
    played = play([Answer(429, b"", asked), Answer(200, b"")], 10_000, 5)
    assert (len(played.attempts), played.pauses) == (attempts, [asked] * (attempts - 1))


def test_pauses_grow() -> None:
    """Twice as long each time, and never without an end."""
    assert play([Answer(503, b"")], 1000, 9).pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("9" * 20, None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_seconds(value: str | None, seconds: float | None) -> None:
    """Anything else is not believed."""
    assert retry_after(value) == seconds
