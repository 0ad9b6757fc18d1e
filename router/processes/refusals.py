"""Requests that were refused before a decision, counted by reason: a flood must not buy a durable record each, nor go unrecorded."""

from __future__ import annotations

from collections import Counter


class Refusals:
    """Counts since the last `take`; what could not be recorded is `put` back and goes with the next."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, code: str, count: int = 1) -> None:
        self._counts[code] += count

    def take(self) -> dict[str, int]:
        taken = dict(self._counts)
        self._counts.clear()
        return taken

    def waiting(self) -> dict[str, int]:
        """What is not recorded yet."""
        return dict(self._counts)

    def put(self, counts: dict[str, int]) -> None:
        self._counts.update(counts)
