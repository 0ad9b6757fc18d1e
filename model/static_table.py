"""A vector for every token, distilled from the encoder: what it makes of the token alone, in fewer dimensions. A text's sum over its tokens
then costs no forward pass (as model2vec does it, Tulkens and van Dongen 2024).
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

DIMENSIONS = 256
BATCH = 256
# Weight of a token that makes up the share p of all text: RARE / (RARE + p) (Arora et al. 2017). The vocabulary is in the order of how
# often its entries are used, so Zipf's law stands in for counting.
RARE = 3e-4


def static_table(float_model: Path, tokenizer: bytes) -> bytes:
    """`static.npy`: float16 (vocabulary, DIMENSIONS), each row already weighted."""
    parser = Tokenizer.from_str(tokenizer.decode())
    start, end = parser.encode("").ids
    vectors = _vectors(float_model, start, end, parser.get_vocab_size())
    table = _projected(vectors - vectors.mean(axis=0)) * _weights(len(vectors))[:, None]
    file = io.BytesIO()
    np.save(file, table.astype(np.float16), allow_pickle=False)
    return file.getvalue()


def _vectors(model: Path, start: int, end: int, tokens: int) -> NDArray[np.float64]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # sums in one order, so that a build can be repeated
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    rows = []
    for first in range(0, tokens, BATCH):
        ids = [[start, token, end] for token in range(first, min(first + BATCH, tokens))]
        rows.append(session.run(None, {"input_ids": np.array(ids, dtype=np.int64)})[0])
    return np.concatenate(rows).astype(np.float64)


def _projected(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Onto the directions in which tokens differ most; each direction's sign is fixed by its largest part."""
    _, directions = np.linalg.eigh(centred.T @ centred)
    kept = directions[:, ::-1][:, :DIMENSIONS]
    signs = np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    projected: NDArray[np.float64] = centred @ (kept * signs)
    return projected


def _weights(tokens: int) -> NDArray[np.float64]:
    shares = 1.0 / np.arange(1, tokens + 1)
    shares /= shares.sum()
    weights: NDArray[np.float64] = RARE / (RARE + shares)
    return weights
