"""Moments as they are told to people and programs outside."""

from __future__ import annotations

from datetime import UTC, datetime

SECOND_NS = 1_000_000_000


def instant(at_ns: int) -> str:
    """RFC 3339 in UTC, to the second that has begun. `at_ns`: Unix nanoseconds."""
    return datetime.fromtimestamp(at_ns // SECOND_NS, UTC).isoformat().replace("+00:00", "Z")
