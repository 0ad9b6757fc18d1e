"""The section of the page *Health* that says whether the objectives are met: what was found last, in words and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from router.control.guarded import Principal
from router.control.objectives import last_look
from router.control.permissions import Permission
from router.control.services import ControlServices, Json
from router.telemetry.objectives.judging import BROKEN, SHOWN, WORDS, State, long_name, percent
from router.telemetry.objectives.rules import PERIOD_S

TITLES: Mapping[str, str] = {
    "judged": "Requests judged",
    "decisions": "Decisions in time",
    "audit_lag": "Records kept up",
    "policy_age": "Policies confirmed",
    "abstention": "Requests understood",
}
TONES: Mapping[str, str] = {"met": "good", "at_risk": "wait", "burning_fast": "bad", "missed": "bad", "no_data": "calm"}
WORST = (*BROKEN, State.AT_RISK)
TALLEST = 2.0
"""Burn rate that fills the picture; what is more is as tall."""


def objectives_of(services: ControlServices, caller: Principal) -> Mapping[str, Any] | None:
    """None for whoever may not see figures, and where there are none."""
    found = last_look(services) if Permission.METRICS_READ in caller.permissions else None
    if found is None:
        return None
    rows = [_row(each, found.get("runbooks")) for each in found["objectives"]]
    return {"at": found["at"], "rows": rows, "summary": _summary(rows)}


def _summary(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """In a few words what is worst, and its tone."""
    for state in WORST:
        if count := sum(row["key"] == state for row in rows):
            return f"{count} of {len(rows)} {WORDS[state]}", TONES[state]
    known = [row for row in rows if row["key"] != "no_data"]
    if len(known) == len(rows):
        return ("All met", "good") if rows else ("", "")
    return f"{len(known)} of {len(rows)} met, the others without enough data", "good" if known else ""


def _row(found: Json, runbooks: str | None) -> dict[str, Any]:
    left = found["budget_left"]
    return {
        "name": found["name"],
        "title": TITLES[found["name"]],
        "key": found["state"],
        "state": WORDS[found["state"]],
        "tone": TONES[found["state"]],
        "sentence": found["sentence"],
        "said": found["said"],
        "measured": None if found["measured"] is None else percent(found["measured"]),
        "target": None if found["target"] is None else percent(found["target"]),
        "left": left,
        "left_said": None if left is None else _left(left),
        "windows": [_window(each) for each in found["windows"] if each["window"] in SHOWN],
        "burns": found["target"] is not None,
        "trend": [_height(each, found["target"]) for each in found["trend"]],
        "since": found["since"],
        "ledger": found["source"] == "ledger",
        "runbooks": [{"name": name, "url": f"{runbooks}#{name.lower()}" if runbooks else None} for name in found["alerts"]],
        "whole": next((each["whole"] for each in found["windows"] if each["seconds"] == PERIOD_S), False),
    }


def _window(found: Json) -> dict[str, Any]:
    rate = found["burn_rate"]
    good = "–" if found["good"] is None else percent(found["good"])
    return {**found, "length": long_name(found["window"]), "good": good, "pace": "–" if rate is None else f"{rate:.1f} ×"}


def _left(left: float) -> str:
    return percent(left) if left > 0 else "none; overspent" if left < 0 else "none"


def _height(step: Json, target: float | None) -> float | None:
    """0..1 for the picture; None where there was nothing."""
    if not step["total"]:
        return None
    share = step["bad"] / step["total"]
    return float(min(1.0, share if target is None else share / (1 - target) / TALLEST))
