"""Where the next page of a list begins, as callers give it back."""

from __future__ import annotations

from router.errors import RefusedError

MOST_DIGITS = 18  # every such number fits the stores' integers


def place_after(cursor: str | None) -> int | None:
    """The place that a cursor names, None without one. Raises RefusedError."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= MOST_DIGITS):
        raise RefusedError("The cursor is not one that this API gave.", "request_invalid", 400)
    return int(cursor)
