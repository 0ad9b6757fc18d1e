"""The control API's bodies, version 1."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    code: str
    detail: str | None = None
    decision_id: str | None = None


class Health(BaseModel):
    status: Literal["ok"]


class ReadyCheck(BaseModel):
    name: str
    ok: bool
    detail: str = ""


class Readiness(BaseModel):
    """`warnings` stop nobody, and are to be looked at."""

    ready: bool
    checks: list[ReadyCheck]
    warnings: list[str] = []


class Records(BaseModel):
    """`next` is the cursor of the following page, null at the end; `complete_to` how many records of the ledger were taken into account."""

    records: list[dict[str, Any]]
    next: str | None
    complete_to: int | None


class Statistics(BaseModel):
    """`records` match; each group has its names, `count`, `share`, and percentiles of `confidence` and `duration` in seconds."""

    records: int
    complete_to: int | None
    groups: list[dict[str, Any]]


class Distribution(BaseModel):
    """Each group has its word and `counts`, one for each step of confidence."""

    records: int
    complete_to: int | None
    groups: list[dict[str, Any]]


class SavedQueries(BaseModel):
    queries: list[dict[str, Any]]


class EvidenceReceipt(BaseModel):
    """`record` is the event's place in the ledger. `reference` says what its decision id is: `decision` of one in this ledger, `unknown`
    here, `foreign` when no decision id has that form, or `none`; all but the first are orphans, and `decision_id` is null for the last
    two."""

    source: str
    id: str
    record: int
    decision_id: str | None
    reference: Literal["decision", "unknown", "foreign", "none"]


class Evidence(BaseModel):
    """In the order in which the events were sent."""

    events: list[EvidenceReceipt]


class Mismatch(BaseModel):
    """`kind` is a stable code, `query` the command that shows it in full."""

    kind: str
    record: int
    time: str
    decision_id: str
    message: str
    query: str


class Reconciliation(BaseModel):
    """A part of the whole: `next` goes on where it ends, also where nothing was found so far; null at the end."""

    found: list[Mismatch]
    next: str | None
    complete_to: int


class Reviews(BaseModel):
    reviews: list[dict[str, Any]]
    next: str | None


class Delivery(BaseModel):
    """What waits, is being sent or is dead has a row; every other state is told from the ledger, which does not know all that a row does.
    `status` is the target's; `tenant` is told of what has a row."""

    id: str
    state: Literal["waiting", "sending", "dead", "held", "delivered", "dropped", "denied", "uncertain"]
    route: str
    destination: str
    tenant: str | None
    due: Literal["dispatch", "hold"] | None
    attempts: int
    reason: str
    ordered: bool | None
    decided: str
    next: str | None
    until: str | None
    ended: str | None
    status: int | None


class Deliveries(BaseModel):
    deliveries: list[Delivery]
    next: str | None


class Standing(BaseModel):
    """`approvals` of the `quorum` that policy wants; `version` grows with every step."""

    id: str
    version: int = 0
    state: str
    created: str
    expires: str
    approvals: int
    quorum: int


class Approval(Body):
    """`content_digest` is the digest of the held request as the reviewer saw it: of its content, route, risk, evidence and policies."""

    content_digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    comment: Annotated[str, Field(max_length=2000)] = ""


class Misrouting(Body):
    """What a reviewer says of the classification besides: that it was wrong, and what would have been right."""

    reason: Literal["misrouted"] | None = Field(default=None, description="The classification was wrong.")
    intent: str | None = Field(
        default=None, max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$", description="The right intent; says that another one was wrong."
    )


class Rejection(Misrouting):
    comment: Annotated[str, Field(max_length=2000)] = ""


class Note(Body):
    comment: Annotated[str, Field(max_length=2000)] = ""


class Modification(Approval, Misrouting):
    """`changes`: by JSON pointer (RFC 6901) into the body, what is to stand there. `content_digest` is of what the reviewer saw; `becomes`,
    where it is given, the digest that `modify/check` answered: of anything else nothing happens."""

    changes: Annotated[dict[str, Any], Field(min_length=1, max_length=64)]
    becomes: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$")] = None


class Value(BaseModel):
    """`kind`: text, number, yes_or_no, list, object, or nothing for null."""

    pointer: str
    kind: str
    value: Any


class Values(BaseModel):
    """`more`: there are more than are shown."""

    id: str
    version: int
    content_digest: str
    values: list[Value]
    more: bool


class Changed(BaseModel):
    pointer: str
    before: Any
    after: Any


class Becomes(BaseModel):
    """`otherwise`: what policy asks for changes more than was asked for, such as by masking it. `state`: `approved` where no other
    approval would be needed."""

    content_digest: str
    changes: list[Changed]
    otherwise: bool
    state: str
    risk: str
    route: str
    destination: str
    reviewers: list[str]
    quorum: int


class Modified(Values):
    becomes: Becomes


class Rerouting(Approval, Misrouting):
    route: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]


class Question(Body):
    question: Annotated[str, Field(min_length=1, max_length=2000)]


class OpenQuestion(BaseModel):
    question: str | None
    respond_by: str | None


class Answer(Body):
    text: Annotated[str, Field(min_length=1, max_length=4000)]


Named = Annotated[str, Field(min_length=1, max_length=1024)]


class Erasure(Body):
    """`authority`: on whose word; `case`: where it is filed. Both may name people and are sealed under the key of who orders."""

    subject: Named
    authority: Named
    reason: Annotated[str, Field(max_length=64, description="A slug such as gdpr_art_17")]
    case: Annotated[str, Field(max_length=1024)] = ""


class NewHold(Body):
    on: Literal["subject", "decision", "intent"]
    target: Named
    case: Named
    authority: Annotated[str, Field(max_length=1024)] = ""


class Release(Body):
    case: Named
    authority: Annotated[str, Field(max_length=1024)] = ""


class Receipt(BaseModel):
    """What was done, as the ledger says it: the record, and its inclusion proof (leaf upwards) in a checkpoint signed for it."""

    record: int
    leaf: dict[str, Any]
    checkpoint: str | None
    inclusion: list[str]


class Hold(BaseModel):
    """`record` is the index of the record that added it; `target` a key's id, a decision's id or an intent's name."""

    record: int
    on: str
    target: str
    since: str


class Holds(BaseModel):
    holds: list[Hold]


class NewPruning(Body):
    authority: Annotated[str, Field(max_length=1024)] = ""


class PrunedClass(BaseModel):
    """`older_than` is the index before which records are old enough; `held` parts were left because of a hold."""

    name: str
    keep: str
    older_than: int
    parts: int
    bytes: int
    held: int


class Jump(BaseModel):
    """The clock jumped here by so many days, of which 31 are counted."""

    record: int
    days: int


class Pruned(BaseModel):
    """`records` say what was removed, under a signed checkpoint; `more` that there is more to remove."""

    classes: list[PrunedClass]
    records: list[int]
    jumps: list[Jump]
    more: bool


class NewKey(Body):
    name: str
    subject: str
    type: Literal["user", "service"] = "user"
    roles: list[str] = []
    groups: list[str] = []
    tenant: str | None = None
    scopes: list[str]
    expires: AwareDatetime | None = None


class Key(BaseModel):
    id: str
    name: str
    subject: str
    type: str
    roles: list[str]
    groups: list[str]
    tenant: str | None
    scopes: list[str]
    created: AwareDatetime
    created_by: str
    expires: AwareDatetime | None
    revoked: AwareDatetime | None


class CreatedKey(Key):
    """`key` is shown this once."""

    key: str


class Keys(BaseModel):
    keys: list[Key]


class Comment(Body):
    comment: str = Field(default="", max_length=2000, description="Why; kept under the key of who says it.")


class RolloutApproval(Comment):
    digest: str = Field(description="`digest` of the rollout as it was looked at.", pattern=r"^[0-9a-f]{64}$")


class GoingBack(Comment):
    to: str = Field(
        min_length=1,
        max_length=128,
        description="A version, by the beginning of its archive's or its policies' digest or by its revision, or `workspace`.",
    )


class Rollouts(BaseModel):
    rollouts: list[dict[str, Any]]


class Versions(BaseModel):
    """`override` is what is in force over the workspace's own policies; null where nothing is."""

    versions: list[dict[str, Any]]
    override: dict[str, Any] | None


class Identity(BaseModel):
    """`csrf` goes into the header field `x-lockgate-csrf`, or the form field `csrf`, of what a session is to change; null for keys."""

    subject: str
    tenant: str | None
    roles: list[str]
    permissions: list[str]
    session: str | None
    csrf: str | None


class SessionView(BaseModel):
    """`issuer` is null for who signed in by a link of this machine's."""

    id: str
    subject: str
    tenant: str | None
    roles: list[str]
    issuer: str | None
    created: AwareDatetime
    used: AwareDatetime
    expires: AwareDatetime


class SessionsView(BaseModel):
    sessions: list[SessionView]


class OwnSession(BaseModel):
    """`network` and `browser` are no more exact than it takes to tell sessions apart; `current` is the one that asks."""

    id: str
    current: bool
    network: str
    browser: str
    methods: list[str]
    created: AwareDatetime
    used: AwareDatetime
    expires: AwareDatetime


class OwnSessions(BaseModel):
    sessions: list[OwnSession]


class EndedSessions(BaseModel):
    ended: list[str]


class Opinion(Body):
    """What somebody who looked at a decision says of it. `intent` is the right one, where the verdict is `wrong` and it is known."""

    verdict: Literal["right", "wrong", "out_of_scope"]
    intent: str | None = Field(default=None, max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    reason: Literal["looked_at", "misrouted", "rerouted", "modified"] = Field(
        default="looked_at", description="Why it is said: by itself, or because a held request was rejected, sent elsewhere or changed."
    )
    comment: str = Field(default="", max_length=2000, description="Kept under the key of who says it.")


class Said(BaseModel):
    """An opinion as it is kept. `by` is the key of who said it; `own` that this is the one who asked, whose word teaches nothing;
    `review` the held request by a decision about which it was said."""

    decision_id: str
    verdict: str
    intent: str | None
    reason: str
    classified: str | None
    status: str
    by: str
    own: bool
    review: str | None
    at: str
    version: int


class Opinions(BaseModel):
    """`disagreement`: they do not all say the same, and nothing is learnt from them."""

    decision_id: str
    opinions: list[Said]
    disagreement: bool


class Feedback(BaseModel):
    feedback: list[Said]
    next: str | None


class NewProposal(Body):
    """`new_examples` are made of what people said, `new_intent` of the decisions that are named; the others change one intent. A new intent
    without `intent` or `description` gets plain ones, of words that several people used."""

    type: Literal["new_examples", "new_intent", "threshold", "route"] = "new_examples"
    intent: str | None = Field(default=None, max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    route: str | None = Field(default=None, max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    description: str | None = Field(default=None, min_length=1, max_length=2000)
    owner: str | None = Field(default=None, max_length=256)
    risk: Literal["low", "medium", "high", "critical"] = "low"
    decisions: list[str] = Field(default=[], max_length=1000)
    comment: str = Field(default="", max_length=2000, description="Kept under the key of who proposes it.")


class NewWording(Body):
    """Of a proposed intent; what is left out stays. Kept in the clear: say nothing of anybody in it."""

    name: str | None = Field(default=None, max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    description: str | None = Field(default=None, min_length=1, max_length=2000)
    rationale: str | None = Field(default=None, max_length=2000)


class ProposalApproval(Comment):
    """`override`: why, although the evaluation found it worse than the configuration lets it be; kept on record."""

    binding: str = Field(pattern=r"^[0-9a-f]{64}$", description="`evaluation.binding` of the proposal as it was looked at.")
    override: str = Field(default="", max_length=2000)


class Proposals(BaseModel):
    proposals: list[dict[str, Any]]
    next: str | None


class Topic(BaseModel):
    """Decisions without an intent that are about the same. `terms` are words that several people used; `name` is suggested of them."""

    name: str
    terms: list[str]
    texts: int
    people: int
    decisions: list[str]


class Topics(BaseModel):
    """`texts` were looked at."""

    topics: list[Topic]
    texts: int


class Considered(BaseModel):
    """Another route that was looked at: `why` it is suggested, or `why_not`, and what it would do."""

    why: str | None
    why_not: str | None
    effect: dict[str, Any]


class Suggestions(BaseModel):
    """`suggested` are new proposals, which somebody has to adopt."""

    suggested: list[dict[str, Any]]
    considered: list[Considered]


class Patch(BaseModel):
    """A unified diff, for `git apply`."""

    id: str
    patch: str
