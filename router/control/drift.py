"""What is asked for and how it is understood, in a time beside an earlier one, and what labelled samples of both say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import AwareDatetime, BaseModel

from router.adaptation.drift import Profile, compared, profile
from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.permissions import Permission
from router.control.services import AuditFilters, ControlServices
from router.control.times import nanoseconds
from router.errors import RefusedError
from router.settings import span as seconds_of
from router.times import instant

router = guarded_router()
NS, BINS = 1_000_000_000, 20
LONGEST_S = 366 * 86_400
Basis = Literal["random", "weighted"]
Length = Annotated[str, Query(max_length=16, description="How long the time is that is looked at: `24h`")]
Reference = Annotated[str, Query(max_length=16, description="How long the time is that it is compared with: `7d`")]
Until = Annotated[AwareDatetime | None, Query(description="When it ends; now without")]
ReferenceUntil = Annotated[AwareDatetime | None, Query(description="When that one ends; where the other begins without")]
Samples = Annotated[
    Basis,
    Query(description="Which labelled samples count: `random` ones alone, or unsure ones as well, each by the inverse of its probability"),
]


class Window(BaseModel):
    """`since` is included, `until` is not."""

    since: str
    until: str


class Row(BaseModel):
    """Counts and shares of the present time and of the earlier one. `name` is null where there is none."""

    name: str | None
    counts: list[int]
    shares: list[float]


class Mix(BaseModel):
    """`distance` is total variation, `by_chance` what it is about among so many where nothing moved. `moved`: far enough for the alert."""

    distance: float
    by_chance: float
    moved: bool
    intents: list[Row]


class Confidences(BaseModel):
    """`distance` is the largest one of the cumulated shares, `counts` are those of 20 equal steps from 0 to 1, now and before."""

    distance: float
    by_chance: float
    moved: bool
    counts: list[list[int]]


class Shares(BaseModel):
    """Now and before. `moved`: where an alert would say so; null where there is none."""

    shares: list[float]
    moved: bool | None = None


class Figure(BaseModel):
    """With the ends of its 95 % interval; `count` samples tell it."""

    value: float
    low: float
    high: float
    count: int


class ReliabilityBin(BaseModel):
    low: float
    high: float
    confidence: float
    right: Figure


class CalibrationFigures(BaseModel):
    """`gap`: mean confidence minus the share that is right. `ece_by_chance`: about what `ece` would be of so few if nothing were amiss."""

    confidence: float
    gap: Figure
    ece: float
    ece_by_chance: float
    bins: list[ReliabilityBin]


class IntentQuality(BaseModel):
    intent: str
    labelled: int
    right: Figure | None
    calibration: CalibrationFigures | None


class VersionQuality(BaseModel):
    model_digest: str
    catalog_digest: str
    labelled: int
    right: Figure | None
    calibration: CalibrationFigures | None

    model_config = {"protected_namespaces": ()}


class QualityFigures(BaseModel):
    """Of labelled samples. `accuracy`: the share that ended as it should; `accepted_accuracy`: of those with an intent. Null where fewer
    than `least` were labelled. `sampled` = `counted` + `waiting` + `unsure` + `gone` + `left_out`. `more`: these are only the newest."""

    basis: Basis
    least: int
    sampled: int
    counted: int
    waiting: int
    unsure: int
    gone: int
    left_out: int
    differing: int
    full_days: int
    more: bool
    accuracy: Figure | None
    accepted: int
    accepted_accuracy: Figure | None
    calibration: CalibrationFigures | None
    intents: list[IntentQuality]
    versions: list[VersionQuality]


class Drift(BaseModel):
    """`abstained` without an intent, for whatever reason; `out_of_scope` those of them that were about nothing. `quality` is null where
    nothing is learnt here. Of each pair the present comes first."""

    present: Window
    reference: Window
    decisions: list[int]
    mix: Mix
    confidence: Confidences
    abstained: Shares
    out_of_scope: Shares
    statuses: list[Row]
    quality: list[QualityFigures] | None


@dataclass(frozen=True, slots=True)
class Times:
    """Unix nanoseconds; the end is excluded."""

    since_ns: int
    until_ns: int

    @property
    def window(self) -> Window:
        return Window(since=instant(self.since_ns), until=instant(self.until_ns))


@router.get("/v1/drift", **needs(Permission.AUDIT_READ))
async def drift(
    services: Services,
    caller: Caller,
    span: Length = "24h",
    reference: Reference = "7d",
    until: Until = None,
    reference_until: ReferenceUntil = None,
    samples: Samples = "random",
) -> Drift:
    """Intents, confidences and what found no intent, in a time beside an earlier one, exact, by the measures of the alerts; and how often
    people who labelled samples of both found the classifier right. Each count is a reading and on record."""
    present, before = windows(span, reference, until, reference_until)
    return Drift.model_validate(await drifted(services, present, before, samples, caller.id))


def windows(span: str, reference: str, until: datetime | None, reference_until: datetime | None) -> tuple[Times, Times]:
    """Raises RefusedError."""
    end = nanoseconds(until or datetime.now(UTC)) or 0
    present = Times(end - _length(span, "span"), end)
    before = present.since_ns if reference_until is None else nanoseconds(reference_until) or 0
    if before > present.since_ns:
        raise RefusedError("The time that it is compared with has to end before the other begins.", "request_invalid", 422)
    found = present, Times(before - _length(reference, "reference"), before)
    if found[1].since_ns < 0:
        raise RefusedError("That was before any time that can be asked for.", "request_invalid", 422)
    return found


async def drifted(services: ControlServices, present: Times, before: Times, basis: str, reader: str) -> dict[str, Any]:
    profiles = [await _profile(services, each, reader) for each in (present, before)]
    quality = services.quality
    told = None if quality is None else [await quality.measured(each.since_ns, each.until_ns, basis) for each in (present, before)]
    return {"present": present.window, "reference": before.window, **compared(*profiles), "quality": told}


async def _profile(services: ControlServices, times: Times, reader: str) -> Profile:
    asked = AuditFilters(since_ns=times.since_ns, until_ns=times.until_ns, kind="decision")
    counts = await services.audit.statistics(asked, ("intent", "classification"), None, reader)
    confidences = await services.audit.distribution(asked, "classification", BINS, reader)
    return profile(counts["groups"], confidences["groups"], BINS)


def _length(text: str, name: str) -> int:
    try:
        seconds = seconds_of(text)
    except ValueError as error:
        raise RefusedError(f"The {name} {error}.", "request_invalid", 422) from None
    if seconds > LONGEST_S:
        raise RefusedError(f"The {name} is a year at most.", "request_invalid", 422)
    return int(seconds * NS)
