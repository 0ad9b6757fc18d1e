"""Telemetry of one process: metrics always, one span a request where it is sampled, logs that carry the trace id."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from router.decision import Decision, Outcome
from router.errors import EVENT_KNOWN, AuditError
from router.ports import MakeBeside, Recorder, Settled
from router.telemetry.access import log_refusal, log_request
from router.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from router.telemetry.exporting import Exporters
    from router.telemetry.tracing import Tracing


class Telemetry:
    """Implements the doors' Observer. `count_refusal` takes refusals to where they are recorded."""

    def __init__(
        self, exporters: Exporters | None, tracing: Tracing | None, count_refusal: Callable[[str], None], *, access_log: bool = False
    ) -> None:
        self.metrics = Metrics()
        self._count_refusal = count_refusal
        self.access_log = access_log
        self._exporters = exporters
        self._tracing = tracing
        if exporters is not None:
            exporters.start(self.metrics.registry)

    def refused(self, code: str, status: int) -> None:
        self.metrics.refused(code)
        self._count_refusal(code)
        if self.access_log:
            log_refusal(code, status)

    def preflight(self) -> None:
        self.metrics.preflight()

    def ended(self, decision: Decision, outcome: Outcome | None) -> None:
        """`outcome` is None where the caller only asked for the decision."""
        self.metrics.decided(decision)
        self.metrics.ended(decision, outcome)
        trace = decision.request.trace
        if self._tracing is not None and trace is not None and trace.sampled:
            self._tracing.request(decision, outcome, trace)
        if self.access_log:
            log_request(decision, outcome)

    def timed(self, recorder: Recorder) -> Recorder:
        return TimedRecorder(recorder, self.metrics)

    def outcome_lost(self) -> None:
        self.metrics.outcome_lost()

    def llm_called(self, result: str, prompt_tokens: int, completion_tokens: int) -> None:
        self.metrics.llm_called(result, prompt_tokens, completion_tokens)

    def policy_asked(self, result: str) -> None:
        self.metrics.policy_asked(result)

    def policy_health(self, healthy: bool) -> None:
        self.metrics.policy_health(healthy)

    def mirrored(self, result: str) -> None:
        self.metrics.mirrored(result)

    def policy_process(self, what: str) -> None:
        self.metrics.policy_process(what)

    def policy_compared(self, result: str) -> None:
        self.metrics.policy_compared(result)

    def state_asked(self, result: str) -> None:
        self.metrics.state_asked(result)

    def circuit_shared(self, result: str) -> None:
        self.metrics.circuit_shared(result)

    def answer_shared(self, tier: str, result: str) -> None:
        self.metrics.answer_shared(tier, result)

    def state_health(self, healthy: bool) -> None:
        self.metrics.state_health(healthy)

    def exposition(self) -> str:
        return self.metrics.exposition()

    def close(self) -> None:
        if self._exporters is not None:
            self._exporters.close()


class TimedRecorder:
    """Measures how long a request waits for its records."""

    def __init__(self, recorder: Recorder, metrics: Metrics) -> None:
        self._recorder = recorder
        self._metrics = metrics

    async def decided(self, decision: Decision, policy_input: Mapping[str, Any], beside: MakeBeside | None = None) -> None:
        began, failed, known = time.perf_counter_ns(), False, False
        try:
            await self._recorder.decided(decision, policy_input, beside)
        except AuditError as error:
            known = error.code == EVENT_KNOWN  # which is no failure: its record is there
            failed = not known
            raise
        finally:
            spent = time.perf_counter_ns() - began
            self._metrics.recorded(spent, failed)
            if not (failed or known):
                self._metrics.decision_durable(decision, spent)

    async def ended(self, decision: Decision, outcome: Outcome, settled: Settled | None = None) -> None:
        try:
            await self._recorder.ended(decision, outcome, settled)
        except AuditError:
            self._metrics.recorded(0, failed=True)
            raise


def start_telemetry(otlp: str | None, instance: str, count_refusal: Callable[[str], None], *, access_log: bool = False) -> Telemetry:
    """`otlp` is the base URL of an OTLP/HTTP collector, or None for no export."""
    if otlp is None:
        return Telemetry(None, None, count_refusal, access_log=access_log)
    from router.telemetry.exporting import make_exporters  # a tenth of all that a worker loads, for who has a collector
    from router.telemetry.tracing import Tracing

    exporters = make_exporters(otlp, instance)
    return Telemetry(exporters, Tracing(exporters.tracers), count_refusal, access_log=access_log)
