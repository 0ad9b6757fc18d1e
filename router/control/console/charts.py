"""Pictures that are made here, as SVG without styles of their own: the policy of these pages allows none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


GLOBALS: Mapping[str, Callable[..., Markup]] = {"bar": bar}
