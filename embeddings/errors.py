from __future__ import annotations


class EmbeddingsError(Exception):
    """A failure a user can act on: a stable `code` and one sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class EncodingError(EmbeddingsError):
    """An encoder that works elsewhere gave no vector; `code` is one that callers may be told."""


class SearchError(EmbeddingsError):
    """An index that works elsewhere gave no answer; `code` as above."""
