from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from embeddings.parallel import in_order
from embeddings.ports import Encoder, Matrix

CHUNK = 64


def encode_all(encoder: Encoder, texts: Sequence[str], progress: Callable[[int, int], None]) -> Matrix:
    """Shape (len(texts), dimensions), on all cores; `progress` gets how many are done and how many there are."""
    chunks = [texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK)]
    told = lambda done, _: progress(min(done * CHUNK, len(texts)), len(texts))  # noqa: E731  # a name for what is passed on
    encoded = in_order(encoder.encode, chunks, told)
    return np.concatenate(encoded) if encoded else np.empty((0, encoder.dimensions), dtype=np.float32)
