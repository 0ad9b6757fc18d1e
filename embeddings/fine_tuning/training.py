"""Fine-tuning only where it pays: both ways are judged by the same held-out texts, and the encoder as it is wins a tie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embeddings.examples import TrainingSet
from embeddings.fine_tuning.tuner import Tuner
from embeddings.fitting import Fitted, HeldOut, fit
from embeddings.material import Frozen
from embeddings.ports import Encoder, Progress


@dataclass(frozen=True, slots=True)
class Outcome:
    """`directory`: the tuned encoder's, None where tuning did not pay. Accuracies are of held-out texts (`held_out` many)."""

    fitted: Fitted
    directory: Path | None
    frozen_accuracy: float
    tuned_accuracy: float
    held_out: int


def fit_best(
    data: TrainingSet, encoder: Encoder, base: Path, directory: Path, progress: Progress, held_out: HeldOut | None = None
) -> Outcome:
    """`base` is the directory of `encoder`; a tuned one goes below `directory`. Raises EmbeddingsError."""
    tuner = Tuner(base, directory, data.digest, len(data.texts) + len(data.intents))
    frozen = fit(data, Frozen(encoder), progress, held_out)
    tuned = fit(data, tuner, progress, held_out)
    both, here, there = np.intersect1d(frozen.scored.rows, tuned.scored.rows, return_indices=True)
    before, after = (float(fitted.correct[places].mean()) for fitted, places in ((frozen, here), (tuned, there)))
    paid = after > before
    return Outcome(tuned if paid else frozen, tuner.written if paid else None, before, after, len(both))
