"""Records as lines of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]
UNDER_WAY = "under way"


@dataclass(frozen=True, slots=True)
class Row:
    """`what` is the record in a word: an intent, or the event of what followed. `personal` holds opened or masked fields."""

    index: int
    time: str
    kind: str
    decision: str | None
    what: str
    door: str
    tier: str | None
    confidence: float | None
    risk: str | None
    effect: str | None
    reason: str
    route: str | None
    result: str | None
    status: int | None
    duration_ns: int | None
    tenant: str | None
    personal: Json

    @property
    def under_way(self) -> bool:
        return self.result == UNDER_WAY


def row(item: Json) -> Row:
    leaf, seen = item["leaf"], item["columns"]
    kind = seen["kind"]
    classified = leaf.get("classification") or {}
    return Row(
        index=item["index"],
        time=leaf.get("time") or seen["time"],
        kind=kind,
        decision=seen["decision_id"],
        what=_what(kind, leaf, seen, classified),
        door=(leaf.get("request") or {}).get("door") or "",
        tier=classified.get("tier"),
        confidence=seen["confidence"],
        risk=seen["risk"],
        effect=seen["effect"],
        reason=_reason(leaf),
        route=seen["route"],
        result=(seen["result"] or UNDER_WAY) if kind == "decision" else seen["result"],
        status=seen["status"],
        duration_ns=seen["duration"],
        tenant=seen["tenant"],
        personal=item.get("personal") or {},
    )


def _what(kind: str, leaf: Json, seen: Json, classified: Json) -> str:
    if kind not in ("decision", "outcome"):
        return str(seen["event"] or kind)
    status = classified.get("status")
    if status in (None, "skipped", "classified"):
        return str(seen["intent"] or (leaf.get("request") or {}).get("method") or kind)
    return str(status)


def _reason(leaf: Json) -> str:
    """The code that explains the end of it best: an abstention's own, else the verdict's."""
    verdict, admission = leaf.get("verdict") or {}, leaf.get("admission") or {}
    classified, outcome = leaf.get("classification") or {}, leaf.get("outcome") or {}
    told = (outcome.get("reason"), *verdict.get("reasons", ())[:1], classified.get("reason"), *admission.get("reasons", ())[:1])
    return next((str(each) for each in told if each), "")
