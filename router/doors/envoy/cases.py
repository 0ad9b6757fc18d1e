"""The values between Envoy's protocols and what is decided: a request that is asked about, and the two answers that there are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from router.decision import Decision, Subject
from router.doors.envoy.changes import Changes
from router.doors.envoy.outcomes import Awaited
from router.doors.head import Head
from router.doors.runtime import Runtime
from router.ports import Headers
from router.stages.rules import Looked


class Body(Enum):
    """What of a request's body a decision waits for."""

    NONE = "none"  # there is none
    UNSEEN = "unseen"  # it goes on without being read
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Stop:
    """The caller's answer, which Lockgate gives. `code` is the reason code."""

    status: int
    headers: Headers
    body: bytes
    code: str
    decision_id: str = ""


@dataclass(frozen=True, slots=True)
class Pass:
    """Envoy may go on, with these changes. `awaited` is its outcome, which is begun."""

    decision: Decision
    changes: Changes
    awaited: Awaited


@dataclass(slots=True)
class Case:
    """A request whose head is known and whose caller may come in. `body`: what its decision waits for; `own`: it is answered here.
    `at_hand` until its answer begins, which may last for hours."""

    runtime: Runtime
    head: Head
    came: Headers
    subject: Subject
    visible: tuple[tuple[str, str], ...]
    looked: Looked
    body: Body
    socket: bool
    received_ns: int
    started_ns: int
    own: bool = False
    at_hand: bool = True
