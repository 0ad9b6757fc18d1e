"""The same under each name that something has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from router.errors import StateError


async def each(calls: Iterable[Callable[[], Awaitable[Any]]]) -> None:
    """Also those after one that failed. Raises the last failure."""
    failed: StateError | None = None
    for call in calls:
        try:
            await call()
        except StateError as error:
            failed = error
    if failed is not None:
        raise failed
