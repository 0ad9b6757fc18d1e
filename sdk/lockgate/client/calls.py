"""When a call is made again, and when not. Decides only; the clients do what these steps say, each in its own way.

A call is repeated where the server cannot have acted on it: no connection came about, or it said 429 or 503. Where nobody knows whether it
arrived (no answer in time, a connection that broke, a 502 or 504 of something between), only a `repeatable` one is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from lockgate.client.reading import read_problem

MOST_BYTES = 4 * 1024 * 1024
LONGEST_PAUSE_S = 5.0


class Trouble(Enum):
    """Why there is no answer. `value` is its code."""

    UNREACHABLE = "unreachable"  # nothing was sent
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"
    TOO_LARGE = "malformed"
    CREDENTIAL = "credential_unusable"  # this service's own could not be had, or is none; nothing was sent


@dataclass(frozen=True, slots=True)
class Call:
    """`wait`: seconds for which the server is asked to wait with its answer (RFC 7240 §4.3), beside those that an answer may take.
    `control`, `gateway`: goes there, with the key for it; `fields`: further header fields."""

    method: str
    url: str
    body: bytes = field(default=b"", repr=False)
    content_type: str = "application/json"
    repeatable: bool = False
    control: bool = False
    wait: int = 0
    gateway: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Make the call once, within `seconds`."""

    call: Call
    seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """`retry_after` in seconds, where the server said so; `review`: the state of the held request that this is about, where it is."""

    status: int
    body: bytes = field(repr=False)
    retry_after: float | None = None
    review: str = ""

    @property
    def problem(self) -> tuple[str | None, str]:
        return read_problem(self.body)


@dataclass(frozen=True, slots=True)
class Failure:
    trouble: Trouble
    why: str


Step = Attempt | Pause
Came = Answer | Failure
T = TypeVar("T")
Flow = Generator[Step, Came | None, T]


@dataclass(frozen=True, slots=True)
class Patience:
    """`timeout` seconds for a call with all its repeats, of which there are at most `attempts`; `pause` seconds before the first one. The
    clock is monotonic; `jitter` gives a number in 0..1."""

    timeout: float
    attempts: int
    pause: float
    now: Callable[[], float]
    jitter: Callable[[], float]


def calling(call: Call, patience: Patience) -> Flow[Came]:
    """Ends with what came last."""
    deadline = patience.now() + patience.timeout + call.wait
    number = 1
    while True:
        came = yield Attempt(call, max(deadline - patience.now(), 0.001))
        if came is None:
            raise TypeError("an attempt ends with an answer or a failure")
        if number >= patience.attempts or not _again(came, call):
            return came
        wait = _wait(came, number, patience)
        if wait is None or patience.now() + wait >= deadline:
            return came
        yield Pause(wait)
        number += 1


def _again(came: Came, call: Call) -> bool:
    if isinstance(came, Failure):
        unsure = came.trouble in (Trouble.TIMEOUT, Trouble.INTERRUPTED)
        return came.trouble is Trouble.UNREACHABLE or (unsure and call.repeatable)
    return came.status in (429, 503) or (came.status in (502, 504) and call.repeatable)


def _wait(came: Came, number: int, patience: Patience) -> float | None:
    """None where the server asks for more patience than anybody has who waits for a decision."""
    backoff: float = patience.pause * float(2 ** (number - 1)) * (0.5 + patience.jitter())
    if isinstance(came, Answer) and came.retry_after is not None:
        return max(came.retry_after, backoff) if came.retry_after <= LONGEST_PAUSE_S else None
    return min(backoff, LONGEST_PAUSE_S)


def retry_after(value: str | None) -> float | None:
    """RFC 9110 §10.2.3 in seconds. Lockgate sends no dates, so one is from something between, and is not waited for."""
    return float(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 9 else None
