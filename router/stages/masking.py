"""Replacing what was found by its label."""

from __future__ import annotations

from collections.abc import Iterable

Mask = tuple[int, int, str]


def masked(text: str, masks: Iterable[Mask]) -> str:
    """`masks` are (start, end, label) in characters. Overlapping ones become one, with the first one's label."""
    pieces: list[str] = []
    done = 0
    for start, end, label in sorted(masks):
        if start >= done:
            pieces += (text[done:start], label)
        done = max(done, end)
    pieces.append(text[done:])
    return "".join(pieces)
