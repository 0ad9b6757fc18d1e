"""The one way through: every front door builds a `Request` and gets back a `Decision` whose record is durable.

    1 admission policy   2 signals   3 classification   4 risk   5 decision policy   6 route   7 audit

Nothing may be dispatched before `decide` has returned, and it returns only after step 7. A failure of any step becomes part of the decision
(abstain or deny, with a reason code); a failure of step 7 is an AuditError and there is no decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from router.decision import (
    Classification,
    Decision,
    Effect,
    Level,
    Outcome,
    Reason,
    Request,
    Result,
    Risk,
    Route,
    Signals,
    Status,
    Verdict,
)
from router.obligations import KINDS
from router.ports import Clock, Ids, Intents, MakeBeside, PolicyEngine, Recorder, Settled
from router.stages.alternatives import NO_CHOICE
from router.stages.canary import split
from router.stages.classification import NO_TEXT, SEVERAL_INTENTS, Cascade
from router.stages.demands import NOTHING_MORE, Demands
from router.stages.intent_limits import NO_INTENT_LIMITS, IntentLimits
from router.stages.policy import MOST_PLAUSIBLE, admission_input, judge, plausible, policy_input
from router.stages.risk import RiskModel
from router.stages.routing import ABSTAIN_CLARIFY, RoutingTable
from router.stages.rules import Looked, RuleIndex
from router.stages.signals import SignalDetector, together
from router.stages.usual import Usual


class Comparing(Protocol):
    """A second engine, which is asked about some evaluations when they are recorded. Returns at once and never raises."""

    def offer(self, decision_id: str, entry: str, intent: Intents, document: Mapping[str, Any], verdict: Verdict) -> None: ...


class Choice(Protocol):
    """Routes among which policy may choose, and how they stand."""

    def told(self, route: Route | None) -> Mapping[str, Any] | None: ...

    def note(self, route: Route | None, outcome: Outcome) -> None: ...


@dataclass(frozen=True, slots=True)
class Stages:
    """The parts of one configuration. A reload makes a new one; requests under way keep theirs."""

    rules: RuleIndex
    signals: SignalDetector
    cascade: Cascade
    usual: Usual
    risk: RiskModel
    policy: PolicyEngine
    policy_deadline_s: float | None
    routing: RoutingTable
    config_digest: str
    catalog_digest: str
    comparison: Comparing | None = None
    demands: Demands = NOTHING_MORE
    limits: IntentLimits = NO_INTENT_LIMITS
    alternatives: Choice = NO_CHOICE


@dataclass(frozen=True, slots=True)
class Part:
    """Of what a request is one step: the parent's decision, and what was found in the whole of it. What stands in one clause may be about
    another, so that every step is judged by all findings."""

    parent: str
    signals: Signals


class _Timings:
    """Nanoseconds of each stage, in order."""

    __slots__ = ("_clock", "_last", "laps")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock.monotonic_ns()
        self.laps: list[tuple[str, int]] = []

    def lap(self, name: str) -> None:
        now = self._clock.monotonic_ns()
        self.laps.append((name, now - self._last))
        self._last = now


NOT_ADMITTED = Classification(Status.UNDETERMINED, reason="not_admitted")
NO_RISK = Risk(Level.LOW, 0.0)


class Pipeline:
    def __init__(self, stages: Stages, recorder: Recorder, clock: Clock, ids: Ids) -> None:
        self.stages = stages
        self._recorder = recorder
        self._clock = clock
        self._ids = ids

    async def decide(
        self,
        request: Request,
        looked: Looked | None = None,
        *,
        socket: bool = False,
        beside: MakeBeside | None = None,
        splits: bool = False,
        part: Part | None = None,
    ) -> Decision:
        """`looked` is what the rules said of the header alone, where a front door asked already; `socket` says that messages follow, which
        nobody will read; `beside` gives what is to be durable with the record; `splits` that a request for several things may become
        several decisions, of which this one is then the parent; `part` that it is one of those. Raises AuditError, and RefusedError for a
        request that is over a quota of admission: those are counted, not decided."""
        timings = _Timings(self._clock)
        document: Mapping[str, Any] = admission_input(request)
        admitted = document
        admission = await self._judge("admission", None, admitted)  # 1
        timings.lap("admission")
        if admission.effect is not Effect.ALLOW:
            decision, judged = self._refused_at_admission(request, admission, timings, part), None
        else:
            if admission.obligations:
                await self.stages.demands.admit(request, admission)
            weighed = self._weigh(request, looked, admission, document, timings, socket=socket, splits=splits, part=part)
            decision, document, judged = await weighed
        await self._recorder.decided(decision, document, beside)  # 7: a crash before this leaves no trace and no effect
        if self.stages.comparison is not None:
            self.stages.comparison.offer(decision.id, "admission", None, admitted, admission)
            if judged is not None:
                self.stages.comparison.offer(decision.id, "decision", _asked(decision.classification), document, judged)
        return decision

    async def ended(self, decision: Decision, outcome: Outcome, settled: Settled | None = None) -> None:
        """The second record, and with it the end of a delivery. Raises AuditError; the request happened, and its outcome is missing,
        which reconciliation shows."""
        self.stages.alternatives.note(decision.route, outcome)
        await self._recorder.ended(decision, outcome, settled)

    async def _weigh(
        self,
        request: Request,
        looked: Looked | None,
        admission: Verdict,
        admitted: Mapping[str, Any],
        timings: _Timings,
        *,
        socket: bool,
        splits: bool,
        part: Part | None,
    ) -> tuple[Decision, Mapping[str, Any], Verdict | None]:
        """The last is what policy said, before routing and the body's view made it stricter; None where it was not asked."""
        stages = self.stages
        signals = stages.signals.inspect(request)  # 2
        if part is not None:
            signals = together(signals, part.signals)
        timings.lap("signals")
        if looked is None or looked.match is None:
            looked = stages.rules.look(request.method, request.path, request.headers, request.body)
        classification = await stages.cascade.classify(request, looked.match, looked.undecided, signals.language)  # 3
        signals = stages.usual.judge(request, signals, classification)  # what is usual for its intent
        timings.lap("classification")
        if splits and part is None and classification.reason == SEVERAL_INTENTS:  # each is judged for itself
            risk = stages.risk.weigh(None, signals, classification)
            decision = self._decision(request, signals, classification, risk, admission, admission, None, None, timings)
            return decision, admitted, None
        intent = stages.routing.intents.get(classification.intent) if classification.intent is not None else None
        risk = stages.risk.weigh(intent.risk if intent is not None else None, signals, classification)  # 4
        timings.lap("risk")
        provisional = stages.routing.provisional(classification)
        if stages.routing.canaries and provisional is not None:
            provisional = split(stages.routing.canaries, provisional, request)
        document = policy_input(
            request, signals, classification, risk, intent, provisional, admitted, stages.alternatives.told(provisional)
        )
        verdict = await self._judge("decision", _asked(classification), document)  # 5
        timings.lap("policy")
        judged = verdict
        route, verdict = stages.routing.final(provisional, verdict)  # 6
        if stages.routing.canaries and route is not None and route is not provisional:
            route = split(stages.routing.canaries, route, request)
        verdict = _needs_whole_body(request, _understood(classification, route, verdict))
        if stages.limits:
            verdict = await stages.limits.within(request, classification, route, verdict)
        if verdict.obligations:
            verdict = await stages.demands.met(request, classification, route, verdict, socket=socket)
        outcome = self._ending(classification, verdict, route)
        timings.lap("route")
        decision = self._decision(request, signals, classification, risk, admission, verdict, route, outcome, timings, part)
        return decision, document, judged

    async def _judge(self, entry: str, intent: Intents, document: Mapping[str, Any]) -> Verdict:
        return await judge(self.stages.policy, entry, intent, document, self.stages.policy_deadline_s)

    def _refused_at_admission(self, request: Request, admission: Verdict, timings: _Timings, part: Part | None) -> Decision:
        """Admission only lets in or refuses: a review or reroute needs an intent that is not known yet."""
        outcome = Outcome(Result.DENIED, admission.status or 403, _code(admission))
        return self._decision(request, Signals(), NOT_ADMITTED, NO_RISK, admission, admission, None, outcome, timings, part)

    def _ending(self, classification: Classification, verdict: Verdict, route: Route | None) -> Outcome | None:
        """How the request ends without a dispatch; None where one follows."""
        if verdict.effect is Effect.DENY:
            return Outcome(Result.DENIED, verdict.status or 403, _code(verdict))
        if route is None:
            return Outcome(Result.ABSTAINED, self._abstained(classification), classification.reason or classification.status)
        if verdict.effect in (Effect.ALLOW, Effect.REROUTE):
            return None
        return Outcome(Result.HELD, 202, _code(verdict))

    def _abstained(self, classification: Classification) -> int:
        """404 where there was nothing to understand, 422 where the caller is asked back, 403 where the route says no more."""
        if self.stages.routing.abstention(classification) != ABSTAIN_CLARIFY:
            return 403
        return 404 if classification.reason == NO_TEXT else 422

    def _decision(
        self,
        request: Request,
        signals: Signals,
        classification: Classification,
        risk: Risk,
        admission: Verdict,
        verdict: Verdict,
        route: Route | None,
        outcome: Outcome | None,
        timings: _Timings,
        part: Part | None = None,
    ) -> Decision:
        return Decision(
            id=self._ids.new(),
            request=request,
            signals=signals,
            classification=classification,
            risk=risk,
            admission=admission,
            verdict=verdict,
            route=route,
            outcome=outcome,
            decided_ns=self._clock.now_ns(),
            config_digest=self.stages.config_digest,
            catalog_digest=self.stages.catalog_digest,
            stages_ns=tuple(timings.laps),
            parent="" if part is None else part.parent,
        )


def _code(verdict: Verdict) -> str:
    return verdict.reasons[0].code if verdict.reasons else verdict.effect.value


def _asked(classification: Classification) -> tuple[str, ...]:
    return plausible(classification.intent, classification.prediction_set)


def _understood(classification: Classification, route: Route | None, verdict: Verdict) -> Verdict:
    """What may be so many things that their policies were not asked goes nowhere."""
    if route is None or verdict.effect is Effect.DENY or len(classification.prediction_set) <= MOST_PLAUSIBLE:
        return verdict
    reason = Reason("policy_intents_too_many", "the request may mean more things than their policies can be asked about")
    return Verdict(Effect.DENY, (reason, *verdict.reasons), revision=verdict.revision, digest=verdict.digest, engine=verdict.engine)


def _needs_whole_body(request: Request, verdict: Verdict) -> Verdict:
    """A body that was only seen in part cannot be held, changed, copied or deduplicated by its content."""
    if not request.body.truncated or verdict.effect is Effect.DENY:
        return verdict
    needed = any(KINDS[obligation.name].whole_body for obligation in verdict.obligations)
    if verdict.effect is not Effect.REVIEW and not needed and request.idempotency_key is None:
        return verdict
    reason = Reason("body_truncated", "the body is larger than the part that was seen, and what policy asks for needs all of it")
    return Verdict(Effect.DENY, (reason, *verdict.reasons), revision=verdict.revision, digest=verdict.digest, engine=verdict.engine)
