"""This node, taken out of service and let serve again: by whom, since when, and what is still under way.

Nothing of it is kept: a node that is started again serves. Workers that are replaced and configurations that are taken up change nothing
of it, as the supervisor tells every worker before it serves; one that missed it is told with the next look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from router.audit.records.record import system_entry
from router.control.services import Check
from router.decision import Subject
from router.ports import Clock, Entry, Ids
from router.times import instant
from router.wiring.membership import node_name

log = logging.getLogger("lockgate.drain")
LOOK_S = 0.5
NS = 1_000_000_000
QUIET_NS = 2 * NS
"""For so long nothing is under way and nothing comes before a node counts as drained: balancers may send a little longer."""
DRAINED, RESUMED = "node_drained", "node_resumed"
COUNTS = ("requests", "streams", "waiting", "events", "deliveries")
Json = Mapping[str, Any]


class Workers(Protocol):
    @property
    def alive(self) -> int: ...

    async def drain(self, out: bool) -> list[tuple[int, object]]: ...


class Keys(Protocol):
    async def key_for(self, subject: str) -> tuple[str, bytes]: ...


class Ledger(Protocol):
    async def append(self, entry: Entry) -> int: ...


@dataclass(frozen=True, slots=True)
class _Order:
    """`by` is the subject, `pseudonym` how it stands in the ledger."""

    since_ns: int
    by: str
    pseudonym: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of all workers at one look: `heard` of them answered, and all of those do as they were told where `agreed`. `began` by worker."""

    heard: int
    agreed: bool
    counts: Mapping[str, int]
    connections: int
    began: Mapping[int, int]


class Draining:
    """Implements the control API's port. `node`: its id among others. `sending`: how many released requests the control process is sending;
    `held`: how many wait for a person, and `due`: how many deliveries wait, of all nodes that share them."""

    def __init__(
        self,
        workers: Workers,
        ledger: Ledger,
        keys: Keys,
        clock: Clock,
        ids: Ids,
        node: str | None,
        sending: Callable[[], int],
        held: Callable[[], int],
        due: Callable[[], int],
    ) -> None:
        self._workers = workers
        self._ledger = ledger
        self._keys = keys
        self._clock = clock
        self._ids = ids
        self._node = node
        self._sending = sending
        self._held = held
        self._due = due
        self._order: _Order | None = None
        self._one_at_a_time = asyncio.Lock()
        self._woken = asyncio.Event()
        self._began: Mapping[int, int] = {}
        self._busy_ns = clock.monotonic_ns()  # when something was under way last, or came
        self._quiet_ns: int | None = None  # since when nothing was

    @property
    def names(self) -> frozenset[str]:
        return frozenset(each for each in ("self", node_name(), self._node) if each)

    @property
    def state(self) -> str:
        if self._order is None:
            return "serving"
        return "draining" if self._quiet_ns is None else "drained"

    @property
    def check(self) -> Check | None:
        """What readiness says of it. Whoever asks may be anybody, so the ledger's pseudonym stands for who did it."""
        order = self._order
        return None if order is None else Check("draining", ok=False, detail=f"since {instant(order.since_ns)}, by {order.pseudonym}")

    async def drain(self, by: Subject, by_key: str, reason: str) -> Json:
        """On record before it is done. One that is drained stays as it is. Raises AuditError."""
        async with self._one_at_a_time:
            if self._order is None:
                pseudonym = await self._recorded(DRAINED, by, by_key, reason)
                self._order = _Order(self._clock.now_ns(), by.id, pseudonym, reason)
                self._busy_ns, self._quiet_ns = self._clock.monotonic_ns(), None
                log.warning("this node is drained by order of %s: it takes up nothing new", pseudonym)
                self._woken.set()
        return await self.show()

    async def resume(self, by: Subject, by_key: str, reason: str) -> Json:
        """As above."""
        async with self._one_at_a_time:
            if self._order is not None:
                pseudonym = await self._recorded(RESUMED, by, by_key, reason)
                self._order = self._quiet_ns = None
                log.warning("this node serves again, by order of %s", pseudonym)
                self._woken.set()
        return await self.show()

    async def show(self) -> Json:
        seen, order = await self._look(), self._order
        return {
            "node": self._node,
            "name": node_name(),
            "state": self.state,
            "since": None if order is None else instant(order.since_ns),
            "by": None if order is None else order.by,
            "reason": None if order is None else order.reason,
            "quiet_since": None if self._quiet_ns is None else instant(self._quiet_ns),
            "under_way": {**seen.counts, "dispatches": self._sending()},
            "connections": seen.connections,
            "workers": self._workers.alive,
            "workers_heard": seen.heard,
            "held": self._held(),
            "deliveries_due": self._due(),
        }

    async def keep(self) -> None:
        """Tells workers that missed it, and sees when nothing is under way any more; until it is cancelled."""
        while True:
            try:
                seen = await self._look()
                settled = self._order is None and seen.agreed
            except Exception:  # it must go on
                log.exception("looking at what is under way failed in a way that nobody foresaw")
                settled = False
            if settled:
                await self._woken.wait()
            else:
                await asyncio.sleep(LOOK_S)
            self._woken.clear()

    async def _look(self) -> _Seen:
        out, before = self._order is not None, self.state
        seen = _seen(await self._workers.drain(out), out, self._workers.alive)
        still = seen.agreed and not any(seen.counts.values()) and not self._sending() and seen.began == self._began
        self._began = seen.began
        now = self._clock.monotonic_ns()
        if not still:
            self._busy_ns, self._quiet_ns = now, None
        elif self._order is not None and self._quiet_ns is None and now - self._busy_ns >= QUIET_NS:
            self._quiet_ns = self._clock.now_ns() - (now - self._busy_ns)
        if self._order is not None and self.state != before:
            log.warning("this node is %s", "drained: nothing is under way" if self._quiet_ns else "draining: something came")
        return seen

    async def _recorded(self, event: str, by: Subject, by_key: str, reason: str) -> str:
        """By which who ordered it stands in the ledger; what they say is sealed under their key, as they are. Raises AuditError."""
        key_id, key = await self._keys.key_for(by.id)
        details = {"node": self._node or "", "name": node_name(), "by": key_id, "by_key": by_key}
        personal = {"actor": by.id, "comment": reason}
        await self._ledger.append(system_entry(event, self._clock.now_ns(), details, self._ids.new(), personal, key_id, key))
        return key_id


def _seen(answers: list[tuple[int, Any]], out: bool, alive: int) -> _Seen:
    told = [answer for _, answer in answers]
    agreed = len(told) == alive > 0 and all(each["out"] is out for each in told)
    counts = {name: sum(each[name] for each in told) for name in COUNTS}
    began = {index: answer["began"] for index, answer in answers}
    return _Seen(len(told), agreed, counts, sum(each["connections"] for each in told), began)
