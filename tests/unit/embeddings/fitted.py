from __future__ import annotations

from collections.abc import Mapping, Sequence

from embeddings.artefact import Artefact
from embeddings.examples import training_set
from embeddings.fitting import fit
from embeddings.hashing_encoder import HashingEncoder
from embeddings.material import Frozen
from embeddings.reporting import Judged
from embeddings.train import silent


def fit_and_judge(examples: Mapping[str, Sequence[str]]) -> tuple[Artefact, Judged]:
    """A model with the in-memory encoder, and what cross-validation said of its examples."""
    data = training_set(examples, ())
    fitted = fit(data, Frozen(HashingEncoder()), silent)
    return fitted.artefact, fitted.judged(data)
