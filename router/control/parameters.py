"""Path and query parameters that several endpoints share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

Identifier = Annotated[str, Path(max_length=64, pattern="^[A-Za-z0-9_-]+$")]
Name = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
Cursor = Annotated[str | None, Query(max_length=512, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Records a page; follow `next` for more, there is no cap on pages")]
