"""Which of several upstreams is asked. Decides only."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Protocol

WHOLE = float((1 << 64) + 1)


class Loaded(Protocol):
    @property
    def busy(self) -> int:
        """Requests under way."""


class Balancing(Protocol):
    def pick(self, available: Sequence[int], key: bytes = b"", upstreams: Sequence[Loaded] = ()) -> int:
        """`available` is not empty, and holds indexes of `upstreams`."""


class Balancer:
    """Smooth weighted round-robin (nginx's): each pick adds every weight to its candidate, takes the largest, and takes the sum off it.

    Chooses among indexes 0..n-1 with weights; any subset may be available at a pick.
    """

    __slots__ = ("_current", "_weights")

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = list(weights)
        self._current = [0] * len(self._weights)

    def pick(self, available: Sequence[int], key: bytes = b"", upstreams: Sequence[Loaded] = ()) -> int:
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


class LeastBusy:
    """The one with the fewest requests under way for its weight; among equals in turns."""

    __slots__ = ("_turns", "_weights")

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = list(weights)
        self._turns = Balancer(weights)

    def pick(self, available: Sequence[int], key: bytes = b"", upstreams: Sequence[Loaded] = ()) -> int:
        loads = [upstreams[index].busy / self._weights[index] for index in available]
        least = min(loads)
        return self._turns.pick([index for index, load in zip(available, loads, strict=True) if load == least])


class ByHash:
    """Rendezvous hashing with weights: a key has the same upstream as long as that is there, and only keys of one that is away move.
    Without a key in turns. `names` are the upstreams' own, so that their order says nothing."""

    __slots__ = ("_names", "_turns", "_weights")

    def __init__(self, weights: Sequence[int], names: Sequence[str]) -> None:
        self._weights = list(weights)
        self._names = [name.encode() for name in names]
        self._turns = Balancer(weights)

    def pick(self, available: Sequence[int], key: bytes = b"", upstreams: Sequence[Loaded] = ()) -> int:
        if not key:
            return self._turns.pick(available)
        return max(available, key=lambda index: self._score(index, key))

    def _score(self, index: int, key: bytes) -> float:
        digest = hashlib.blake2b(self._names[index] + b"\0" + key, digest_size=8).digest()
        return -self._weights[index] / math.log((int.from_bytes(digest) + 1) / WHOLE)
