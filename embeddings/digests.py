from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def sha256_hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(value: Any) -> str:
    """`sha256:<hex>` of a JSON value, independent of key order and of lone surrogates in its strings."""
    return "sha256:" + sha256_hex(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
