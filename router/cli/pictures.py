"""The reliability diagram and the risk-coverage curve as SVG: the same bytes for the same figures, readable on light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from xml.etree.ElementTree import Element

from embeddings.report import Accepted, AtRisk, Bin
from router.cli.markup import Child, e

STYLE = files("router.cli").joinpath("pictures.css").read_text(encoding="utf-8")
WIDTH, LEFT, RIGHT = 640.0, 64.0, 24.0
TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values are drawn: x from 0 to 1, y from 0 to `most`, between the lines `top` and `bottom`."""

    top: float
    bottom: float
    most: float = 1.0

    def x(self, value: float) -> float:
        return LEFT + value * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return self.bottom - min(value / self.most, 1.0) * (self.bottom - self.top)


def reliability_diagram(bins: Sequence[Bin]) -> Element:
    """Confidence against the share that is right, with 95 % intervals; below, how many answers each point stands for."""
    upper, lower = _Frame(64.0, 384.0), _Frame(420.0, 484.0, float(max((each.count for each in bins), default=1)))
    marks: list[Child] = [_line("even", upper.x(0), upper.y(0), upper.x(1), upper.y(1))]
    for each in bins:
        x = upper.x(each.confidence)
        marks.append(_line("whisker", x, upper.y(each.least), x, upper.y(each.most)))
        marks.append(e("circle", {"class": "dot", "cx": x, "cy": upper.y(each.accuracy), "r": 4.5}))
        left, right, top = lower.x(each.low) + 3, lower.x(each.high) - 3, lower.y(each.count)
        marks.append(e("rect", {"class": "bar", "x": left, "y": top, "width": right - left, "height": lower.bottom - top}))
        marks.append(_text(f"{each.count:,}", (left + right) / 2, top - 4, "soft", "middle"))
    told = f"{sum(each.count for each in bins):,} answers. " + " ".join(
        f"Confidence {each.low:.0%} to {each.high:.0%}: {each.count:,} answers, {each.accuracy:.0%} right." for each in bins
    )
    return _picture(
        "reliability",
        "Reliability: is an answer as often right as it claims?",
        told,
        532.0,
        *_grid(upper, (), TICKS),
        *_grid(lower, TICKS, ()),
        *marks,
        _text("share that is right, with 95 % interval", LEFT, 54, "soft"),
        _text("answers by confidence", LEFT, 408, "soft"),
        _text("confidence", (LEFT + WIDTH - RIGHT) / 2, 522, "soft", "middle"),
    )


def risk_coverage_curve(points: Sequence[Accepted], chosen: AtRisk) -> Element:
    """The share of accepted answers that is wrong, against the share that is accepted, the bound above it, and what `chosen` comes to."""
    last = points[-1].bound if points else 0.0
    frame = _Frame(64.0, 404.0, _round_up(max(last, 2 * chosen.max_error)))
    ticks = tuple(frame.most * step / 5 for step in range(6))
    height, text = 484.0, _chosen(chosen)
    line = frame.y(chosen.max_error)
    marks: list[Child] = [
        _path("bound", [(frame.x(each.coverage), each.bound) for each in points], frame),
        _path("line", [(frame.x(each.coverage), each.error) for each in points], frame),
        e("path", {"class": "mark", "d": f"M{LEFT:.1f} {line:.1f}H{WIDTH - RIGHT:.1f}"}),
    ]
    if chosen.confidence is not None and chosen.accepted:
        x, y = frame.x(chosen.coverage), frame.y(chosen.wrong / chosen.accepted)
        marks += [_line("mark", x, frame.bottom, x, frame.top), e("circle", {"class": "spot", "cx": x, "cy": y, "r": 5.0})]
    return _picture(
        "risk-coverage",
        "Risk and coverage: what accepting more costs",
        text,
        height,
        *_grid(frame, TICKS, ticks),
        *marks,
        _text("share of accepted that is wrong", LEFT, 54, "soft"),
        _text(text, WIDTH - RIGHT, 54, "told", "end"),
        _text("share of texts that is accepted", (LEFT + WIDTH - RIGHT) / 2, 442, "soft", "middle"),
        *_legend(470.0),
    )


def _chosen(chosen: AtRisk) -> str:
    if chosen.confidence is None:
        return f"a risk of {_percent(chosen.max_error)} cannot be proved"
    return f"risk {_percent(chosen.max_error)}: {chosen.coverage:.0%} accepted, from confidence {chosen.confidence:.4f}"


def _legend(y: float) -> list[Element]:
    return [
        _line("line", LEFT, y - 4, LEFT + 28, y - 4),
        _text("measured", LEFT + 36, y, "soft"),
        _line("bound", LEFT + 128, y - 4, LEFT + 156, y - 4),
        _text("95 % bound", LEFT + 164, y, "soft"),
        _line("mark", LEFT + 268, y - 4, LEFT + 296, y - 4),
        _text("stated risk and chosen point", LEFT + 304, y, "soft"),
    ]


def _picture(name: str, title: str, told: str, height: float, *marks: Child) -> Element:
    named, described = f"{name}-title", f"{name}-description"
    size = {"viewBox": f"0 0 {WIDTH:.0f} {height:.0f}", "width": "640", "height": f"{height:.0f}"}
    return e(
        "svg",
        {"xmlns": "http://www.w3.org/2000/svg", "class": "plot", "role": "img", "aria-labelledby": f"{named} {described}", **size},
        e("title", {"id": named}, title),
        e("desc", {"id": described}, told),
        e("style", {}, STYLE),
        e("rect", {"class": "paper", "width": "100%", "height": "100%"}),
        _text(title, LEFT, 28, "title"),
        *marks,
    )


def _grid(frame: _Frame, across: Sequence[float], up: Sequence[float]) -> list[Element]:
    made = []
    for value in up:
        y = frame.y(value)
        made += [_line("grid", LEFT, y, WIDTH - RIGHT, y), _text(_percent(value), LEFT - 8, y + 4, "soft", "end")]
    for value in across:
        x = frame.x(value)
        made += [_line("axis", x, frame.bottom, x, frame.bottom + 4), _text(_percent(value), x, frame.bottom + 18, "soft", "middle")]
    return [*made, _line("axis", LEFT, frame.bottom, WIDTH - RIGHT, frame.bottom)]


def _path(kind: str, points: Sequence[tuple[float, float]], frame: _Frame) -> Element:
    """What lies above the frame is left out; the first point inside is reached from the edge."""
    drawn, outside = "", True
    for (x, value), before in zip(points, (None, *points[:-1]), strict=True):
        if value > frame.most:
            outside = True
        else:
            edge = f"M{before[0]:.1f} {frame.top:.1f}L" if outside and before is not None else "M" if outside else "L"
            drawn += f"{edge}{x:.1f} {frame.y(value):.1f}"
            outside = False
    return e("path", {"class": kind, "d": drawn})


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Element:
    return e("line", {"class": kind, "x1": x1, "y1": y1, "x2": x2, "y2": y2})


def _text(text: str, x: float, y: float, kind: str, anchor: str = "start") -> Element:
    return e("text", {"class": kind, "x": x, "y": y, "text-anchor": anchor}, text)


def _percent(value: float) -> str:
    return f"{value * 100:.2f}".rstrip("0").rstrip(".") + "%"


def _round_up(value: float) -> float:
    """Where the axis ends: at the next of these, at one at most."""
    steps = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
    return next((step for step in steps if value <= step), 1.0)
