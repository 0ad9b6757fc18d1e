"""Path and query parameters that several endpoints share, and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Path, Query

Identifier = Annotated[str, Path(max_length=64, pattern="^[A-Za-z0-9_-]+$")]
Cursor = Annotated[str | None, Query(max_length=512, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Records a page; follow `next` for more, there is no cap on pages")]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(time: datetime | None) -> int | None:
    return None if time is None else (time - EPOCH) // timedelta(microseconds=1) * 1000


def moment(time_ns: int | None) -> datetime | None:
    return None if time_ns is None else EPOCH + timedelta(microseconds=time_ns // 1000)
