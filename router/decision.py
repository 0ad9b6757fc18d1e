"""The values that pass through the pipeline. Frozen, slotted, plain: no behaviour beyond small derived properties.

Units: `*_ns` are integer nanoseconds (wall clock where named `received`/`decided`, else durations); scores, confidences and margins are
floats in 0..1; digests are lower-case hex SHA-256.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from router.quick import quickly_made

JsonObject = Mapping[str, Any]
EMPTY: JsonObject = {}


class Level(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Status(StrEnum):
    """How a classification ended. Only `classified` carries an intent that may be acted on."""

    CLASSIFIED = "classified"
    AMBIGUOUS = "ambiguous"
    OUT_OF_SCOPE = "out_of_scope"
    UNDETERMINED = "undetermined"  # the text could not be judged: truncated, undecodable, too long
    UNAVAILABLE = "unavailable"  # the classifier failed, was late or answered nonsense
    SKIPPED = "skipped"  # a rule said that no intent is needed


class Effect(StrEnum):
    ALLOW = "allow"
    DENY = "deny"
    REVIEW = "review"
    REROUTE = "reroute"


class Result(StrEnum):
    """How a request ended."""

    ROUTED = "routed"
    DENIED = "denied"
    HELD = "held"
    ABSTAINED = "abstained"
    SPLIT = "split"  # into the decisions of its steps
    SHED = "shed"
    FAILED = "failed"


@quickly_made
@dataclass(frozen=True, slots=True)
class Subject:
    """Who is calling. `authenticated_by` is `api_key`, `jwt`, `certificate`, `delegated` (named by a trusted service), `signature` or
    `broker` (who an event speaks for), or `none` for an anonymous caller; of people in the control API `session` or `break_glass`, too."""

    id: str
    type: str
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    tenant: str | None = None
    claims: JsonObject = field(default_factory=dict)
    authenticated_by: str = "none"


ANONYMOUS = Subject(id="anonymous", type="anonymous")


@quickly_made
@dataclass(frozen=True, slots=True)
class TraceContext:
    """W3C trace context: `trace_id` 32 hex, `span_id` 16 hex (ours), `parent_id` the caller's span if there was one."""

    trace_id: str
    span_id: str
    sampled: bool = False
    state: str = ""
    parent_id: str | None = None


@quickly_made
@dataclass(frozen=True, slots=True)
class EventSource:
    """CloudEvents `source` and `id`: together they name one event once."""

    source: str
    id: str


@quickly_made
@dataclass(frozen=True, slots=True)
class BodyView:
    """What was seen of a body before the decision.

    `digest` covers the whole body and is None while `truncated`. `text` is the request text to classify; None with `problem` None
    means that there is none to classify, None with a `problem` (a reason code) means that it could not be read.
    """

    data: bytes = b""
    digest: str | None = None
    truncated: bool = False
    text: str | None = None
    problem: str | None = None
    json: Any = None


NO_BODY = BodyView(digest="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


@dataclass(frozen=True, slots=True)
class Turn:
    """What was said before in a conversation: the normalised text, the intent that was accepted, or those that its sender was offered."""

    text: str
    intent: str | None = None
    offered: tuple[str, ...] = ()


@quickly_made
@dataclass(frozen=True, slots=True)
class Request:
    """One request as every front door builds it. `headers` holds allow-listed names only, lower-case, in order."""

    id: str
    received_ns: int
    door: str
    subject: Subject
    method: str
    host: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = ""
    body: BodyView = NO_BODY
    client: str = ""
    source: EventSource | None = None
    trace: TraceContext | None = None
    idempotency_key: str | None = None
    conversation: str = ""
    earlier: tuple[Turn, ...] = ()


@quickly_made
@dataclass(frozen=True, slots=True)
class Finding:
    """A named signal: `pii.iban`, `secret.aws_key`, `injection`, `size`. Spans are character offsets into the request text."""

    name: str
    score: float
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def count(self) -> int:
        return max(1, len(self.spans))


@quickly_made
@dataclass(frozen=True, slots=True)
class RuleMatch:
    """A deterministic rule that decided: an intent, or `intent=None` where no intent is needed."""

    rule: str
    intent: str | None
    route: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Language:
    """`code` is ISO 639-1, or `und` where the text does not say; `score` how likely it is among the languages that are told apart."""

    code: str
    score: float


UNDETERMINED_LANGUAGE = Language("und", 0.0)


@quickly_made
@dataclass(frozen=True, slots=True)
class Signals:
    findings: tuple[Finding, ...] = ()
    masked_text: str | None = None
    text_chars: int = 0
    body_bytes: int = 0
    unknown: tuple[str, ...] = ()  # signals that could not be computed; a policy must not read them as absent
    language: Language = UNDETERMINED_LANGUAGE
    learning: tuple[str, ...] = ()  # signals that compare with the past, of which too little was seen


@dataclass(frozen=True, slots=True)
class Candidate:
    intent: str
    raw: float
    calibrated: float


@quickly_made
@dataclass(frozen=True, slots=True)
class EarlierTier:
    """A tier whose answer was not accepted: its likeliest intent, None where it had none to offer, and the reason. `threshold`: the
    confidence that it would have taken."""

    tier: str
    intent: str | None
    reason: str = ""
    confidence: float | None = None
    threshold: float | None = None
    margin: float | None = None
    scope: float | None = None
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Classification:
    """`confidence` is the calibrated probability that `intent` is right; 1.0 only where a deterministic rule decided, or the caller by
    taking one of the intents that were offered. `novelty` is the
    share of held-out texts about intents that looked more familiar; 0.0 where a rule decided. `earlier_tiers`: those that were asked before
    the one that answered, and whose answers were not accepted."""

    status: Status
    intent: str | None = None
    confidence: float | None = None
    margin: float | None = None
    scope: float | None = None
    threshold: float | None = None
    candidates: tuple[Candidate, ...] = ()
    prediction_set: tuple[str, ...] = ()
    tier: str = ""
    reason: str = ""
    rule: RuleMatch | None = None
    model_digest: str = ""
    catalog_digest: str = ""
    calibration_digest: str = ""
    cached: bool = False
    stages_ns: tuple[tuple[str, int], ...] = ()
    novelty: float | None = None
    injection: float | None = None  # probability that the text gives orders to the machine; None where the encoder was not asked
    earlier_tiers: tuple[EarlierTier, ...] = ()


@quickly_made
@dataclass(frozen=True, slots=True)
class Contribution:
    name: str
    score: float


@quickly_made
@dataclass(frozen=True, slots=True)
class Risk:
    level: Level
    score: float
    contributions: tuple[Contribution, ...] = ()


@quickly_made
@dataclass(frozen=True, slots=True)
class Reason:
    """`code` is a stable slug (`[a-z0-9_.]`); `message` is for people and may hold personal data."""

    code: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Obligation:
    name: str
    params: JsonObject = field(default_factory=dict)


@quickly_made
@dataclass(frozen=True, slots=True)
class Verdict:
    """`status`: of a denial, None for 403. `fields`: header fields that tell its caller what would help."""

    effect: Effect
    reasons: tuple[Reason, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    reroute: str | None = None
    revision: str = ""
    digest: str = ""
    engine: str = ""
    opa_decision_id: str | None = None
    status: int | None = None
    fields: tuple[tuple[str, str], ...] = ()


@quickly_made
@dataclass(frozen=True, slots=True)
class Route:
    """Where the request goes. `path`/`method` rewrite the request; None passes the caller's on. `why`: rule, intent, abstain, reroute; and
    with its other destination canary, canary_asked. `split`: there are two."""

    name: str
    destination: str
    why: str
    path: str | None = None
    method: str | None = None
    split: bool = False


@quickly_made
@dataclass(frozen=True, slots=True)
class Outcome:
    result: Result
    status: int
    reason: str = ""
    upstream: str = ""
    attempts: int = 0
    upstream_ns: int = 0
    total_ns: int = 0
    request_digest: str | None = None
    response_bytes: int = 0
    complete: bool = True
    work: str = ""
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One of several things that a request asked for: its decision's id, and how it ended for now."""

    id: str
    result: Result
    status: int


@quickly_made
@dataclass(frozen=True, slots=True)
class Decision:
    """Everything that was decided. `outcome` is set when the decision itself ended the request (denied, held, abstained, shed);
    None means that a dispatch follows and its outcome comes as a second record; without a `route` it is split into steps, each a decision
    of its own whose `parent` this one is."""

    id: str
    request: Request
    signals: Signals
    classification: Classification
    risk: Risk
    admission: Verdict
    verdict: Verdict
    route: Route | None
    outcome: Outcome | None
    decided_ns: int
    config_digest: str
    catalog_digest: str = ""
    stages_ns: tuple[tuple[str, int], ...] = ()
    parent: str = ""

    @property
    def splits(self) -> bool:
        return self.route is None and self.outcome is None
