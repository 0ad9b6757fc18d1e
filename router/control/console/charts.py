"""Pictures that are made here, as SVG without styles of their own: the policy of these pages allows none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup


def bar(value: Any, tone: str = "", mark: Any = None) -> Markup:
    """A share of 0..1 as a bar, with a mark such as a threshold. The number stands beside it, so readers of screens lose nothing."""
    width = max(0.0, min(1.0, float(value or 0))) * 100
    marked = (
        Markup("")
        if mark in (None, "")
        else Markup('<rect class="mark" x="{:.2f}" y="0" width="1.4" height="8"/>').format(min(98.6, float(mark) * 100))
    )
    return Markup(
        '<svg class="bar {}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="rail" width="100" height="8"/>'
        '<rect class="fill" width="{:.2f}" height="8"/>{}</svg>'
    ).format(tone, width, marked)


def strip(parts: Sequence[tuple[str, int]]) -> Markup:
    """Shares of a whole, one after the other. The table beside it has the numbers."""
    total, at, drawn = sum(part for _, part in parts) or 1, 0.0, []
    for place, (name, part) in enumerate(parts):
        width = part / total * 1000
        piece = Markup('<rect class="part p{}" x="{:.2f}" width="{:.2f}" height="10"><title>{}</title></rect>')
        drawn.append(piece.format(place % 6, at, max(0.0, width - 2), name))
        at += width
    return Markup('<svg class="strip" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">{}</svg>').format(
        Markup("").join(drawn)
    )


GLOBALS: Mapping[str, Callable[..., Markup]] = {"bar": bar, "strip": strip}
