"""Evidence as CloudEvents. Two extension attributes are ours: `lockgatedecision`, the decision under which something was done, and
`lockgatephase`, how far it got.
"""

from __future__ import annotations

from dataclasses import dataclass

from router.audit.records.sealing import as_text
from router.cloud_events import BATCH, STRUCTURED, CloudEventError, Headers, Told, read_events
from router.errors import RefusedError

__all__ = ["BATCH", "PHASES", "REPORTED", "STRUCTURED", "CloudEvent", "cloud_events"]

DECISION, PHASE = "lockgatedecision", "lockgatephase"
PHASES = ("started", "completed", "failed", "compensated")
REPORTED = "reported"  # the phase of an event that tells none
_OURS = frozenset({DECISION, PHASE})


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """`decision` is None when the event names none. `document` is the whole event as canonical JSON: equal events have equal documents, in
    whatever mode they were sent, as long as their extension attributes are strings."""

    source: str
    id: str
    type: str
    decision: str | None
    phase: str
    document: str


def cloud_events(headers: Headers, body: bytes) -> list[CloudEvent]:
    """At least one. Raises RefusedError: `evidence_media_type` (415), `evidence_invalid` (422)."""
    try:
        told = read_events(headers, body, _OURS)
        return [_evidence(each, "event" if len(told) == 1 else f"event {place}") for place, each in enumerate(told)]
    except CloudEventError as error:
        if error.media:
            raise RefusedError(str(error), "evidence_media_type", 415) from None
        raise RefusedError(str(error), "evidence_invalid", 422) from None


def _evidence(told: Told, where: str) -> CloudEvent:
    phase = told.get(PHASE, REPORTED)
    if phase != REPORTED and phase not in PHASES:
        raise CloudEventError(f"The {where}'s {PHASE} is none of {', '.join(PHASES)}.")
    return CloudEvent(told["source"], told["id"], told["type"], told.get(DECISION), phase, as_text(told))
