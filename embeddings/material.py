"""What a model is trained from, and who makes vectors of it: one encoder for all, or for each part of the cross-validation its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from embeddings.encoding import encode_all
from embeddings.examples import TrainingSet
from embeddings.folds import FOLDS
from embeddings.numeric import Labels
from embeddings.ports import Encoder, Matrix, Progress


@dataclass(frozen=True, slots=True)
class Texts:
    """`texts` (n): the examples, then the intents' names; `labels` (n,): the row of each one's intent; `background` is about none."""

    texts: tuple[str, ...]
    labels: Labels
    examples: int
    background: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What an encoder may learn from: masks over the texts (n,) and the background (m,)."""

    texts: NDArray[np.bool_]
    background: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Vectors of all texts (n, d) and all background (m, d) by one encoder, whatever its lesson was."""

    vectors: Matrix
    background: Matrix


class Embedding(Protocol):
    """`folds`: how many of the cross-validation's folds are worth their time."""

    @property
    def folds(self) -> int: ...

    def encode(self, texts: Texts, lessons: Sequence[Lesson], progress: Progress) -> tuple[Encoder, list[Encoded]]:
        """The encoder of the first lesson, which holds everything, and what the encoder of each lesson makes of the texts."""
        ...


class Frozen:
    """An encoder that learns nothing: the same vectors for every lesson."""

    folds = FOLDS

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def encode(self, texts: Texts, lessons: Sequence[Lesson], progress: Progress) -> tuple[Encoder, list[Encoded]]:
        encoded = Encoded(
            encode_all(self._encoder, texts.texts, partial(progress, "encode")),
            encode_all(self._encoder, texts.background, partial(progress, "encode out-of-scope")),
        )
        return self._encoder, [encoded] * len(lessons)


def texts_of(data: TrainingSet) -> Texts:
    """A name that stands among its intent's examples already is not taken twice: it would be seen by the head that it is held out of."""
    known = {(text.lower(), label) for text, label in zip(data.texts, data.labels.tolist(), strict=True)}
    named = [(name, label) for label, name in enumerate(data.names) if (name, label) not in known]
    return Texts(
        texts=(*data.texts, *(name for name, _ in named)),
        labels=np.append(data.labels, np.array([label for _, label in named], dtype=np.intp)),
        examples=len(data.texts),
        background=data.out_of_scope,
    )
