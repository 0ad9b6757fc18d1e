"""Unix nanoseconds inside, moments with a zone on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


EVER = 2**63 - 1  # what stores can hold: from 1677 to 2262


def nanoseconds(time: datetime | None) -> int | None:
    """Before and after what can be stored is where that ends: all that happened is in between."""
    return None if time is None else max(-EVER, min(EVER, (time - EPOCH) // timedelta(microseconds=1) * 1000))


def moment(time_ns: int | None) -> datetime | None:
    return None if time_ns is None else EPOCH + timedelta(microseconds=time_ns // 1000)
