"""Deliveries as operators see them: what waits, what was given up, and what is to become of that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol

from router.audit.beside import Waiting
from router.audit.outbox import Outbox
from router.audit.records.canonical import timestamp
from router.control.services import Json, Page
from router.cursors import place_after
from router.delivery.fates import Fate
from router.errors import RefusedError
from router.ports import Clock

RETRIED, DROPPED = "delivery_retried", "delivery_dropped"
Record = Callable[[str, Mapping[str, Any]], Awaitable[None]]


class Fates(Protocol):
    async def fate(self, decision_id: str) -> Fate | None:
        """Raises AuditError."""


class OutboxDesk:
    """Implements the control API's port. `record` makes a system record durable; `routes` are those whose requests are delivered."""

    def __init__(
        self, outbox: Outbox, record: Record, clock: Clock, fates: Fates, routes: Callable[[], Collection[str]] = frozenset
    ) -> None:
        self._fates = fates
        self._routes = routes
        self._outbox = outbox
        self._record = record
        self._clock = clock

    async def list(self, state: str | None, cursor: str | None, limit: int, tenant: str | None = None) -> Page:
        dead = None if state is None else state == "dead"
        after = place_after(cursor)
        found = await self._outbox.page(-1 if after is None else after, limit, dead=dead, tenant=tenant)
        return Page([self._told(each) for each in found], str(found[-1].number) if len(found) == limit else None)

    async def get(self, delivery_id: str) -> Json:
        found = await self._outbox.find(delivery_id)
        if found is not None:
            return self._told(found)
        ended = await self._fates.fate(delivery_id)
        if ended is None or not ended.is_delivery(self._routes()):
            raise _missing()
        return _recorded(ended)

    async def retry(self, delivery_id: str, by_key: str) -> Json:
        """A crash between the record and the act leaves one that is dead still, and may be ordered again."""
        found = (await self._dead(delivery_id)).delivery
        await self._record(RETRIED, {"decision": delivery_id, "by_key": by_key})
        now_ns = self._clock.now_ns()
        if not await self._outbox.revive(delivery_id, now_ns, now_ns + max(0, found.until_ns - found.created_ns)):
            raise _not_dead(delivery_id)
        return await self.get(delivery_id)

    async def drop(self, delivery_id: str, by_key: str) -> Json:
        """As above."""
        found = await self._dead(delivery_id)
        await self._record(DROPPED, {"decision": delivery_id, "by_key": by_key})
        if not await self._outbox.drop(delivery_id):
            raise _not_dead(delivery_id)
        return {**self._told(found), "state": "dropped"}

    async def _found(self, delivery_id: str) -> Waiting:
        found = await self._outbox.find(delivery_id)
        if found is None:
            raise _missing()
        return found

    async def _dead(self, delivery_id: str) -> Waiting:
        found = await self._found(delivery_id)
        if not found.dead:
            raise _not_dead(delivery_id)
        return found

    def _told(self, waiting: Waiting) -> Json:
        each = waiting.delivery
        leased = not waiting.dead and each.leased_ns > self._clock.now_ns()
        return {
            "id": each.id,
            "state": "dead" if waiting.dead else "sending" if leased else "waiting",
            "route": each.route,
            "destination": each.destination,
            "tenant": each.tenant,
            "due": each.due.value,
            "attempts": each.attempts,
            "reason": each.reason,
            "ordered": bool(each.order),
            "decided": timestamp(each.created_ns),
            "next": None if waiting.dead else timestamp(max(each.due_ns, each.leased_ns)),
            "until": timestamp(each.until_ns),
            "ended": None,
            "status": None,
        }


def _recorded(fate: Fate) -> Json:
    """As the ledger tells it; what only a row knows is not on record."""
    return {
        "id": fate.decision_id,
        "state": fate.state.value,
        "route": fate.route,
        "destination": fate.destination,
        "tenant": None,
        "due": None,
        "attempts": fate.attempts,
        "reason": fate.reason,
        "ordered": None,
        "decided": fate.decided,
        "next": None,
        "until": fate.until or None,
        "ended": fate.ended or None,
        "status": fate.status or None,
    }


def _missing() -> RefusedError:
    return RefusedError("There is no such delivery that waits, was given up, or is on record.", "delivery_not_found", 404)


def _not_dead(delivery_id: str) -> RefusedError:
    return RefusedError(f"The delivery {delivery_id} was not given up; only such are retried or dropped.", "delivery_not_dead", 409)
