"""A review desk over any store, ledger and destination, and requests to be held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import orjson

from adapters.rego.embedded import EmbeddedRego, load
from router.decision import Decision, Effect, Level, Obligation, Reason, Risk, Route, Subject, Verdict
from router.doors.body import BodyLimits, whole_body_view
from router.policy.folder import read_folder
from router.ports import Clock, Destination, Entry, Held, HeldRequests, Intents, Outbound, PolicyEngine
from router.review.attempting import Asked
from router.review.attempts import APPROVING, Kind
from router.review.dispatching import Dispatching, Way
from router.review.holding import Holding, Spans
from router.review.judge import Judge
from router.review.opinions import Opinions
from router.review.packing import pack_held, unpack_held
from router.review.people import KeysById, People
from router.review.recording import Recording
from router.review.service import ReviewService
from router.stages.demands import Demands
from router.stages.risk import RiskModel
from router.stages.routing import RouteEntry, RoutingTable
from router.stages.signals import SignalDetector
from tests.unit.audit.samples import SUBJECT, VERDICT, numbered

RITA = Subject("rita", "user", ("manager",))
RUBEN = Subject("ruben", "user", ("clerk", "manager"))
ANNA = replace(SUBJECT, roles=("manager",))
ROUTE = Route("bank.ask", "bank", "intent")
ROUTING = RoutingTable({"bank.ask": RouteEntry("bank.ask", "bank"), "desk.ask": RouteEntry("desk.ask", "desk", "/desk")}, {})
MANAGER = (Obligation("require_review", {"reviewers": ["manager"]}),)
SHIPPED = Path(__file__).parents[3] / "policies"
REQUEST = Outbound("POST", "/pay?from=1", [(b"content-type", b"text/plain"), (b"x-lockgate-subject", b"anna")], b"pay 4711 to Zoe Quist")


class LedgerPort(Protocol):
    async def append(self, entry: Entry) -> int: ...

    async def ping(self) -> None: ...


def to_review(number: int = 1, obligations: tuple[Obligation, ...] | None = None, **wanted: Any) -> Decision:
    """A decision of anna's that policy wants reviewed; `wanted` are the obligation's parameters."""
    asked = (Obligation("require_review", {"reviewers": ["manager"], **wanted}),) if obligations is None else obligations
    verdict = Verdict(Effect.REVIEW, (Reason("risk.high"),), asked, digest=VERDICT.digest)
    made = numbered(number, route=ROUTE, verdict=verdict)
    return replace(made, request=replace(made.request, id=f"r-{number}"))


class Standing:
    """A policy that judges each request as it was judged when it was held, until it is changed; of attempts the shipped policies judge."""

    problem: str | None = None
    digest = VERDICT.digest

    def __init__(self, reviewing: PolicyEngine | None = None) -> None:
        self.verdicts: dict[str, Verdict] = {}
        self.changed: Verdict | None = None
        self.reviewing = reviewing or shipped()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def evaluate(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Verdict:
        if entry == "review":
            return await self.reviewing.evaluate(entry, intent, document)
        known = self.changed or self.verdicts.get(document["request"]["id"])
        return known if known is not None else Verdict(Effect.REVIEW, (Reason("risk.high"),), MANAGER, digest=self.digest)


@cache
def shipped() -> EmbeddedRego:
    folder = read_folder(SHIPPED, SHIPPED / "data.yaml")
    return load(folder.policies, folder.data, deadline_s=10.0, remember=False)


def judge_of(policy: PolicyEngine, clock: Clock, leads: Callable[[str, str], bool], spans: Spans) -> Judge:
    limits = BodyLimits(65_536, 65_536, 8_192, 5.0)
    return Judge(
        policy,
        ROUTING,
        SignalDetector(),
        RiskModel(),
        Demands(),
        lambda data, content_type: whole_body_view(data, content_type, (), limits),
        leads,
        clock,
        spans,
    )


@dataclass
class Desk:
    store: HeldRequests
    ledger: LedgerPort
    keys: KeysById
    clock: Clock
    way: Way | None
    policy: Standing = field(default_factory=lambda: Standing())
    spans: Spans = field(default_factory=lambda: Spans(3600.0))
    good_for: float = 86_400.0
    table: RoutingTable | None = None
    ways: dict[str, Way] = field(default_factory=dict)
    service: ReviewService = field(init=False)
    people: People = field(init=False)
    judge: Judge = field(init=False)
    dispatching: Dispatching = field(init=False)

    def __post_init__(self) -> None:
        people, recording = People(self.keys), Recording(self.store, self.ledger)
        self.people = people
        self.judge = judge_of(self.policy, self.clock, self._leads, self.spans)
        opinions = Opinions(lambda: self.table)
        self.dispatching = Dispatching(self.store, recording, people, self.clock, self._way, self.judge, lambda: self.good_for)
        self.service = ReviewService(self.store, self.ledger, people, self.clock, recording, self.dispatching, self.judge, opinions)

    def _way(self, route: str, name: str) -> Way | None:
        return self.ways.get(route, self.way)

    def _leads(self, route: str, name: str) -> bool:
        way = self._way(route, name)
        return way is not None and way.name == name

    async def hold(self, held: Held) -> None:
        """As over the wire between worker and control process."""
        await self.service.hold(unpack_held(pack_held(held)))

    async def held(
        self, number: int = 1, outbound: Outbound = REQUEST, door: str = "", risk: str = "", asker: Subject = SUBJECT, **wanted: Any
    ) -> str:
        """The id of a request that was just held."""
        decision = to_review(number, **wanted)
        request = replace(decision.request, door=door or decision.request.door, subject=asker)
        weighed = Risk(Level(risk), 0.1) if risk else decision.risk
        content_type = next((value.decode() for name, value in outbound.headers if name == b"content-type"), "")
        decision = replace(decision, request=replace(request, content_type=content_type), risk=weighed)
        self.policy.verdicts[decision.request.id] = decision.verdict
        await Holding(self, self.keys, self.clock, self.spans).hold(decision, outbound)
        return decision.id

    async def approve(self, review_id: str, who: Subject = RITA, comment: str = "") -> dict[str, Any]:
        seen = await self.service.get(review_id) or {}
        return await self.service.approve(review_id, who, comment, str(seen["content_digest"]))

    async def attempt(self, review_id: str, who: Subject, kind: Kind, comment: str = "", **asked: Any) -> dict[str, Any]:
        """With the digest that is shown now, where one is needed and none is given."""
        if kind in APPROVING and "digest" not in asked:
            seen = await self.service.get(review_id) or {}
            asked["digest"] = str(seen["content_digest"])
        return await self.service.attempt(review_id, who, Asked(kind, comment, **asked))

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
