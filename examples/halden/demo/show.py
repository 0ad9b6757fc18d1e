"""The demonstration's table: one row a request, as it happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

WIDTHS = (
    ("subject", 12),
    ("request", 46),
    ("intent", 20),
    ("conf", 5),
    ("tier", 8),
    ("risk", 8),
    ("verdict", 38),
    ("route", 13),
    ("http", 7),
    ("ms", 7),
)
EFFECTS = {"allow": "green", "deny": "red", "review": "yellow", "refused": "red"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a caller got, and what the trail says of it: `records` are the leaves of its decision, none where it was refused unjudged."""

    status: int
    code: str
    millis: float
    body: bytes
    records: tuple[dict[str, Any], ...] = ()

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
    console.print(Text("  ".join(f"{name:<{width}}" for name, width in WIDTHS), style="bold"), no_wrap=True, overflow="ignore", crop=False)


def row(console: Console, who: str, shown: str, seen: Seen, wrong: str | None) -> None:
    effect, reason = _verdict(seen)
    values = (
        who,
        shown.replace("\n", " "),
        _intent(seen),
        _confidence(seen),
        seen.of("classification", "tier") or "",
        seen.of("risk", "level") or "",
        f"{effect} {reason}",
        seen.of("route", "name") or "",
        str(seen.status) + (f" ×{seen.outcome['attempts']}" if seen.outcome.get("attempts", 0) > 1 else ""),
        f"{seen.millis:.1f}",
    )
    line = "  ".join(_cut(value, width) for value, (_, width) in zip(values, WIDTHS, strict=True))
    console.print(Text(line, style=EFFECTS.get(effect, "")), no_wrap=True, overflow="ignore", crop=False)
    if wrong is not None:
        console.print(Text(f"    not as expected: {wrong}", style="bold red"))


def _verdict(seen: Seen) -> tuple[str, str]:
    if not seen.decision:
        return "refused", seen.code
    reasons = seen.of("verdict", "reasons") or [seen.code]
    return seen.of("verdict", "effect"), reasons[0]


def _intent(seen: Seen) -> str:
    return seen.of("classification", "intent") or (seen.of("classification", "status") or "")


def _confidence(seen: Seen) -> str:
    confidence = seen.of("classification", "confidence")
    return f"{float(confidence):.2f}" if confidence is not None else ""


def _cut(value: str, width: int) -> str:
    return f"{value:<{width}}" if len(value) <= width else value[: width - 1] + "…"
