"""How values read on a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from router.earlier_tiers import why_not

NONE = "–"
UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
# A colour says no more than the word beside it.
TONES: Mapping[str, tuple[str, ...]] = {
    "good": ("allow", "routed", "done", "approved", "released", "promoted", "ok", "in use", "in force", "delivered"),
    "bad": ("deny", "denied", "failed", "rejected", "rolled_back", "dead", "cancelled", "shed", "critical", "gone"),
    "wait": (
        "review", "held", "pending", "uncertain", "proposed", "waiting", "escalated", "assigned", "more_information", "expired",
        "abstained", "split", "high", "draining", "drained",
    ),
    "other": ("reroute", "running", "dispatching", "sending", "superseded"),
}  # fmt: skip
TONE_OF = {word: tone for tone, words in TONES.items() for word in words}


def when(value: Any) -> str:
    """`2026-11-28 20:23:22` of RFC 3339, UTC."""
    return str(value)[:19].replace("T", " ") if value else NONE


def clock(value: Any) -> str:
    return str(value)[11:23] if value else NONE


def day(value: Any) -> str:
    return str(value)[:10] if value else NONE


def nanoseconds(value: Any) -> str:
    """A duration as a person says it: `4.1 ms`."""
    if value is None:
        return NONE
    number = float(value)
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f} ns"


def seconds(value: Any) -> str:
    return NONE if value is None else nanoseconds(float(value) * 1e9)


def score(value: Any) -> str:
    return NONE if value in (None, "") else f"{float(value):.2f}"


def percent(value: Any) -> str:
    if value in (None, ""):
        return NONE
    number = float(value) * 100
    return "< 0.1 %" if 0 < number < 0.1 else f"{number:.1f} %" if number < 99.95 or number == 100 else "> 99.9 %"


def points(value: Any) -> str:
    """Of a difference of shares: `+3.2`, in hundredths."""
    return NONE if value is None else f"{100 * float(value):+.1f}".replace("-", "−")


def count(value: Any) -> str:
    return NONE if value is None else f"{int(value):,}".replace(",", " ")


def size(value: Any) -> str:
    if value is None:
        return NONE
    number = float(value)
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def short(value: Any, length: int = 12) -> str:
    """The beginning of a digest."""
    text = str(value or "").removeprefix("sha256:")
    return text[:length] if text else NONE


def plain(value: Any) -> str:
    """`out_of_scope` as words."""
    return str(value).replace("_", " ") if value not in (None, "") else NONE


def tone(value: Any) -> str:
    return TONE_OF.get(str(value), "calm")


def span(total: float) -> str:
    """`3 h 20 min`, of seconds: the two largest units."""
    left, parts = max(0, int(total)), list[str]()
    for unit, length in UNITS:
        if left >= length and len(parts) < 2:
            parts.append(f"{left // length} {unit}")
            left %= length
        elif parts:
            break
    return " ".join(parts) or "0 s"


def since(value: Any) -> str:
    return span((datetime.now(UTC) - datetime.fromisoformat(str(value))).total_seconds()) if value else NONE


def until(value: Any) -> str:
    """How long is left; `over` once nothing is."""
    if not value:
        return NONE
    left = (datetime.fromisoformat(str(value)) - datetime.now(UTC)).total_seconds()
    return span(left) if left > 0 else "over"


def left(value: Any) -> float:
    """Seconds."""
    return (datetime.fromisoformat(str(value)) - datetime.now(UTC)).total_seconds()


def pretty(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()


FILTERS: Mapping[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        when,
        clock,
        day,
        nanoseconds,
        seconds,
        score,
        percent,
        points,
        count,
        size,
        short,
        plain,
        tone,
        since,
        until,
        left,
        pretty,
        span,
        why_not,
    )
}
