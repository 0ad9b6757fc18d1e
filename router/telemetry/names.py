"""Every name that telemetry gives: OpenTelemetry's where it has one (semantic conventions 1.44, pinned here), ours under `lockgate`."""

from __future__ import annotations

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

# Resource and span attributes of the semantic conventions; a test holds each against OpenTelemetry's own package.
SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE = "service.instance.id"
HTTP_METHOD = "http.request.method"
HTTP_STATUS = "http.response.status_code"
HTTP_RESENDS = "http.request.resend_count"
ERROR_TYPE = "error.type"
# The configuration that judged, as a flag evaluation: which variant was live.
FLAG_KEY = "feature_flag.key"
FLAG_VARIANT = "feature_flag.result.variant"
# Classification by a model; these conventions have moved to a repository of their own, under the same names.
GENAI_OPERATION = "gen_ai.operation.name"
GENAI_PROVIDER = "gen_ai.provider.name"
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
TAGS = "lockgate.tags"
DURATION_MS = "lockgate.duration_ms"

SPAN_REQUEST = "lockgate.request"
SPAN_STAGE = "lockgate.stage."

RESULT_DECIDED = "decided"  # how a request ended that only asked for a decision

# RFC 9110, RFC 5789; the conventions want every other method to be told as `_OTHER`, since a caller can make up any number of them.
METHODS = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))


def method(name: str) -> str:
    return name if name in METHODS else "_OTHER"


# Metrics: OpenTelemetry's dotted name; Prometheus has underscores and the unit instead.
METRICS = {
    "lockgate.requests": "Requests that ended, by result, route and reason.",
    "lockgate.requests.active": "Requests that are under way, of every door; a stream until it begins.",
    "lockgate.draining": "1 while this node is drained, or on the way there, by order of an operator; else 0.",
    "lockgate.refusals": "Requests that were refused before a decision, by reason.",
    "lockgate.decision.duration": "Seconds that a decision took until it was durable: the stages of the pipeline and its record.",
    "lockgate.request.duration": "Seconds from a request's header to the end of its response, or to the decision where that ended it.",
    "lockgate.upstream.duration": "Seconds from sending a request on to the end of the upstream's response.",
    "lockgate.stage.duration": "Seconds that a stage of the pipeline took.",
    "lockgate.confidence": "Calibrated confidence of classifications.",
    "lockgate.classifications": "Classifications by status and tier.",
    "lockgate.llm.calls": "Calls of the language model, and refusals to make one, by result.",
    "lockgate.llm.tokens": "Tokens that the language model's server counted, by kind.",
    "lockgate.policy.calls": "Evaluations by a policy engine outside of the process, and refusals to ask it, by result.",
    "lockgate.policy.processes": "Processes that evaluate policies, by what became of them.",
    "lockgate.policy.compared": "Evaluations that were put to a second policy engine, by result.",
    "lockgate.events": "Events that were taken, or given back, or put aside, by source and result.",
    "lockgate.deliveries": "Attempts to deliver, by result.",
    "lockgate.deliveries.pending": "Deliveries that wait or are under way.",
    "lockgate.deliveries.age": "Seconds since the oldest of them was decided.",
    "lockgate.deliveries.dead": "Deliveries that were given up and wait for a person.",
    "lockgate.mirrors": "Copies of requests that policy or a route asked for, by result.",
    "lockgate.policy.healthy": "Whether the policy engine is healthy, and says what it holds.",
    "lockgate.shared_state.calls": "Questions to the state that nodes share, and refusals to ask, by result.",
    "lockgate.shared_state.answers": "Looks for another node's classification, and what was told the others, by tier and result.",
    "lockgate.shared_state.circuits": "What this process told others of upstreams that fail, and heard, by result.",
    "lockgate.shared_state.healthy": "Whether the state that nodes share answers.",
    "lockgate.canary.requests": "Requests of routes with two destinations, by destination, result and class of status.",
    "lockgate.cors.preflights": "Browsers' questions about CORS that were answered with yes.",
    "lockgate.verdicts": "Verdicts by effect and first reason.",
    "lockgate.state.capacity": "Bytes of the disk that `state` is on.",
    "lockgate.state.free": "Bytes of it that are free.",
    "lockgate.audit.duration": "Seconds until a record was durable, as the request waited for it.",
    "lockgate.audit.failures": "Records that could not be made durable.",
    "lockgate.audit.late": "Outcomes that wait to be recorded because the ledger, or the keys that it seals with, were away.",
    "lockgate.audit.records": "Records in the ledger.",
    "lockgate.audit.keys.returned": "Keys that were erased, had come back, and were destroyed again, since the start.",
    "lockgate.audit.projection.lag": "Records that a projection does not have yet.",
    "lockgate.audit.unsigned": "Records that no checkpoint covers yet.",
    "lockgate.audit.waiting": "Records that wait for their commit.",
    "lockgate.audit.witnessed.records": "Records under the last checkpoint that enough witnesses confirmed.",
    "lockgate.audit.witnessed.age": "Seconds since enough witnesses last confirmed a checkpoint.",
    "lockgate.audit.witness.failures": "Times that a witness did not cosign, by witness and reason.",
    "lockgate.tls.expiry": "Days until the certificate of a listener expires; below zero afterwards.",
    "lockgate.workers": "Worker processes that are alive.",
    "lockgate.config.age": "Seconds since the configuration that serves was taken up.",
    "lockgate.policy.age": "Seconds since the source of the policies' bundle last confirmed that what decides is its newest.",
    "lockgate.policy.rollout.requests": "Requests since the running step of a rollout began, by what they say about its candidate.",
    "lockgate.policy.rollout.step": "Which step a rollout is at, from 1; 0 while none runs.",
    "lockgate.policy.overridden": "Whether a version of the policies is in force over the workspace's own.",
    "lockgate.nodes": "Nodes of this ledger that are there.",
    "lockgate.nodes.skew": "How many values more than one the living nodes have, by what they differ in.",
    "lockgate.envoy.reports": "Reports of Envoy's access log between the node that was told and the one that decided, by result.",
    "lockgate.reviews.pending": "Requests that wait for a reviewer.",
    "lockgate.control.break_glass": "Sessions in the control API that break-glass opened.",
    "lockgate.notices": "Notices of held requests, by notifier and result.",
    "lockgate.notices.pending": "Notices that are due and not told yet.",
    "lockgate.notices.age": "Seconds since the oldest of them was due.",
    "lockgate.learning.samples": "Sampled decisions of the watched time, by what became of them.",
    "lockgate.learning.accuracy": "Share of decisions with an intent that people found right, by random samples, with its 95 % interval.",
    "lockgate.learning.accuracy.floor": "Share that is to be right at least, as configured.",
    "lockgate.learning.calibration.gap": "Mean confidence minus that share, with its 95 % interval.",
    "lockgate.learning.calibration.error": "Expected calibration error of the same decisions.",
    "lockgate.learning.calibration.tolerance": "How far mean confidence may be from the share that is right, as configured.",
    "lockgate.objective.budget_left": "Share of an objective's budget of 30 days that is left; below 0 where it is overspent.",
    "lockgate.objective.burn_rate": "How many times as fast as it may an objective's budget burned, over a window.",
    "lockgate.work.followed": "Work of engines whose end is still to be recorded.",
}
