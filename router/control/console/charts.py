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


def spark(name: str, heights: Sequence[float | None], tone: str = "", marked: bool = False) -> Markup:
    """Steps of time with heights of 0..1, the oldest first; none where there was nothing. What they say stands beside it, as a table."""
    marks = [Markup('<line class="grid" x1="0" y1="20" x2="100" y2="20"/>') if marked else Markup("")]
    step = 100 / max(1, len(heights))
    for place, height in enumerate(heights):
        if height is not None:
            tall = max(1.5, 40 * min(1.0, height))
            piece = Markup('<rect class="{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>')
            marks.append(piece.format("fill" if height else "rail", place * step, 40 - tall, step * 0.7, tall))
    known, worst = [height for height in heights if height is not None], max((height or 0 for height in heights), default=0)
    told = f"{len(known)} of {len(heights)} half hours had something" + (", none of it bad" if known and not worst else "")
    return Markup('<svg class="spark {}" viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label="{}: {}">{}</svg>').format(
        tone, name, told, Markup("").join(marks)
    )


WIDE, HIGH, LEFT, UNDER = 640, 200, 44, 24


def _frame(name: str, told: str, marks: Markup) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}: {}">{}</svg>').format(WIDE, HIGH, name, told, marks)


def _text(x: float, y: float, text: str, anchor: str = "start") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)


def _scale(most: float) -> Markup:
    """The axes of counts: from nothing at the bottom to the most at the top."""
    bottom = HIGH - UNDER
    return Markup("").join(
        [_line("grid", LEFT, 8, WIDE, 8), _line("axis", LEFT, bottom, WIDE, bottom), _text(LEFT - 6, 12, f"{most:,.0f}", "end"),
         _text(LEFT - 6, bottom + 4, "0", "end")]
    )  # fmt: skip


def histogram(name: str, counts: Sequence[int]) -> Markup:
    """Counts in equal steps from 0 to 1."""
    most, bottom, step = max(counts, default=0) or 1, HIGH - UNDER, (WIDE - LEFT) / max(1, len(counts))
    bars = [_scale(most)]
    for place, count in enumerate(counts):
        height = count / most * (bottom - 8)
        piece = Markup(
            '<rect class="bar-part" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{:.2f}–{:.2f}: {}</title></rect>'
        )
        low, high = place / len(counts), (place + 1) / len(counts)
        bars.append(piece.format(LEFT + place * step + 1, bottom - height, step - 2, height, low, high, count))
    bars += [
        _text(LEFT + (WIDE - LEFT) * part, HIGH - 6, f"{part:g}", anchor) for part, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    ]
    return _frame(name, f"{sum(counts)} decisions, by confidence from 0 to 1", Markup("").join(bars))


def stacked(name: str, buckets: Sequence[tuple[str, Sequence[int]]]) -> Markup:
    """For each time the parts of a whole, one on the other."""
    most = max((sum(parts) for _, parts in buckets), default=0) or 1
    bottom, step = HIGH - UNDER, min(60.0, (WIDE - LEFT) / max(1, len(buckets)))
    marks = [_scale(most)]
    for at, (when, parts) in enumerate(buckets):
        y = float(bottom)
        for place, count in enumerate(parts):
            height = count / most * (bottom - 8)
            y -= height
            piece = Markup('<rect class="part p{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}: {}</title></rect>')
            marks.append(piece.format(place, LEFT + at * step + 1, y, max(1.0, step - 2), height, when, count))
    if buckets:
        marks += [
            _text(LEFT, HIGH - 6, buckets[0][0][:16].replace("T", " ")),
            _text(WIDE, HIGH - 6, buckets[-1][0][:16].replace("T", " "), "end"),
        ]
    return _frame(name, f"{len(buckets)} steps of time", Markup("").join(marks))


def diagram(name: str, points: Sequence[tuple[float, float, int]]) -> Markup:
    """What was said to be likely, and how often it was so: on the diagonal they agree."""
    bottom, across = HIGH - UNDER, WIDE - LEFT
    marks = [_line("axis", LEFT, bottom, WIDE, bottom), _line("grid", LEFT, bottom, WIDE, 8)]
    for x, y, count in points:
        piece = Markup('<circle class="point" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{:.2f}: {:.0%} of {}</title></circle>')
        marks.append(piece.format(LEFT + x * across, bottom - y * (bottom - 8), 3 + min(6.0, count**0.5 / 3), x, y, count))
    marks += [_text(LEFT - 6, 12, "100%", "end"), _text(LEFT - 6, bottom + 4, "0%", "end")]
    marks += [_text(LEFT + across * part, HIGH - 6, f"{part:g}", anchor) for part, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))]
    return _frame(name, f"{sum(count for _, _, count in points)} decisions", Markup("").join(marks))


def overlaid(name: str, now: Sequence[int], before: Sequence[int]) -> Markup:
    """Two distributions in equal steps from 0 to 1, as shares of each: one as bars, the other as a line over them."""
    shares = [[count / (sum(counts) or 1) for count in counts] for counts in (now, before)]
    most, bottom, step = max((*shares[0], *shares[1]), default=0) or 1, HIGH - UNDER, (WIDE - LEFT) / max(1, len(now))
    marks, outline = [_line("grid", LEFT, 8, WIDE, 8), _line("axis", LEFT, bottom, WIDE, bottom)], list[str]()
    for place, (share, other) in enumerate(zip(*shares, strict=True)):
        x, height = LEFT + place * step, share / most * (bottom - 8)
        piece = Markup(
            '<rect class="part p0" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{:.2f}: {:.1%}, {:.1%}</title></rect>'
        )
        marks.append(piece.format(x + 1, bottom - height, step - 2, height, place / len(now), share, other))
        y = bottom - other / most * (bottom - 8)
        outline += [f"{x:.1f},{y:.1f}", f"{x + step:.1f},{y:.1f}"]
    marks.append(Markup('<polyline class="before" points="{}"/>').format(" ".join(outline)))
    marks += [_text(LEFT - 6, 12, f"{most:.0%}", "end"), _text(LEFT - 6, bottom + 4, "0%", "end"), *_steps()]
    return _frame(name, f"shares of {sum(now)} decisions, and of {sum(before)} before, by confidence from 0 to 1", Markup("").join(marks))


def intervals(name: str, bins: Sequence[Mapping[str, Any]]) -> Markup:
    """As `diagram`, with how far each share may be off."""
    bottom, across = HIGH - UNDER, WIDE - LEFT
    height = bottom - 8
    marks = [_line("axis", LEFT, bottom, WIDE, bottom), _line("grid", LEFT, bottom, WIDE, 8)]
    for each in bins:
        x, right = LEFT + each["confidence"] * across, each["right"]
        marks.append(_line("reach", x, bottom - right["low"] * height, x, bottom - right["high"] * height))
        piece = Markup('<circle class="point" cx="{:.1f}" cy="{:.1f}" r="4"><title>{:.2f}: {:.0%} of {}, {:.0%} to {:.0%}</title></circle>')
        told = each["confidence"], right["value"], right["count"], right["low"], right["high"]
        marks.append(piece.format(x, bottom - right["value"] * height, *told))
    marks += [_text(LEFT - 6, 12, "100%", "end"), _text(LEFT - 6, bottom + 4, "0%", "end"), *_steps()]
    return _frame(name, f"{sum(each['right']['count'] for each in bins)} labelled decisions", Markup("").join(marks))


def _steps() -> list[Markup]:
    return [_text(LEFT + (WIDE - LEFT) * part, HIGH - 6, f"{part:g}", at) for part, at in ((0, "start"), (0.5, "middle"), (1, "end"))]


GLOBALS: Mapping[str, Callable[..., Markup]] = {
    "bar": bar, "spark": spark, "strip": strip, "histogram": histogram, "stacked": stacked, "diagram": diagram,
    "overlaid": overlaid, "intervals": intervals,
}  # fmt: skip
