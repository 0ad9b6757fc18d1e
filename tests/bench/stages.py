"""CPU of every stage by itself, over many turns in this process, beside DESIGN's budgets."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from router.audit.records.record import decision_entry, outcome_entry
from router.decision import NO_BODY, Decision, Outcome, Request, Result
from router.doors.body import BodyReader, body_view
from router.doors.forwarding import response_headers
from router.doors.gateway import Gateway
from router.doors.head import read_head
from router.doors.relay import Exchange, outbound
from router.stages.policy import admission_input, judge, policy_input
from router.telemetry.setup import Telemetry
from tests.bench.parts import Parts
from tests.bench.report import Figure, Report, median
from tests.bench.workspace import TEXT

Once = Callable[[], Awaitable[Any]]
ROUNDS = 7
BUDGETS = {
    "front door": (80.0, ("header", "identity", "limits", "body", "request headers", "response headers")),
    "rules and signals": (40.0, ("signals", "rules", "unusual")),
    "policy": (200.0, ("admission policy", "decision policy")),
    "route and record": (60.0, ("risk", "routing", "decision record", "outcome record")),
    "telemetry": (60.0, ("telemetry",)),
}
BODY = b'{"text":"%s"}' % TEXT.encode()


class Sample:
    """One request's values at every station, so that each stage can be asked again and again."""

    def __init__(self, parts: Parts, scope: Mapping[str, Any], body: bytes) -> None:
        self.parts, self.scope, self.body = parts, scope, body
        self.gateway = Gateway(parts.services.clock, parts.services.ids, parts.services.random, parts.telemetry)
        self.stages = parts.runtime.pipeline.stages

    async def prepare(self) -> None:
        runtime, options = self.parts.runtime, self.parts.runtime.options
        self.head = read_head(self.scope, options.trusted, False)
        self.subject = await runtime.authenticator.identify(self.head.headers, self.parts.services.clock.now_ns())
        self.visible = self.head.visible(options.visible)
        self.request = self.gateway.build(self.head, self.subject, self.parts.services.clock.now_ns(), self.visible, self.view())
        self.looked = self.stages.rules.look(self.head.method, self.head.path, self.visible, self.request.body)
        self.decision = await runtime.pipeline.decide(self.request, None)
        self.outcome = Outcome(Result.ROUTED, 200, upstream="http://127.0.0.1:1", attempts=1, total_ns=10**6, request_digest="0" * 64)
        self.document = await self._document(self.request, self.decision)
        self.exchange = Exchange(runtime, self.head, self.decision, 0, await self.read())

    async def _document(self, request: Request, decision: Decision) -> dict[str, Any]:
        found = decision.classification
        intent = self.stages.routing.intents.get(found.intent) if found.intent is not None else None
        return policy_input(request, decision.signals, found, decision.risk, intent, decision.route)

    def view(self) -> Any:
        if not self.body:
            return NO_BODY
        options = self.parts.runtime.options
        digest = hashlib.sha256(self.body).hexdigest()
        return body_view(self.body, digest, "application/json", "", options.text_paths, options.limits.text_chars)

    async def read(self) -> BodyReader:
        async def receive() -> Any:
            return {"type": "http.request", "body": self.body, "more_body": False}

        reader = BodyReader(receive, self.parts.runtime.options.limits, len(self.body), empty=not self.body)
        await reader.read_view()
        return reader

    def stations(self) -> dict[str, Once]:
        runtime, stages, decision, clock = self.parts.runtime, self.stages, self.decision, self.parts.services.clock
        engine, deadline = stages.policy, stages.policy_deadline_s
        found = decision.classification

        async def header() -> None:
            read_head(self.scope, runtime.options.trusted, False).visible(runtime.options.visible)

        async def body() -> None:
            await self.read()
            self.view()

        async def rules() -> None:
            stages.rules.look(self.head.method, self.head.path, self.visible, None)
            if self.body:
                stages.rules.look(self.head.method, self.head.path, self.visible, self.request.body)

        async def signals() -> None:
            stages.signals.inspect(self.request)

        async def unusual() -> None:
            stages.usual.judge(self.request, decision.signals, found)

        async def admission() -> None:
            await judge(engine, "admission", None, admission_input(self.request), deadline)

        async def policy() -> None:
            await judge(engine, "decision", found.intent, await self._document(self.request, decision), deadline)

        async def risk() -> None:
            stages.risk.weigh("low", decision.signals, found)

        async def routing() -> None:
            stages.routing.final(stages.routing.provisional(found), decision.verdict)

        async def recorded() -> None:
            decision_entry(decision, self.document, "k" * 16, b"\x01" * 32)

        async def ended() -> None:
            outcome_entry(decision.id, self.outcome, clock.now_ns(), "k" * 16, b"\x01" * 32)

        async def telemetry() -> None:
            _observe(self.parts.telemetry, decision, self.outcome)

        async def onward() -> None:
            outbound(self.exchange)

        async def back() -> None:
            response_headers([(b"content-type", b"application/json"), (b"content-length", b"200")], decision, 200)

        return {
            "header": header,
            "identity": lambda: runtime.authenticator.identify(self.head.headers, clock.now_ns()),
            "limits": lambda: runtime.limiter.admit(self.subject, self.head.client),
            "body": body,
            "admission policy": admission,
            "signals": signals,
            "rules": rules,
            "classification": lambda: stages.cascade.classify(
                self.request, self.looked.match, self.looked.undecided, decision.signals.language
            ),
            "unusual": unusual,
            "risk": risk,
            "decision policy": policy,
            "routing": routing,
            "decision record": recorded,
            "outcome record": ended,
            "request headers": onward,
            "response headers": back,
            "telemetry": telemetry,
            "whole pipeline, ledger in memory": lambda: runtime.pipeline.decide(self.request, self.looked),
        }


def _observe(telemetry: Telemetry, decision: Decision, outcome: Outcome) -> None:
    telemetry.metrics.recorded(10**6, failed=False)
    telemetry.ended(decision, outcome)


async def measure(report: Report, parts: Parts, key: str, turns: int) -> None:
    samples = {
        "GET by rule": Sample(parts, scope("GET", "/payments/4711", key), b""),
        "POST cached": Sample(parts, scope("POST", "/ask", key, BODY), BODY),
    }
    costs: dict[str, dict[str, float]] = {}
    for kind, sample in samples.items():
        await sample.prepare()
        costs[kind] = {name: await _cost(once, turns) for name, once in sample.stations().items()}
        report.section(f"CPU by stage — {kind}", [Figure(name, cost, "µs") for name, cost in costs[kind].items()])
    slower = {name: max(each[name] for each in costs.values()) for name in costs["GET by rule"]}
    report.section("Budgets (DESIGN §7), the costlier of both", [_budget(name, *limit, slower) for name, limit in BUDGETS.items()])


def _budget(name: str, most: float, members: tuple[str, ...], costs: Mapping[str, float]) -> Figure:
    return Figure(name, sum(costs[member] for member in members), "µs", most, note=" + ".join(members))


async def _cost(once: Once, turns: int) -> float:
    """Microseconds of this thread's CPU a turn; the median over rounds."""
    costs = []
    for _ in range(ROUNDS):
        began = time.thread_time_ns()
        for _ in range(turns):
            await once()
        costs.append((time.thread_time_ns() - began) / turns / 1000)
    return median(costs)


def scope(method: str, path: str, key: str, body: bytes = b"") -> dict[str, Any]:
    headers = [(b"host", b"bench.example"), (b"user-agent", b"bench"), (b"accept", b"*/*"), (b"authorization", b"Bearer " + key.encode())]
    if body:
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "raw_path": path.encode(),
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "headers": headers,
    }
