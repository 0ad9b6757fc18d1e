"""What people are told, in plain sentences of ours: which kind of request, how risky, where to, until when, and where to look. Never who
asked nor what for, and nothing that decides by being clicked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from router.ports import Notice

NS = 1_000_000_000
_HEADLINES = {
    "held": "A request waits for a decision",
    "escalated": "A request was escalated and waits for a decision",
    "information_asked": "A reviewer asked for more information about a request",
    "expiring": "A request that waits for a decision expires soon",
}

BREAK_GLASS, BROKEN = "break_glass", "Somebody broke the glass: an administrator's session past provider and policy"


@dataclass(frozen=True, slots=True)
class Words:
    headline: str
    facts: tuple[tuple[str, str], ...]
    link: str

    @property
    def lines(self) -> tuple[str, ...]:
        return (f"{self.headline}.", "", *(f"{name}: {value}" for name, value in self.facts), "", f"Look at it: {self.link}")


def words(notice: Notice, link: str) -> Words:
    if notice.event == BREAK_GLASS:
        return Words(BROKEN, (("Incident", plain(notice.review)), ("Risk", plain(notice.risk)), ("Ends", when(notice.expires_ns))), link)
    facts = (
        ("Intent", plain(notice.intent) or "not known"),
        ("Risk", plain(notice.risk)),
        ("Route", plain(notice.route)),
        ("Expires", when(notice.expires_ns)),
    )
    return Words(_HEADLINES.get(notice.event, "A request waits for a decision"), facts, link)


def when(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // NS, UTC).strftime("%Y-%m-%d %H:%M UTC")


def instant(at_ns: int) -> str:
    """RFC 3339."""
    return datetime.fromtimestamp(at_ns // NS, UTC).isoformat().replace("+00:00", "Z")


def plain(text: str) -> str:
    """Names come from the catalog; whatever else got into one makes no line and no markup of its own."""
    return "".join(each if each.isalnum() or each in " ._-" else "?" for each in text)
