"""Unix nanoseconds inside, moments with a zone on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(time: datetime | None) -> int | None:
    return None if time is None else (time - EPOCH) // timedelta(microseconds=1) * 1000


def moment(time_ns: int | None) -> datetime | None:
    return None if time_ns is None else EPOCH + timedelta(microseconds=time_ns // 1000)
