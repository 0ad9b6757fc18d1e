"""Writes a pure-Python wheel whose bytes depend on its content alone (binary distribution format 1.0)."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

DISTRIBUTION = "lockgate_minilm"
WHEEL_VERSION = "1.2.0"
WHEEL_FILE = b"Wheel-Version: 1.0\nGenerator: lockgate\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
# The earliest moment a zip entry can carry; a build date would make every build differ.
TIMESTAMP = (1980, 1, 1, 0, 0, 0)


def wheel_name(version: str) -> str:
    return f"{DISTRIBUTION}-{version}-py3-none-any.whl"


def write_wheel(path: Path, version: str, package: Mapping[str, bytes], licences: Mapping[str, bytes]) -> None:
    """`package`: files inside `lockgate_minilm/`; `licences`: files of the dist-info's licence folder."""
    info = f"{DISTRIBUTION}-{version}.dist-info"
    entries = {f"{DISTRIBUTION}/{name}": content for name, content in sorted(package.items())}
    entries[f"{info}/METADATA"] = _metadata(version, licences)
    entries[f"{info}/WHEEL"] = WHEEL_FILE
    entries |= {f"{info}/licenses/{name}": content for name, content in sorted(licences.items())}
    entries[f"{info}/RECORD"] = _record(entries, info)
    _write_zip(path, entries)


def _metadata(version: str, licences: Mapping[str, bytes]) -> bytes:
    lines = [
        "Metadata-Version: 2.4",
        "Name: lockgate-minilm",
        f"Version: {version}",
        "Summary: all-MiniLM-L6-v2 as int8 ONNX with its tokenizer, for Lockgate.",
        "License-Expression: Apache-2.0",
        *(f"License-File: {name}" for name in sorted(licences)),
        "Requires-Python: >=3.11",
    ]
    return ("\n".join(lines) + "\n").encode()


def _record(entries: Mapping[str, bytes], info: str) -> bytes:
    lines = [f"{name},sha256={_urlsafe_digest(content)},{len(content)}" for name, content in entries.items()]
    return ("\n".join([*lines, f"{info}/RECORD,,"]) + "\n").encode()


def _urlsafe_digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _write_zip(path: Path, entries: Mapping[str, bytes]) -> None:
    partial = path.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name, TIMESTAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is built
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    partial.replace(path)
