"""A small file that says up to where a projection is complete."""

from __future__ import annotations

from pathlib import Path

import orjson

from router.durable import remove, replace
from router.errors import AuditError

SCHEMA = "lockgate.projection.v1"


class MarkerFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[str, int, bytes]:
        """(origin, records, leaf hash of the last of them). Raises AuditError."""
        try:
            told = orjson.loads(self._path.read_bytes())
            return str(told["origin"]), int(told["complete_to"]), bytes.fromhex(told["leaf_hash"])
        except FileNotFoundError:
            return "", 0, b""
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise AuditError(f"{self._path} cannot be read as a projection's mark.", "projection_unavailable") from error

    def write(self, origin: str, complete: int, last_hash: bytes) -> None:
        """Durable when it returns. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replace(self._path) as file:
            told = {"schema": SCHEMA, "origin": origin, "complete_to": complete, "leaf_hash": last_hash.hex()}
            file.write(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")

    def remove(self) -> None:
        if self._path.exists():
            remove(self._path)
