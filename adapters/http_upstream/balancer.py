"""Smooth weighted round-robin (nginx's): each pick adds every weight to its candidate, takes the largest, and takes the sum off it."""

from __future__ import annotations

from collections.abc import Sequence


class Balancer:
    """Chooses among indexes 0..n-1 with weights; any subset may be available at a pick."""

    __slots__ = ("_current", "_weights")

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = list(weights)
        self._current = [0] * len(self._weights)

    def pick(self, available: Sequence[int]) -> int:
        """`available` is not empty."""
        if len(available) == 1:
            return available[0]
        total = 0
        best = available[0]
        for index in available:
            total += self._weights[index]
            self._current[index] += self._weights[index]
            if self._current[index] > self._current[best]:
                best = index
        self._current[best] -= total
        return best
