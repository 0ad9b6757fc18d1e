"""A review desk over any store, ledger and destination, and requests to be held."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import orjson

from router.decision import Decision, Effect, Obligation, Reason, Route, Subject, Verdict
from router.ports import Clock, Destination, Entry, Held, HeldRequests, Outbound
from router.review.dispatching import Dispatching, Way
from router.review.holding import Holding
from router.review.packing import pack_held, unpack_held
from router.review.people import KeysById, People
from router.review.recording import Recording
from router.review.service import ReviewService
from tests.unit.audit.samples import SUBJECT, numbered

RITA = Subject("rita", "user", ("manager",))
RUBEN = Subject("ruben", "user", ("clerk", "manager"))
ANNA = replace(SUBJECT, roles=("manager",))
ROUTE = Route("bank.ask", "bank", "intent")
REQUEST = Outbound("POST", "/pay?from=1", [(b"content-type", b"text/plain"), (b"x-lockgate-subject", b"anna")], b"pay 4711 to Zoe Quist")


class LedgerPort(Protocol):
    async def append(self, entry: Entry) -> int: ...

    async def ping(self) -> None: ...


def to_review(number: int = 1, obligations: tuple[Obligation, ...] | None = None, **wanted: Any) -> Decision:
    """A decision of anna's that policy wants reviewed; `wanted` are the obligation's parameters."""
    asked = (Obligation("require_review", {"reviewers": ["manager"], **wanted}),) if obligations is None else obligations
    return numbered(number, route=ROUTE, verdict=Verdict(Effect.REVIEW, (Reason("risk.high"),), asked))


@dataclass
class Desk:
    store: HeldRequests
    ledger: LedgerPort
    keys: KeysById
    clock: Clock
    way: Way | None
    service: ReviewService = field(init=False)
    dispatching: Dispatching = field(init=False)

    def __post_init__(self) -> None:
        people, recording = People(self.keys), Recording(self.store, self.ledger)
        self.dispatching = Dispatching(self.store, recording, people, self.clock, lambda *_: self.way)
        self.service = ReviewService(self.store, self.ledger, people, self.clock, recording, self.dispatching)

    async def hold(self, held: Held) -> None:
        """As over the wire between worker and control process."""
        await self.service.hold(unpack_held(pack_held(held)))

    async def held(self, number: int = 1, outbound: Outbound = REQUEST, door: str = "", **wanted: Any) -> str:
        """The id of a request that was just held."""
        decision = to_review(number, **wanted)
        if door:
            decision = replace(decision, request=replace(decision.request, door=door))
        await Holding(self, self.keys, self.clock, 3600.0).hold(decision, outbound)
        return decision.id

    async def approve(self, review_id: str, who: Subject = RITA, comment: str = "") -> dict[str, Any]:
        seen = await self.service.get(review_id) or {}
        return await self.service.approve(review_id, who, comment, str(seen["content_digest"]))

    async def settled(self) -> None:
        """Returns when nothing is under way any more."""
        while under_way := self.dispatching.under_way:
            await asyncio.wait(under_way)


def way(destination: Destination, *, deduplicates: bool = False, name: str = "bank") -> Way:
    return Way(name, destination, deduplicates)


def told(entries: Sequence[Entry]) -> list[str]:
    """What the ledger says happened: events of reviews, and outcomes as `result reason`."""
    return [_told(orjson.loads(entry.leaf)) for entry in entries]


def _told(leaf: Mapping[str, Any]) -> str:
    if leaf["schema"] == "lockgate.review.v1":
        return str(leaf["event"])
    return f"{leaf['outcome']['result']} {leaf['outcome']['reason'] or leaf['outcome']['status']}"
