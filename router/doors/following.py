"""How a caller learns what became of a request that was taken on to be delivered: `GET /.lockgate/deliveries/{decision id}`."""

from __future__ import annotations

import re
from typing import Any, Protocol

from router.decision import Subject
from router.delivery.fates import Fate, State
from router.doors.own_space import PREFIX, Told, Visit, missing
from router.doors.runtime import Runtime

SEGMENT = "deliveries"
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


class Fates(Protocol):
    async def fate(self, decision_id: str, key_id: str) -> Fate | None:
        """None unless the request was the subject's whose key this is. Raises AuditError, StateError."""


def place_of(decision_id: str) -> bytes:
    return f"{PREFIX}{SEGMENT}/{decision_id}".encode()


def follows(subject: Subject) -> bool:
    """Callers whom nobody identified are all the same one, so none of them could be told apart from who asked."""
    return subject.authenticated_by != "none"


class DeliveryReader:
    def __init__(self, fates: Fates) -> None:
        self._fates = fates

    async def read(self, runtime: Runtime, subject: Subject, name: str, visit: Visit) -> Told:
        if not _ID.fullmatch(name) or not follows(subject) or runtime.keys is None:
            raise missing()
        key_id, _ = await runtime.keys.key_for(subject.id)
        found = await self._fates.fate(name, key_id)
        if found is None or not found.is_delivery(runtime.deliveries):
            raise missing()
        return Told(_document(found), found.wait_s)


def _document(fate: Fate) -> dict[str, Any]:
    """What does not apply is left out. Answers of targets are not kept; how long one was is on record."""
    times = {"decided": fate.decided, "next": fate.next, "until": fate.until, "ended": fate.ended, "reason": fate.reason}
    told: dict[str, Any] = {"decision_id": fate.decision_id, "state": fate.state.value, "attempts": fate.attempts}
    told |= {name: value for name, value in times.items() if value}
    if fate.state is State.DELIVERED:
        told["status"] = fate.status
        told["answer"] = {"bytes": fate.answer_bytes, "kept": False}
    return told
