"""The demonstration's table: one row a request, as it happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

COLUMNS = {
    "subject": 11,
    "request": 20,
    "intent": 18,
    "conf": 4,
    "tier": 7,
    "risk": 8,
    "verdict": 27,
    "route": 12,
    "http": 6,
    "ms": 5,
}
WIDE = sum(COLUMNS.values()) + len(COLUMNS) - 1
MOST_FOR_REQUEST = 60
NARROW = ("intent", "conf", "risk", "verdict", "http", "ms")  # the second of two lines where the terminal is narrow
EFFECTS = {"allow": "green", "deny": "red", "review": "yellow", "refused": "red", "asks": "cyan"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a caller got, and what the trail says of it: `records` are the leaves of its decision, none where it was refused unjudged.
    `then` is what came of it later, and `by` who said so."""

    status: int
    code: str
    millis: float
    body: bytes
    records: tuple[dict[str, Any], ...] = ()
    then: str = ""
    by: str = ""
    by_broker: bool = False

    @property
    def decision(self) -> dict[str, Any]:
        return next((leaf for leaf in self.records if leaf["schema"] == "lockgate.decision.v1"), {})

    @property
    def outcome(self) -> dict[str, Any]:
        own = self.decision.get("outcome") or {}
        return next((leaf["outcome"] for leaf in reversed(self.records) if leaf["schema"] == "lockgate.outcome.v1"), own)

    def of(self, part: str, name: str) -> Any:
        return (self.decision.get(part) or {}).get(name)


def header(console: Console) -> None:
    _print(console, {name: name for name in COLUMNS}, "bold")


def row(console: Console, who: str, shown: str, seen: Seen, wrong: str | None) -> None:
    effect, reason = _verdict(seen)
    again = seen.outcome.get("attempts", 0)
    values = {
        "subject": who,
        "request": shown.replace("\n", " "),
        "intent": _intent(seen),
        "conf": _confidence(seen),
        "tier": seen.of("classification", "tier") or "",
        "risk": seen.of("risk", "level") or "",
        "verdict": f"{effect} {reason}",
        "route": seen.of("route", "name") or "",
        "http": ("nats" if seen.by_broker else f"{seen.status}") + (f" ×{again}" if again > 1 else ""),
        "ms": f"{seen.millis:.1f}",
    }
    _print(console, values, EFFECTS.get(effect, ""))
    if seen.then:
        console.print(Text(f"{'':<{COLUMNS['subject']}} └ {_later(seen)}", "dim"), soft_wrap=True)
    if wrong is not None:
        console.print(Text(f"    not as expected: {wrong}", style="bold red"))


def _print(console: Console, values: dict[str, str], style: str) -> None:
    """One line where the terminal is wide enough for it, else two."""
    room = console.width - WIDE
    if room >= 0:
        widths = {**COLUMNS, "request": COLUMNS["request"] + min(room, MOST_FOR_REQUEST - COLUMNS["request"])}
        console.print(Text(_line(values, widths), style), soft_wrap=True)
        return
    request = max(20, console.width - COLUMNS["subject"] - 1)
    console.print(Text(_line(values, {"subject": COLUMNS["subject"], "request": request}), style), soft_wrap=True)
    console.print(Text("  " + _line(values, {name: COLUMNS[name] for name in NARROW}), "dim"), soft_wrap=True)


def _line(values: dict[str, str], widths: dict[str, int]) -> str:
    return " ".join(_cut(values[name], width) for name, width in widths.items())


def _later(seen: Seen) -> str:
    """How it went on, and where that is written."""
    if seen.by:
        return f"{seen.then} at {seen.outcome.get('upstream') or '?'}; evidence of {seen.by} under {seen.decision['id']}"
    if seen.then == "arrived":
        return f"arrived at {seen.outcome.get('upstream') or '?'}"
    return "answered with what the first one got; nothing was sent" if seen.then == "replayed" else seen.then


def _verdict(seen: Seen) -> tuple[str, str]:
    if not seen.decision:
        return "refused", seen.code
    if seen.outcome.get("result") == "abstained":
        return "asks", f"back: {seen.outcome['reason']}"
    reasons = seen.of("verdict", "reasons") or [seen.code]
    return seen.of("verdict", "effect"), reasons[0]


def _intent(seen: Seen) -> str:
    return seen.of("classification", "intent") or (seen.of("classification", "status") or "")


def _confidence(seen: Seen) -> str:
    confidence = seen.of("classification", "confidence")
    return f"{float(confidence):.2f}" if confidence is not None else ""


def _cut(value: str, width: int) -> str:
    return f"{value:<{width}}" if len(value) <= width else value[: width - 1] + "…"
