"""A whole gateway in this process: real doors, pipeline and recorder over in-memory twins, driven as an ASGI server drives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from adapters.memory_destination import Answer, MemoryDestination
from adapters.memory_ledger import MemoryLedger, MemorySubjectKeys
from adapters.memory_policy import MemoryPolicy
from router.audit.recorder import LedgerRecorder
from router.decision import Candidate, Classification, Decision, Outcome, Status, Subject
from router.dispatch import Dispatcher
from router.doors.gateway import Gateway
from router.doors.runtime import DoorOptions, Runtime
from router.errors import ReviewError
from router.mirroring import Mirroring
from router.pipeline import Pipeline, Stages
from router.ports import Clock, Held, Outbound, PolicyEngine, Quotas, SubjectKeys, Tier
from router.review.holding import Holding, Spans
from router.stages.classification import Cascade, Thresholds
from router.stages.demands import Demands
from router.stages.risk import RiskModel
from router.stages.routing import IntentEntry, RouteEntry, RoutingTable
from router.stages.rule import Rule
from router.stages.rules import RuleIndex
from router.stages.signals import SignalDetector
from router.stages.usual import Usual
from router.system import SystemClock, SystemRandom, UuidV7

ALLOW = {"effect": "allow", "reasons": [{"code": "test.allowed", "message": "allowed"}]}
REVIEW = {"effect": "review", "reasons": [{"code": "test.review", "message": "look at it"}]}
SURE = Classification(
    Status.CLASSIFIED, "cancel", 0.95, 0.9, 0.9, candidates=(Candidate("cancel", 5.0, 0.95), Candidate("status", 1.0, 0.05)), tier="encoder"
)


CLERK = Subject("anna", "user", ("clerk",), authenticated_by="api_key")


class ScriptedTier:
    name = "encoder"

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def classify(self, text: str) -> Classification:
        if isinstance(self.answer, BaseException):
            raise self.answer
        if callable(self.answer):
            return await self.answer()
        return self.answer


class KnownCaller:
    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    async def identify(self, headers: Any, now_ns: int, certificate: Any = None) -> Subject:
        return self._subject


class NoLimit:
    async def admit(self, subject: Subject, client: str) -> float | None:
        return None


@dataclass
class Seen:
    refusals: list[tuple[str, int]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    preflights: int = 0

    def refused(self, code: str, status: int) -> None:
        self.refusals.append((code, status))

    def preflight(self) -> None:
        self.preflights += 1

    def ended(self, decision: Decision, outcome: Outcome | None) -> None:
        if outcome is not None:
            self.outcomes.append(outcome)


class MemoryHolds:
    def __init__(self) -> None:
        self.held: list[Held] = []
        self.failing: ReviewError | None = None

    async def hold(self, held: Held) -> None:
        if self.failing is not None:
            raise self.failing
        self.held.append(held)


@dataclass
class Reply:
    """`complete` says that the response was ended as one that is whole."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    complete: bool

    @property
    def problem(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found

    @property
    def code(self) -> str:
        return str(self.problem["type"]).rpartition(":")[2]


class House:
    """`reached` are the requests that got to the upstream."""

    def __init__(
        self,
        tier: Tier | None = None,
        policy: PolicyEngine | Mapping[str, Any] | None = None,
        keys: SubjectKeys | None = None,
        on_abstain: str = "clarify",
        route: RouteEntry | None = None,
        deadline_s: float = 0.2,
        quotas: Quotas | None = None,
        caller: Subject = CLERK,
    ) -> None:
        clock = SystemClock()
        self.ledger = MemoryLedger()
        self.holds = MemoryHolds()
        self.seen = Seen()
        self.reached: list[Outbound] = []
        self.shadowed: Answer | BaseException = Answer()
        self.answer: Answer | BaseException = Answer(200, [(b"content-type", b"text/plain")], b"done")
        self.destination = MemoryDestination(self._handle)
        self.signals = SignalDetector()
        engine = (
            policy
            if policy is not None and not isinstance(policy, Mapping)
            else MemoryPolicy(policy or {"admission": ALLOW, "decision": ALLOW})
        )
        self.copies: list[Outbound] = []
        self.copied: list[str] = []
        self.shadow = MemoryDestination(self._copy)
        self.mirroring = Mirroring({"shadow": self.shadow}, SystemRandom(), self.copied.append)
        demands = Demands(quotas, frozenset(("shadow",)))
        stages = self._stages(tier, engine, on_abstain, route, deadline_s, clock, demands)
        recorder = LedgerRecorder(self.ledger, keys or MemorySubjectKeys(), clock)
        known = KnownCaller(caller)
        self.runtime = Runtime(
            pipeline=Pipeline(stages, recorder, clock, UuidV7()),
            dispatcher=Dispatcher({"pay": self.destination, "desk": self.destination}, self.signals.mask, self.mirroring),
            authenticator=known,
            decide_authenticator=known,
            delegate_authenticator=known,
            limiter=NoLimit(),
            holder=Holding(self.holds, keys or MemorySubjectKeys(), clock, Spans(3600.0)),
            options=DoorOptions(text_paths=(("message",),)),
            descriptions={"cancel": "Stop a payment.", "status": "Where a payment is."},
        )
        self.gateway = Gateway(clock, UuidV7(), SystemRandom(), self.seen)

    def _stages(
        self,
        tier: Tier | None,
        policy: PolicyEngine,
        on_abstain: str,
        route: RouteEntry | None,
        deadline: float,
        clock: Clock,
        demands: Demands,
    ) -> Stages:
        thresholds = Thresholds(0.7, 0.1, 0.5)
        by_intent = {"cancel": thresholds, "status": thresholds}
        return Stages(
            rules=RuleIndex([Rule("rest", intent="cancel", route="pay", methods=frozenset({"PUT"}), path="/payments/{id}")]),
            signals=self.signals,
            cascade=Cascade(
                [tier or ScriptedTier(SURE)], thresholds, by_intent, catalog_digest="c" * 64, deadline_s=deadline, cache_size=0, clock=clock
            ),
            usual=Usual(),
            risk=RiskModel(),
            policy=policy,
            policy_deadline_s=0.1,
            routing=RoutingTable(
                {"pay": route or RouteEntry("pay", "payments"), "desk": RouteEntry("desk", "desk")},
                {"cancel": IntentEntry("cancel", "pay"), "status": IntentEntry("status", "pay")},
                on_abstain,
            ),
            config_digest="d" * 64,
            catalog_digest="c" * 64,
            demands=demands,
        )

    async def _copy(self, outbound: Outbound) -> Answer:
        self.copies.append(outbound)
        if isinstance(self.shadowed, BaseException):
            raise self.shadowed
        return self.shadowed

    async def _handle(self, outbound: Outbound) -> Answer:
        self.reached.append(replace(outbound))
        # Whatever reaches an upstream must have been written down before: this holds in every test that uses the harness.
        assert any(leaf["schema"] == "lockgate.decision.v1" for leaf in self.leaves)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    @property
    def leaves(self) -> list[dict[str, Any]]:
        return [orjson.loads(entry.leaf) for entry in self.ledger.entries]

    async def ask(
        self, body: bytes = b'{"message": "cancel payment 4711"}', method: str = "POST", path: str = "/ask", **more: Any
    ) -> Reply:
        await self.ledger.open()
        await self.destination.open()
        await self.shadow.open()
        headers = [
            (b"host", b"halden.example"),
            (b"content-type", more.get("content_type", b"application/json")),
            (b"content-length", b"%d" % len(body)),
        ]
        scope = {
            "type": "http",
            "method": method,
            "http_version": "1.1",
            "scheme": "http",
            "raw_path": path.encode(),
            "query_string": b"",
            "client": ("127.0.0.1", 5),
            "headers": headers + more.get("headers", []),
        }
        incoming = [{"type": "http.request", "body": body, "more_body": False}, {"type": "http.disconnect"}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return incoming.pop(0) if len(incoming) > 1 else incoming[0]

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.gateway.handle(self.runtime, scope, receive, send)
        return _reply(sent)


def _reply(sent: list[dict[str, Any]]) -> Reply:
    start = sent[0]
    body = b"".join(message.get("body", b"") for message in sent[1:])
    complete = len(sent) > 1 and not sent[-1].get("more_body", False)
    return Reply(start["status"], dict(start["headers"]), body, complete)
