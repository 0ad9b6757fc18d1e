"""Every name that telemetry gives: OpenTelemetry's where it has one (semantic conventions 1.41, pinned here), ours under `lockgate`."""

from __future__ import annotations

# Resource and span attributes of the semantic conventions.
SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE = "service.instance.id"
HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"
HTTP_RESENDS = "http.request.resend_count"
SERVER_ADDRESS = "server.address"
URL_SCHEME = "url.scheme"
ERROR_TYPE = "error.type"
# The configuration that judged, as a flag evaluation: which variant was live.
FLAG_KEY = "feature_flag.key"
FLAG_VARIANT = "feature_flag.result.variant"
FLAG_VERSION = "feature_flag.version"
# Classification by a model.
GENAI_OPERATION = "gen_ai.operation.name"
GENAI_MODEL = "gen_ai.request.model"

# Ours.
DECISION_ID = "lockgate.decision.id"
DOOR = "lockgate.door"
INTENT = "lockgate.intent"
CONFIDENCE = "lockgate.confidence"
STATUS = "lockgate.classification.status"
TIER = "lockgate.tier"
RISK = "lockgate.risk.level"
EFFECT = "lockgate.verdict.effect"
REASON = "lockgate.reason"
RESULT = "lockgate.outcome.result"
ROUTE = "lockgate.route"
STAGE = "lockgate.stage"

SPAN_REQUEST = "lockgate.request"
SPAN_STAGE = "lockgate.stage."

# Metrics: OpenTelemetry's dotted name; Prometheus has underscores and the unit instead.
METRICS = {
    "lockgate.requests": "Requests that ended, by result, route and reason.",
    "lockgate.refusals": "Requests that were refused before a decision, by reason.",
    "lockgate.request.duration": "Seconds from a request's header to the end of its response.",
    "lockgate.upstream.duration": "Seconds of a request that were spent on the upstream and the transfer.",
    "lockgate.stage.duration": "Seconds that a stage of the pipeline took.",
    "lockgate.confidence": "Calibrated confidence of classifications.",
    "lockgate.classifications": "Classifications by status and tier.",
    "lockgate.verdicts": "Verdicts by effect and first reason.",
    "lockgate.audit.duration": "Seconds until a record was durable, as the request waited for it.",
    "lockgate.audit.failures": "Records that could not be made durable.",
    "lockgate.audit.records": "Records in the ledger.",
    "lockgate.audit.waiting": "Records that wait for their commit.",
    "lockgate.workers": "Worker processes that are alive.",
    "lockgate.config.age": "Seconds since the configuration that serves was taken up.",
    "lockgate.reviews.pending": "Requests that wait for a reviewer.",
}
