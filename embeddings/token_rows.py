"""What training learnt of single tokens: rows that take the place of an encoder's own. They belong to the model, not to the encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import EmbeddingsError
from embeddings.ports import Encoder


@dataclass(frozen=True, slots=True)
class TokenRows:
    """`tokens` (k,): ids, ascending; `vectors` (k, dimensions), float16, in the units of the encoder's table."""

    tokens: NDArray[np.int32]
    vectors: NDArray[np.float16]


@runtime_checkable
class Teachable(Protocol):
    learnt: TokenRows | None

    def taught(self, rows: TokenRows | None) -> Encoder:
        """The encoder as it was made, with these rows for its own. Raises EmbeddingsError where they do not fit."""
        ...


def taught(encoder: Encoder, rows: TokenRows | None) -> Encoder:
    """The encoder itself where it cannot learn. Raises EmbeddingsError for one that has no table of tokens."""
    if isinstance(encoder, Teachable):
        return encoder.taught(rows)
    if rows is not None:
        raise EmbeddingsError("model_altered", "The model has vectors of single tokens, and its encoder has no table for them.")
    return encoder


def learnt_by(encoder: Encoder) -> TokenRows | None:
    return encoder.learnt if isinstance(encoder, Teachable) else None
