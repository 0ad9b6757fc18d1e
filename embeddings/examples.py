from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embeddings.digests import digest_of
from embeddings.errors import EmbeddingsError
from embeddings.numeric import Labels

MIN_HELD_OUT_INTENTS = 2


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Distinct texts with the row of their intent in `intents`; background texts are about none of them."""

    intents: tuple[str, ...]
    texts: tuple[str, ...]
    labels: Labels
    out_of_scope: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What each intent is called, in words: one more example of it, the only one that was written with the others in mind."""
        return tuple(in_words(intent) for intent in self.intents)

    @property
    def digest(self) -> str:
        return digest_of(
            {
                "intents": self.intents,
                "texts": self.texts,
                "labels": self.labels.tolist(),
                "out_of_scope": self.out_of_scope,
            }
        )


def in_words(intent: str) -> str:
    """`cancel_payment`, `cancel-payment` and `CancelPayment` are "cancel payment"."""
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", intent)).strip().lower() or intent


def training_set(examples: Mapping[str, Sequence[str]], out_of_scope: Sequence[str]) -> TrainingSet:
    """Refuses examples no usable head can come of. A text repeated within its intent counts once."""
    distinct = {intent: tuple(dict.fromkeys(texts)) for intent, texts in examples.items()}
    _require_enough(distinct)
    texts = tuple(text for intent in distinct for text in distinct[intent])
    labels = np.repeat(np.arange(len(distinct)), [len(group) for group in distinct.values()])
    return TrainingSet(tuple(distinct), texts, labels.astype(np.intp), tuple(dict.fromkeys(out_of_scope)))


def _require_enough(distinct: Mapping[str, Sequence[str]]) -> None:
    if len(distinct) < 2:
        raise EmbeddingsError(
            "too_few_intents",
            f"The catalog has {len(distinct)} intent(s) with examples; a classifier needs at least two to tell apart.",
        )
    empty = [intent for intent, texts in distinct.items() if not texts]
    if empty:
        raise EmbeddingsError("no_examples", f"Intent {empty[0]!r} has no examples; give it at least one, better ten or more.")
    if sum(len(texts) >= 2 for texts in distinct.values()) < MIN_HELD_OUT_INTENTS:
        raise EmbeddingsError(
            "too_few_examples",
            "Fewer than two intents have two or more examples, so confidence cannot be calibrated; add examples.",
        )
