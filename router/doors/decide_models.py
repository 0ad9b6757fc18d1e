"""The decide API's wire types, for validation of what comes in and for the OpenAPI document of what goes out."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from router.review.resuming import checked

Fraction = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SubjectIn(Strict):
    """On whose behalf a decision is asked; only for callers whose key has the scope `delegate`."""

    id: str = Field(min_length=1, max_length=512)
    type: str = "user"
    roles: list[str] = []
    groups: list[str] = []
    tenant: str | None = None
    claims: dict[str, Any] = {}


class DecideRequest(Strict):
    """The request to decide about, as the asking service received it."""

    text: str | None = Field(default=None, description="The request text to classify; instead of `body`.")
    body: Any = Field(default=None, description="A JSON body; the request text is found in it as the gateway does.")
    method: str = Field(default="POST", pattern=r"^[A-Z]{1,20}$")
    host: str = Field(default="", max_length=255)
    path: str = Field(default="/", pattern=r"^/", max_length=8192)
    query: str = Field(default="", max_length=8192)
    headers: dict[str, str] = Field(default={}, description="Only the configured allow-list is kept.")
    client: str = Field(default="", max_length=64)
    idempotency_key: str | None = Field(default=None, max_length=255)
    traceparent: str | None = Field(default=None, max_length=128)
    subject: SubjectIn | None = None
    hold: bool = Field(
        default=False,
        description="Where policy wants a review: put the request before reviewers. Once it is approved the asking service may go ahead.",
    )
    resume: dict[str, str] | None = Field(
        default=None,
        description="With `hold`, where the route lets engines be resumed: what the asking step is resumed by when the review has ended, "
        "such as `{token: …}`. Sealed with the request, and in no record.",
    )

    @model_validator(mode="after")
    def _resumable(self) -> Self:
        if self.resume is not None:
            if not self.hold:
                raise ValueError("'resume' is for calls with 'hold'.")
            checked(self.resume)
        return self


class SubjectOut(BaseModel):
    id: str
    type: str
    roles: list[str]
    groups: list[str]
    tenant: str | None
    authenticated_by: str


class FindingOut(BaseModel):
    name: str
    score: Fraction
    count: int
    spans: list[tuple[int, int]]


class LanguageOut(BaseModel):
    code: str = Field(description="ISO 639-1, or `und`.")
    score: Fraction


class SignalsOut(BaseModel):
    findings: list[FindingOut]
    masked_text: str | None
    unknown: list[str]
    learning: list[str]
    text_chars: int
    language: LanguageOut


class CandidateOut(BaseModel):
    intent: str
    confidence: Fraction
    raw: float


class RuleOut(BaseModel):
    name: str
    params: dict[str, str]


class ClassificationOut(BaseModel):
    status: Literal["classified", "ambiguous", "out_of_scope", "undetermined", "unavailable", "skipped"]
    intent: str | None
    confidence: Fraction | None
    margin: Fraction | None
    scope: Fraction | None
    novelty: Fraction | None
    injection: Fraction | None
    threshold: Fraction | None
    candidates: list[CandidateOut]
    prediction_set: list[str]
    tier: str
    reason: str
    rule: RuleOut | None
    cached: bool
    model_digest: str
    calibration_digest: str


class RiskOut(BaseModel):
    level: Literal["low", "medium", "high", "critical"]
    score: Fraction
    contributions: dict[str, float]


class ReasonOut(BaseModel):
    code: str
    message: str


class ObligationOut(BaseModel):
    name: str
    params: dict[str, Any]


class VerdictOut(BaseModel):
    effect: Literal["allow", "deny", "review", "reroute"]
    reasons: list[ReasonOut]
    obligations: list[ObligationOut]
    engine: str
    revision: str
    digest: str
    opa_decision_id: str | None


class RouteOut(BaseModel):
    name: str
    destination: str
    why: str


class OutcomeOut(BaseModel):
    result: Literal["routed", "denied", "held", "abstained", "shed", "failed"]
    status: int
    reason: str
    headers: dict[str, str] | None = None


class RequestOut(BaseModel):
    id: str
    door: str
    method: str
    host: str
    path: str


class HeldQuestion(BaseModel):
    """What a reviewer asks: answered by `POST` to `answer_at` with `If-Match: if_match`. Without `answer_by` only `expires` counts."""

    number: int
    text: str
    answer_by: str | None
    answer_at: str
    if_match: str


class AnswerIn(Strict):
    """What is said to a reviewer's question."""

    text: str = Field(min_length=1, max_length=4000)


class HeldOut(BaseModel):
    """Where a held request stands. `released`: the asking service may do it now, once. `approvals` of the `quorum` that policy wants.
    `question`: what a reviewer asks the asking service, while that is open."""

    id: str
    state: str
    expires: str
    approvals: int
    quorum: int
    question: HeldQuestion | None


class DecisionOut(BaseModel):
    """A decision, version 1. `outcome` is null where the asking service may go ahead under the verdict's obligations."""

    version: Literal[1]
    id: str
    decided_at_ns: int
    request: RequestOut
    subject: SubjectOut
    signals: SignalsOut
    classification: ClassificationOut
    risk: RiskOut
    admission: VerdictOut
    verdict: VerdictOut
    route: RouteOut | None
    outcome: OutcomeOut | None
    stages_us: dict[str, float]
    config_digest: str
    catalog_digest: str
    trace_id: str | None
    problem: dict[str, Any] | None = Field(
        description="What the gateway would answer the caller (RFC 9457), with `outcome.status`; null where `outcome` is."
    )
    review: HeldOut | None = Field(description="Of a call with `hold` whose request is held: where that stands.")


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str | None = None
    decision_id: str | None = None
