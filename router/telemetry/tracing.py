"""Spans of a request, made when it has ended from the times that its values carry: an unsampled request pays nothing for them."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from router.decision import Decision, Outcome, Result, TraceContext
from router.obligations import tags
from router.telemetry import names
from router.telemetry.access import duration_ns, result_of, status_of

SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class GivenIds(IdGenerator):
    """The ids that went to the upstream in `traceparent`, for the one span that is about to be made with them; else random ones."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._span: int | None = None
        self._trace: int | None = None

    def next(self, trace_id: int, span_id: int) -> None:
        self._trace, self._span = trace_id, span_id

    def generate_span_id(self) -> int:
        given, self._span = self._span, None
        return given if given is not None else self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        given, self._trace = self._trace, None
        return given if given is not None else self._random.generate_trace_id()


class Tracing:
    """Belongs to one thread. `provider` must have been made with a GivenIds as its id generator."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("lockgate", schema_url=names.SCHEMA_URL)
        self._ids = provider.id_generator

    def request(self, decision: Decision, outcome: Outcome | None, context: TraceContext) -> None:
        """`outcome` is None where the caller only asked for the decision."""
        if not isinstance(self._ids, GivenIds):
            raise TypeError("the tracer provider has another id generator")
        self._ids.next(int(context.trace_id, 16), int(context.span_id, 16))
        started = decision.request.received_ns
        span = self._tracer.start_span(
            names.SPAN_REQUEST, _parent(context), SpanKind.SERVER, _attributes(decision, outcome), start_time=started
        )
        if outcome is not None and outcome.result is Result.FAILED:
            span.set_status(Status(StatusCode.ERROR, outcome.reason))
            span.set_attribute(names.ERROR_TYPE, outcome.reason)
        self._stages(decision, span)
        span.end(started + duration_ns(decision, outcome))

    def _stages(self, decision: Decision, parent: Span) -> None:
        inside = trace.set_span_in_context(parent)
        at = decision.decided_ns - sum(spent for _, spent in decision.stages_ns)
        for stage, spent in decision.stages_ns:
            span = self._tracer.start_span(names.SPAN_STAGE + stage, inside, start_time=at)
            at += spent
            span.end(at)


def _parent(context: TraceContext) -> Context | None:
    if context.parent_id is None:
        return None
    parent = SpanContext(int(context.trace_id, 16), int(context.parent_id, 16), is_remote=True, trace_flags=SAMPLED)
    return trace.set_span_in_context(NonRecordingSpan(parent))


def _attributes(decision: Decision, outcome: Outcome | None) -> dict[str, str | int | float]:
    """Nothing personal: no path, query, subject or text."""
    classification, verdict = decision.classification, decision.verdict
    attributes: dict[str, str | int | float] = {
        names.DECISION_ID: decision.id,
        names.DOOR: decision.request.door,
        names.HTTP_METHOD: names.method(decision.request.method),
        names.HTTP_STATUS: status_of(outcome),
        names.STATUS: classification.status.value,
        names.TIER: classification.tier,
        names.RISK: decision.risk.level.value,
        names.EFFECT: verdict.effect.value,
        names.RESULT: result_of(outcome),
        names.FLAG_KEY: "lockgate.config",
        names.FLAG_VARIANT: decision.config_digest,
    }
    if classification.intent is not None:
        attributes[names.INTENT] = classification.intent
    if classification.confidence is not None:
        attributes[names.CONFIDENCE] = classification.confidence
    if classification.model_digest:
        attributes |= {
            names.GENAI_OPERATION: "classify",
            names.GENAI_PROVIDER: "lockgate",
            names.GENAI_MODEL: classification.model_digest,
        }
    if decision.route is not None:
        attributes[names.ROUTE] = decision.route.name
    if outcome is not None and outcome.attempts > 1:
        attributes[names.HTTP_RESENDS] = outcome.attempts - 1
    if found := tags((*decision.admission.obligations, *verdict.obligations)):
        attributes[names.TAGS] = ",".join(found)
    if verdict.reasons:
        attributes[names.REASON] = verdict.reasons[0].code
    return attributes
