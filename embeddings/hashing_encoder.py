"""A deterministic encoder without a model: hashed character n-grams and words. The in-memory twin of OnnxEncoder."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from embeddings.digests import digest_of
from embeddings.manifest import DEFAULT_LANGUAGES
from embeddings.numeric import stacked
from embeddings.ports import Matrix, Vector
from embeddings.text import bounded

WORD = re.compile(r"\w+")
CHARACTERS_PER_TOKEN = 16


class HashingEncoder:
    def __init__(self, dimensions: int = 256, max_tokens: int = 256) -> None:
        self.dimensions = dimensions
        self.max_tokens = max_tokens
        self.additive = True
        self.words: frozenset[str] = frozenset()
        self.languages = DEFAULT_LANGUAGES
        self.digest = digest_of({"encoder": "hashing", "version": 1, "dimensions": dimensions, "max_tokens": max_tokens})

    def encode(self, texts: Sequence[str]) -> Matrix:
        return stacked(self.encode_one, texts, self.dimensions)

    def encode_one(self, text: str) -> Vector:
        vector = np.zeros(self.dimensions, dtype=np.float64)
        vector[0] = 0.1  # an empty text has a direction too
        words = WORD.findall(bounded(text, self.max_tokens * CHARACTERS_PER_TOKEN).lower())
        for feature, weight in _features(words[: self.max_tokens]):
            number = zlib.crc32(feature.encode())
            vector[(number >> 1) % self.dimensions] += weight if number & 1 else -weight
        unit: Vector = (vector / np.linalg.norm(vector)).astype(np.float32)
        return unit


def _features(words: Sequence[str]) -> Iterator[tuple[str, float]]:
    for word in words:
        yield word, 1.0
        marked = f"<{word}>"
        for start in range(max(1, len(marked) - 2)):
            yield marked[start : start + 3], 0.3
