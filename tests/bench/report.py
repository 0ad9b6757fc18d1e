"""What was measured: rows for people, JSON for machines."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """`most` is the target: the value may not exceed it. `noise` is the half-range of the middle of the repetitions."""

    name: str
    value: float
    unit: str
    most: float | None = None
    noise: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        return None if self.most is None else self.value <= self.most


@dataclass(slots=True)
class Report:
    console: Console = field(default_factory=lambda: Console(width=150))
    sections: dict[str, list[Figure]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def say(self, text: str) -> None:
        self.console.print(text, style="dim", highlight=False)

    def section(self, title: str, figures: Sequence[Figure], note: str = "") -> None:
        self.sections.setdefault(title, []).extend(figures)
        table = Table(title=title, title_justify="left", title_style="bold", caption=note or None, caption_justify="left")
        for heading, justify in (("", "left"), ("value", "right"), ("± noise", "right"), ("target", "right"), ("", "left"), ("", "left")):
            table.add_column(heading, justify=justify)  # type: ignore[arg-type]
        for each in figures:
            table.add_row(each.name, _shown(each.value, each.unit), _noise(each), _target(each), _mark(each), each.note)
        self.console.print(table, highlight=False)

    def write(self, path: Path) -> None:
        sections = {
            title: [
                {"name": each.name, "value": each.value, "unit": each.unit, "target": each.most, "noise": each.noise, "met": each.met}
                for each in figures
            ]
            for title, figures in self.sections.items()
        }
        path.write_text(json.dumps({"facts": self.facts, "sections": sections}, indent=2) + "\n")


def _shown(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}"


def _noise(figure: Figure) -> str:
    return "" if figure.noise is None else _shown(figure.noise, "")


def _target(figure: Figure) -> str:
    return "" if figure.most is None else f"≤ {_shown(figure.most, figure.unit)}"


def _mark(figure: Figure) -> str:
    return "" if figure.met is None else "[green]met[/]" if figure.met else "[red]missed[/]"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> float:
    """Half of the distance between the quartiles."""
    if len(values) < 3:
        return (max(values) - min(values)) / 2
    low, _, high = statistics.quantiles(values, n=4)
    return (high - low) / 2


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
