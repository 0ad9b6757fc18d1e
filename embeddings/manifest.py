from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embeddings.digests import digest_of, sha256_file
from embeddings.errors import EmbeddingsError

DEFAULT_LANGUAGES = frozenset({"en"})
REQUIRED_FILES = ("model.onnx", "tokenizer.json")
TABLE = "static.npy"
STATIC_FILES = (TABLE, "tokenizer.json")
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an encoder directory holds: `files` maps each name to its sha256 in hex. `languages` (ISO 639-1) is English where it does not
    say. `weights`: the sha256 of the float weights it was made from, where it says so; `examples`: the digest of the training set that it
    was fine-tuned for, None for an encoder that was not. `prefix`: what the encoder puts before every text, as its training did."""

    name: str
    dimensions: int
    max_tokens: int
    files: dict[str, str]
    languages: frozenset[str] = DEFAULT_LANGUAGES
    weights: str | None = None
    examples: str | None = None
    prefix: str = ""

    @property
    def digest(self) -> str:
        """Over everything that decides the vectors, and what may be made of them where that is not as with any encoder."""
        content: dict[str, Any] = {"dimensions": self.dimensions, "max_tokens": self.max_tokens}
        content["files"] = {name: self.files[name] for name in REQUIRED_FILES}
        if self.languages != DEFAULT_LANGUAGES:
            content["languages"] = sorted(self.languages)
        if self.examples is not None:
            content["examples"] = self.examples
        if self.prefix:
            content["prefix"] = self.prefix
        return digest_of(content)

    @property
    def static_digest(self) -> str | None:
        """Of the static encoder over the same directory; None where it has no table."""
        if TABLE not in self.files:
            return None
        return digest_of({"encoder": "static", "version": 1, "files": {name: self.files[name] for name in STATIC_FILES}})


def read_manifest(directory: Path) -> Manifest:
    path = directory / "manifest.json"
    try:
        return _parse(json.loads(_read(path)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EmbeddingsError("encoder_manifest", f"{path} is not an encoder manifest: {error!r}.") from error


def verify(directory: Path, manifest: Manifest, names: Iterable[str] | None = None) -> None:
    """Refuses a directory in which any file, or any of these, lacks the digest the manifest says."""
    for name in manifest.files if names is None else names:
        expected = manifest.files[name]
        found = _file_digest(directory / name)
        if found != expected:
            raise EmbeddingsError(
                "encoder_altered",
                f"{directory / name} has sha256 {found}, the manifest says {expected}; refusing to load it.",
            )


def _file_digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise EmbeddingsError("encoder_missing", f"{path} cannot be read: {error.strerror}.") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EmbeddingsError("encoder_missing", f"{path} cannot be read: {error.strerror}.") from error


def _parse(content: dict[str, Any]) -> Manifest:
    if content["schema"] != 1:
        raise ValueError(f"schema {content['schema']!r} is unknown")
    files = {str(name): str(digest) for name, digest in content["files"].items()}
    for name in files:
        if not FILE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a file name")
    missing = [name for name in REQUIRED_FILES if name not in files]
    if missing:
        raise ValueError(f"no digest for {', '.join(missing)}")
    languages = content.get("languages", sorted(DEFAULT_LANGUAGES))
    if not isinstance(languages, list) or not languages or not all(isinstance(each, str) for each in languages):
        raise ValueError("languages are no list of codes")
    weights = content.get("source", {}).get("weights_sha256")
    examples = content["fine_tuned"]["examples"] if "fine_tuned" in content else None
    prefix = content.get("prefix", "")
    if not isinstance(prefix, str):
        raise ValueError("the prefix is no text")
    known, sizes = frozenset(languages), (int(content["dimensions"]), int(content["max_tokens"]))
    return Manifest(str(content["name"]), *sizes, files, known, weights, examples, prefix)
