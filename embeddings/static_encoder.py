"""Texts as sums of their tokens' vectors: tens of microseconds, and no idea of the order of words."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import EmbeddingsError
from embeddings.manifest import STATIC_FILES, TABLE, read_manifest, verify
from embeddings.numeric import stacked
from embeddings.onnx_encoder import CHARACTERS_PER_TOKEN
from embeddings.ports import Matrix, Vector
from embeddings.text import bounded
from embeddings.token_rows import TokenRows
from embeddings.tokens import Tokens


class StaticEncoder:
    """An encoder's directory that also has `static.npy`: float16 (vocabulary, dimensions), weighted. The table is mapped, not read: all
    workers share one copy of it. Rows that a model brings (`taught`) are part of that model's digest, not of the encoder's."""

    def __init__(self, directory: Path) -> None:
        manifest = read_manifest(directory)
        digest = manifest.static_digest
        if digest is None:
            raise EmbeddingsError("static_missing", f"{directory} has no {TABLE}, so there is no static tier with this encoder.")
        verify(directory, manifest, STATIC_FILES)  # the rest is the encoder's to check, and twice as large
        self._table = _mapped(directory / TABLE)
        self._tokens = Tokens.of(directory, manifest)
        self.words = self._tokens.words
        self._max_characters = manifest.max_tokens * CHARACTERS_PER_TOKEN
        self.max_tokens = manifest.max_tokens
        self.additive = True
        self.languages = manifest.languages
        self.dimensions = int(self._table.shape[1])
        self.digest = digest
        self._nothing = np.full(self.dimensions, self.dimensions**-0.5, dtype=np.float32)
        self.learnt: TokenRows | None = None
        self._place = np.full(len(self._table), -1, dtype=np.int32)  # of a token among the learnt rows

    def taught(self, rows: TokenRows | None) -> StaticEncoder:
        """The table, with these rows for its own, whatever was learnt before. Raises EmbeddingsError where they are of another table."""
        encoder = copy(self)
        encoder.learnt = rows
        encoder._place = np.full(len(self._table), -1, dtype=np.int32)
        if rows is not None:
            if rows.vectors.shape != (len(rows.tokens), self.dimensions) or not np.isin(rows.tokens, np.arange(len(self._table))).all():
                raise EmbeddingsError("model_altered", "The model's vectors of single tokens are not for this encoder's table.")
            encoder._place[rows.tokens] = np.arange(len(rows.tokens))
        return encoder

    def __repr__(self) -> str:
        return f"StaticEncoder({self.digest[:19]})"

    def encode(self, texts: Sequence[str]) -> Matrix:
        return stacked(self.encode_one, texts, self.dimensions)

    def encode_one(self, text: str) -> Vector:
        return self.sum_of(self.tokens(text))

    def tokens(self, text: str) -> NDArray[np.intp]:
        """The ids of what is seen of the text."""
        return np.array(self._tokens.tokenizer.encode(bounded(text, self._max_characters), add_special_tokens=False).ids, dtype=np.intp)

    def rows(self, tokens: NDArray[np.intp]) -> Matrix:
        """Shape (len(tokens), dimensions)."""
        if self.learnt is None:
            return self._table[tokens].astype(np.float32)
        places = self._place[tokens]
        known = places >= 0
        if known.all():
            return self.learnt.vectors[places].astype(np.float32)
        rows = self._table[tokens]
        rows[known] = self.learnt.vectors[places[known]]
        return rows.astype(np.float32)

    def sum_of(self, tokens: NDArray[np.intp]) -> Vector:
        """Their sum's direction, shape (dimensions,)."""
        vector: Vector = self.rows(tokens).sum(axis=0)
        length = float(np.sqrt(np.dot(vector, vector)))
        if length < 1e-6:
            return self._nothing  # a text without tokens has a direction too
        vector /= np.float32(length)
        return vector


def _mapped(path: Path) -> NDArray[np.float16]:
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise EmbeddingsError("static_missing", f"{path} is no table of token vectors: {error}.") from error
    if table.ndim != 2 or table.dtype != np.float16:
        raise EmbeddingsError("static_missing", f"{path} is no table of float16 token vectors.")
    plain: NDArray[np.float16] = table.view(np.ndarray)  # the same memory, without a subclass's cost at every look-up
    return plain
