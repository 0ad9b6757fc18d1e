from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Matrix = NDArray[np.float32]


class Encoder(Protocol):
    """Text to vectors. Every vector has length one and does not depend on which other texts it was encoded with.

    Any `str` is accepted: what lies beyond the encoder's bound is not seen, lone surrogates count as U+FFFD.
    Safe to call from several threads.
    """

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over everything that decides the vectors; heads are trained for one digest."""
        ...

    @property
    def dimensions(self) -> int: ...

    @property
    def max_tokens(self) -> int: ...

    @property
    def languages(self) -> frozenset[str]:
        """The languages (ISO 639-1) whose texts it was made for; English where nothing else is known. No part of the digest."""
        ...

    @property
    def additive(self) -> bool:
        """Whether the sum of two texts' vectors has the direction of both as one text: the encoder does not see the order of words."""
        ...

    @property
    def words(self) -> frozenset[str]:
        """Lower-case words that it has as such, without spelling them out; none where it cannot say."""
        ...

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Shape (len(texts), dimensions)."""
        ...

    def encode_one(self, text: str) -> Vector:
        """Shape (dimensions,); the hot path."""
        ...


class Index(Protocol):
    """The examples' vectors, by intent. Safe to call from several threads."""

    def nearest(self, vector: Vector, intent: int) -> float:
        """The highest cosine between a unit vector of shape (dimensions,) and the examples of the head's intent in this place; 0 where
        there are none. Raises SearchError where they cannot be asked: never another number."""
        ...

    def close(self) -> None:
        """Lets go of connections; may be called again."""
        ...


Progress = Callable[[str, int, int], None]
"""Called with the step's name, how much of it is done, and how much there is."""
