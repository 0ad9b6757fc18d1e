"""The tokenizer of an encoder's directory: one in a process for all encoders and configurations that have the same."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar
from weakref import WeakValueDictionary

from tokenizers import Tokenizer

from embeddings.manifest import Manifest
from embeddings.spelling import whole_words

FILE = "tokenizer.json"


class Tokens:
    """`tokenizer` cuts a text at the encoder's most tokens and pads none; `words`: those of its vocabulary that are whole words. Nobody
    changes either, so that threads share them."""

    _open: ClassVar[WeakValueDictionary[tuple[str, int], Tokens]] = WeakValueDictionary()

    def __init__(self, path: Path, max_tokens: int) -> None:
        self.tokenizer = Tokenizer.from_file(str(path))
        # all-MiniLM's own file pads every text to 128 tokens: ten times the cost of a short one, and other vectors where
        # the graph has no attention mask.
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length=max_tokens)
        self.words = whole_words(self.tokenizer.get_vocab())

    @classmethod
    def of(cls, directory: Path, manifest: Manifest) -> Tokens:
        """For a directory whose files have been held against its manifest."""
        key = (manifest.files[FILE], manifest.max_tokens)
        found = cls._open.get(key)
        if found is None:
            found = cls._open[key] = cls(directory / FILE, manifest.max_tokens)
        return found
