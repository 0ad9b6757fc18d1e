"""Metrics of one worker, always on. prometheus-client keeps the numbers: a labelled child costs half a microsecond where the SDK's
instruments cost four, and histograms are our own; `otlp_metrics` hands the same numbers to an OTLP collector.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.exposition import generate_latest

from router.buckets import FAST, SHARE, SLOW
from router.decision import Decision, Outcome
from router.telemetry.access import duration_ns, result_of
from router.telemetry.histogram import Histogram
from router.telemetry.names import METRICS
from router.telemetry.objectives.indicators import Indicators, indicators

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody asks for

REASONS_KEPT = 500  # reason codes come from policy authors; a label that grows without end would take the memory


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter("lockgate.requests", "result", "route", "reason")
        self._active = self._gauge("lockgate.requests.active")
        self._refusals = self._counter("lockgate.refusals", "reason")
        self._classifications = self._counter("lockgate.classifications", "status", "tier")
        self._llm_calls = self._counter("lockgate.llm.calls", "result")
        self._llm_tokens = self._counter("lockgate.llm.tokens", "kind")
        self._policy_calls = self._counter("lockgate.policy.calls", "result")
        self._policy_processes = self._counter("lockgate.policy.processes", "result")
        self._policy_compared = self._counter("lockgate.policy.compared", "result")
        self._mirrors = self._counter("lockgate.mirrors", "result")
        self._deliveries = self._counter("lockgate.deliveries", "result")
        self._events = self._counter("lockgate.events", "source", "result")
        self._policy_healthy = self._gauge("lockgate.policy.healthy")
        self._policy_healthy.set(1)  # an engine within the process always is
        self._state_calls = self._counter("lockgate.shared_state.calls", "result")
        self._answers = self._counter("lockgate.shared_state.answers", "tier", "result")
        self._circuits = self._counter("lockgate.shared_state.circuits", "result")
        name = "lockgate.shared_state.healthy"
        self._state_healthy = Gauge(name.replace(".", "_"), METRICS[name], registry=self.registry)
        self._state_healthy.set(1)  # where nothing is shared nothing is missing
        self._destinations = self._counter("lockgate.canary.requests", "route", "destination", "result", "status")
        self._preflights = self._counter("lockgate.cors.preflights")
        self._verdicts = self._counter("lockgate.verdicts", "effect", "reason")
        self._audit_failures = self._counter("lockgate.audit.failures")
        self._late = self._gauge("lockgate.audit.late")
        self._decision = self._histogram("lockgate.decision.duration", SLOW)
        self._duration = self._histogram("lockgate.request.duration", SLOW, "result")
        self._upstream = self._histogram("lockgate.upstream.duration", SLOW, "route")
        self._stages = self._histogram("lockgate.stage.duration", FAST, "stage")
        self._confidence = self._histogram("lockgate.confidence", SHARE, "tier", unit="")
        self._audit = self._histogram("lockgate.audit.duration", SLOW)
        self._born_ns = time.time_ns()
        self._reasons: set[str] = set()
        self._children: dict[tuple[object, ...], Counter] = {}

    def count_active(self, count: Callable[[], int]) -> None:
        """`count` is asked whenever the page is."""
        self._active.set_function(count)

    def count_late(self, count: Callable[[], int]) -> None:
        """`count` is asked whenever the page is."""
        self._late.set_function(count)

    def delivered(self, result: str) -> None:
        self._child(self._deliveries, result).inc()

    def event(self, source: str, result: str) -> None:
        """`source` is the configuration's name of it."""
        self._child(self._events, source, result).inc()

    def mirrored(self, result: str) -> None:
        self._child(self._mirrors, result).inc()

    def preflight(self) -> None:
        self._preflights.inc()

    def refused(self, code: str) -> None:
        self._child(self._refusals, self._bounded(code)).inc()

    def decided(self, decision: Decision) -> None:
        classification = decision.classification
        self._child(self._classifications, classification.status.value, classification.tier or "none").inc()
        if classification.confidence is not None:
            self._confidence.observe(classification.confidence, classification.tier)
        reasons = decision.verdict.reasons
        self._child(self._verdicts, decision.verdict.effect.value, self._bounded(reasons[0].code) if reasons else "").inc()
        for stage, spent in decision.stages_ns:
            self._stages.observe(spent / 1e9, stage)
        for stage, spent in classification.stages_ns:
            self._stages.observe(spent / 1e9, stage)

    def ended(self, decision: Decision, outcome: Outcome | None) -> None:
        """`outcome` is None where the caller only asked for the decision."""
        route = decision.route.name if decision.route is not None else ""
        result, reason = result_of(outcome), outcome.reason if outcome is not None else ""
        self._child(self._requests, result, route, self._bounded(reason)).inc()
        self._duration.observe(duration_ns(decision, outcome) / 1e9, result)
        if decision.route is not None and decision.route.split and outcome is not None:
            self._child(self._destinations, route, decision.route.destination, result, f"{outcome.status // 100}xx").inc()
        if outcome is not None and outcome.upstream_ns:
            self._upstream.observe(outcome.upstream_ns / 1e9, route)

    def recorded(self, spent_ns: int, failed: bool) -> None:
        self._audit.observe(spent_ns / 1e9)
        if failed:
            self._audit_failures.inc()

    def outcome_lost(self) -> None:
        """One that was late, and could not be recorded after all."""
        self._audit_failures.inc()

    def decision_durable(self, decision: Decision, recording_ns: int) -> None:
        self._decision.observe((sum(spent for _, spent in decision.stages_ns) + recording_ns) / 1e9)

    def llm_called(self, result: str, prompt_tokens: int, completion_tokens: int) -> None:
        self._child(self._llm_calls, self._bounded(result)).inc()
        self._child(self._llm_tokens, "prompt").inc(prompt_tokens)
        self._child(self._llm_tokens, "completion").inc(completion_tokens)

    def policy_asked(self, result: str) -> None:
        self._child(self._policy_calls, self._bounded(result)).inc()

    def policy_health(self, healthy: bool) -> None:
        self._policy_healthy.set(healthy)

    def policy_process(self, what: str) -> None:
        self._child(self._policy_processes, what).inc()

    def policy_compared(self, result: str) -> None:
        self._child(self._policy_compared, result).inc()

    def state_asked(self, result: str) -> None:
        self._child(self._state_calls, result).inc()

    def circuit_shared(self, result: str) -> None:
        self._child(self._circuits, result).inc()

    def answer_shared(self, tier: str, result: str) -> None:
        self._child(self._answers, tier, result).inc()

    def state_health(self, healthy: bool) -> None:
        self._state_healthy.set(healthy)

    def indicators(self) -> Indicators:
        """What the objectives are told from."""
        return indicators(
            self._born_ns,
            self._values(self._requests),
            self._values(self._refusals),
            self._values(self._verdicts, 1),
            self._values(self._classifications),
            self._decision.cumulated(),
        )

    def exposition(self) -> str:
        return generate_latest(self.registry).decode()

    def _values(self, family: Counter, label: int = 0) -> list[tuple[str, float]]:
        """With the value of that label."""
        children = list(self._children.items())
        return [(str(key[label + 1]), child._value.get()) for key, child in children if key[0] is family]

    def _child(self, family: Counter, *labels: str) -> Counter:
        key = (family, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = family.labels(*labels)
        return child

    def _bounded(self, reason: str) -> str:
        if reason in self._reasons:
            return reason
        if len(self._reasons) >= REASONS_KEPT:
            return "other"
        self._reasons.add(reason)
        return reason

    def _counter(self, name: str, *labels: str) -> Counter:
        return Counter(name.replace(".", "_"), METRICS[name], labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        return Gauge(name.replace(".", "_"), METRICS[name], registry=self.registry)

    def _histogram(self, name: str, buckets: Sequence[float], *labels: str, unit: str = "seconds") -> Histogram:
        return Histogram(name.replace(".", "_"), METRICS[name], labels, buckets, unit, self.registry)
