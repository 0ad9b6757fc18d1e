from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, Field

from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.models import Body
from router.control.parameters import Cursor, Identifier, Limit
from router.control.permissions import Permission
from router.control.services import ControlServices, Labels
from router.control.times import nanoseconds
from router.errors import RefusedError

router = guarded_router()


class Label(Body):
    """An intent of the catalog, `out_of_scope` where it is about none, or `unsure`."""

    label: str = Field(max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$")


class KnownLabel(Body):
    """An intent of the catalog, or `out_of_scope`."""

    decision_id: str = Field(max_length=64, pattern="^[A-Za-z0-9_-]+$")
    label: str = Field(max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$")


class NamedLabel(BaseModel):
    """`state` is `known` or `withdrawn`, `by` the key of who said so."""

    decision_id: str
    state: str
    label: str | None
    by: str
    at: str


class NamedLabels(BaseModel):
    known: list[NamedLabel]
    next: str | None


class ReviewerFigure(BaseModel):
    """Told of `of` cases, with a 95 % interval; null where these are too few, or where it is not defined."""

    of: int
    value: float | None
    low: float | None
    high: float | None


class ReviewerRow(BaseModel):
    """`agreement` with others who labelled the same texts, `kappa` beyond chance (Cohen's); `known_right` of texts whose label was known.
    Times from the claim to the answer."""

    reviewer: str
    labelled: int
    unsure: ReviewerFigure
    agreement: ReviewerFigure
    kappa: ReviewerFigure
    known_right: ReviewerFigure
    median_s: float | None
    p90_s: float | None
    too_quick: ReviewerFigure


class DecidingRow(BaseModel):
    """Of held requests: `agreement` with others who decided about the same content, `claimed`: how many decisions followed a claim, from
    which times are."""

    reviewer: str
    decided: int
    rejected: ReviewerFigure
    agreement: ReviewerFigure
    claimed: int
    median_s: float | None
    p90_s: float | None


class Reviewers(BaseModel):
    """Of fewer than `least` cases nothing is said; quicker than `quick_s` is too quick. `reviewers` are of labels, `deciding` of held
    requests."""

    since: str
    until: str
    least: int
    quick_s: float
    reviewers: list[ReviewerRow]
    deciding: list[DecidingRow]


class ToLabel(BaseModel):
    """`mine`: whether the caller has claimed it."""

    id: str
    mine: bool


class LabelsWaiting(BaseModel):
    labels: list[ToLabel]
    next: str | None


class LabelIntent(BaseModel):
    name: str
    description: str


class ClaimedLabel(BaseModel):
    """Nothing of what was decided: who labels must not be led. `text` is masked."""

    id: str
    text: str
    intents: list[LabelIntent]
    until: str


class LabelClaim(BaseModel):
    claimed: ClaimedLabel | None


class Labelled(BaseModel):
    """`label` is null for one that was skipped."""

    id: str
    label: str | None


@router.get("/v1/labels", **needs(Permission.LABELS_WRITE))
async def waiting(services: Services, caller: Caller, cursor: Cursor = None, limit: Limit = 100) -> LabelsWaiting:
    """Sampled decisions that the caller may label, oldest first; without their texts."""
    page = await labels_of(services).list(caller.subject, cursor, limit)
    return LabelsWaiting.model_validate({"labels": list(page.items), "next": page.next})


@router.post("/v1/labels/known", **needs(Permission.LABELS_SEED))
async def name(known: KnownLabel, services: Services, caller: Caller) -> NamedLabel:
    """Names what a decision is about, so that its text can be given to people whose answer is then checked by it. On record when it is
    answered; the same once more changes nothing."""
    return NamedLabel.model_validate(await labels_of(services).name(known.decision_id, known.label, caller.subject))


@router.get("/v1/labels/known", **needs(Permission.LABELS_SEED))
async def named(services: Services, cursor: Cursor = None, limit: Limit = 100) -> NamedLabels:
    """What was named or withdrawn, oldest first. What people agreed on is known besides."""
    page = await labels_of(services).named(cursor, limit)
    return NamedLabels.model_validate({"known": list(page.items), "next": page.next})


@router.delete("/v1/labels/known/{decision_id}", **needs(Permission.LABELS_SEED))
async def withdraw(decision_id: Identifier, services: Services, caller: Caller) -> NamedLabel:
    """What it is about is not known any more, whether a lead named it or people agreed: it is not given to anybody anew."""
    return NamedLabel.model_validate(await labels_of(services).withdraw(decision_id, caller.subject))


@router.get("/v1/labels/reviewers", **needs(Permission.REVIEWERS_READ))
async def reviewers(
    services: Services, caller: Caller, since: AwareDatetime | None = None, until: AwareDatetime | None = None
) -> Reviewers:
    """How people labelled, and decided about held requests, each by the key that stands for them, from `since` on and before
    `until`: the last 30 days unless told otherwise. That somebody looked is on record."""
    found = await labels_of(services).reviewers(nanoseconds(since), nanoseconds(until), caller.subject)
    return Reviewers.model_validate(found)


@router.get("/v1/labels/sampled", **needs(Permission.PROPOSALS_READ))
async def sampled(services: Services) -> dict[str, int]:
    """How many decisions were sampled, and how many that should have been were not, by reason."""
    return dict(await labels_of(services).sampled())


@router.post("/v1/labels/claim", **needs(Permission.LABELS_WRITE))
async def claim(services: Services, caller: Caller) -> LabelClaim:
    """The next text for the caller, who has some time for it; null where there is none. That it was opened is on record. The same again
    while it is the caller's."""
    return LabelClaim.model_validate({"claimed": await labels_of(services).claim(caller.subject)})


@router.post("/v1/labels/{task_id}/answer", **needs(Permission.LABELS_WRITE))
async def answer(task_id: Identifier, said: Label, services: Services, caller: Caller) -> Labelled:
    """Says what a claimed text is about. Durable and in the audit trail when it is answered."""
    return Labelled.model_validate(await labels_of(services).answer(task_id, said.label, caller.subject))


@router.post("/v1/labels/{task_id}/skip", **needs(Permission.LABELS_WRITE))
async def skip(task_id: Identifier, services: Services, caller: Caller) -> Labelled:
    """Leaves a claimed text to others."""
    return Labelled.model_validate(await labels_of(services).skip(task_id, caller.subject))


def labels_of(services: ControlServices) -> Labels:
    if services.labels is None:
        raise RefusedError("The configuration has no 'learning': nothing is sampled here.", "learning_off", 404)
    return services.labels
