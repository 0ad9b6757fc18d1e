"""What was done under a decision, as CloudEvents 1.0."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lockgate.client.errors import EvidenceRefused
from lockgate.client.reading import MalformedError, document

BATCH = "application/cloudevents-batch+json"
MOST = 100
PHASES = ("started", "completed", "failed", "compensated")


@dataclass(frozen=True, slots=True)
class Event:
    """`source` and `id` together are its identity: sent once more, it is recorded once. `phase` is one of PHASES, or None. `attributes` are
    further CloudEvents attributes, such as `subject` and `time`."""

    source: str
    id: str
    type: str
    decision: str | None
    phase: str | None = None
    data: Any = field(default=None, repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)

    def document(self) -> dict[str, Any]:
        told = {"specversion": "1.0", "id": self.id, "source": self.source, "type": self.type, **self.attributes}
        named = {"lockgatedecision": self.decision, "lockgatephase": self.phase, "data": self.data}
        return {**told, **{name: value for name, value in named.items() if value is not None}}


@dataclass(frozen=True, slots=True)
class Receipt:
    """`record` is the event's place in the ledger; `reference` is `decision` where its id is one of this ledger."""

    source: str
    id: str
    record: int
    reference: str


def about(decision_id: str, source: str, phase: str, kind: str, event_id: str | None, data: Any) -> Event:
    """By default the identity says which decision and which phase, so that a repeat is one. Raises EvidenceRefused."""
    if phase not in PHASES:
        raise EvidenceRefused(f"'{phase}' is no phase; there are {', '.join(PHASES)}.")
    return Event(source, event_id or f"{decision_id}/{phase}", kind, decision_id, phase, data)


def batch(events: Sequence[Event]) -> bytes:
    """Raises EvidenceRefused."""
    if not 1 <= len(events) <= MOST:
        raise EvidenceRefused(f"A batch is 1 to {MOST} events.")
    try:
        return json.dumps([each.document() for each in events], allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EvidenceRefused(f"The evidence cannot be written as JSON: {error}.") from error


def receipts(body: bytes, events: Sequence[Event]) -> tuple[Receipt, ...]:
    """One for each event, in order. Raises MalformedError."""
    found = document(body).get("events")
    if not isinstance(found, list) or len(found) != len(events):
        raise MalformedError("it has not a receipt for each event")
    return tuple(_receipt(one) for one in found)


def _receipt(found: Any) -> Receipt:
    try:
        return Receipt(str(found["source"]), str(found["id"]), int(found["record"]), str(found["reference"]))
    except (TypeError, KeyError, ValueError) as error:
        raise MalformedError("a receipt lacks what it must say") from error
