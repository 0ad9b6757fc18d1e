from __future__ import annotations


class EmbeddingsError(Exception):
    """A failure a user can act on: a stable `code` and one sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
