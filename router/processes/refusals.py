"""Requests that were refused before a decision, counted by reason: a flood must not buy a durable record each, nor go unrecorded."""

from __future__ import annotations

from collections import Counter


class Refusals:
    """Counts since the last `take`. What was taken is `done` once it is recorded; what cannot be is `put` back and goes with the next."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()

    def add(self, code: str, count: int = 1) -> None:
        self._counts[code] += count

    def take(self) -> dict[str, int]:
        taken = dict(self._counts)
        self._taken.update(taken)
        self._counts.clear()
        return taken

    def waiting(self) -> dict[str, int]:
        """What is not recorded yet, what is just being recorded included."""
        return dict(self._counts + self._taken)

    def done(self) -> None:
        self._taken.clear()

    def put(self, counts: dict[str, int]) -> None:
        self._taken.clear()
        self._counts.update(counts)
