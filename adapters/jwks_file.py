"""A JWKS document in a file."""

from __future__ import annotations

from pathlib import Path

from router.errors import StateError

MAX_BYTES = 1024 * 1024


class JwksFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    def stamp(self) -> tuple[int, int, int]:
        try:
            told = self._path.stat()
        except OSError as error:
            raise StateError(f"{self._path} cannot be read: {error.strerror}") from error
        return told.st_mtime_ns, told.st_size, told.st_ino

    def read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                document = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise StateError(f"{self._path} cannot be read: {error.strerror}") from error
        if len(document) > MAX_BYTES:
            raise StateError(f"{self._path} is larger than {MAX_BYTES} bytes")
        return document
