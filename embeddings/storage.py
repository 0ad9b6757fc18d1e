"""Artefacts on disk: one directory named by its digest, `model.json` and `arrays.npz`; never pickle."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.artefact import SCHEMA, Artefact, Calibration
from embeddings.errors import EmbeddingsError
from embeddings.head import LinearHead
from embeddings.index import ExampleIndex
from embeddings.kept import DESCRIPTION, directory_name
from embeddings.scope import FEATURES, ScopeGate
from embeddings.token_rows import TokenRows

ARRAYS = "arrays.npz"
MOST_SAID = 200  # characters of an error


def save(artefact: Artefact, directory: Path) -> Path:
    """Writes `directory`/<digest> and returns it. A crash leaves no half model: it is made aside and renamed into place."""
    target = directory / directory_name(artefact.digest)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".partial-", dir=directory))
        try:
            _write(artefact, aside)
            _move(aside, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise EmbeddingsError("model_unwritable", f"{target} cannot be written: {error.strerror}.") from error
    return target


def _write(artefact: Artefact, folder: Path) -> None:
    np.savez(folder / ARRAYS, allow_pickle=False, **artefact.arrays())
    (folder / DESCRIPTION).write_text(json.dumps(artefact.description(), indent=2) + "\n", encoding="utf-8")


def _move(aside: Path, target: Path) -> None:
    try:
        aside.chmod(0o755)
        aside.rename(target)
    except OSError:
        # Another process saved the same content first; its name is its digest, so it is the same.
        if not (target / DESCRIPTION).is_file():
            raise


def load(path: Path) -> Artefact:
    """The artefact in `path`, whose name is its digest; refuses one that does not have it."""
    try:
        artefact = _read(path)
    except OSError as error:
        raise EmbeddingsError("model_missing", f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise EmbeddingsError(
            "model_altered", f"{path} is not a model as it was saved ({_said(error)}); delete it to train anew."
        ) from error
    if directory_name(artefact.digest) != path.name:
        raise EmbeddingsError("model_altered", f"{path} does not have the digest it is named by; it was altered, delete it to train anew.")
    return artefact


def _said(error: Exception) -> str:
    """Never what is in the file, which some errors carry whole."""
    return f"{type(error).__name__}: {str(error)[:MOST_SAID]}"


def _read(path: Path) -> Artefact:
    description: dict[str, Any] = json.loads((path / DESCRIPTION).read_bytes())
    if description["schema"] != SCHEMA:
        raise ValueError(f"schema {description['schema']!r} is unknown")
    with np.load(path / ARRAYS, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    artefact = Artefact(
        head=LinearHead(arrays["head.weights"], arrays["head.bias"], tuple(description["intents"])),
        index=ExampleIndex(arrays["index.vectors"], arrays["index.offsets"].astype(np.intp)),
        calibration=_calibration(description["calibration"], arrays),
        encoder_digest=description["encoder_digest"],
        examples_digest=description["examples_digest"],
        words=description["words"],
        report=description["report"],
        rows=TokenRows(arrays["tokens.ids"], arrays["tokens.vectors"]) if "tokens.ids" in arrays else None,
    )
    if artefact.description() != description:
        raise ValueError("its arrays do not have the digests it states")
    return artefact


def _calibration(settings: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Calibration:
    coefficients = tuple(settings["gate"]["coefficients"])
    if len(coefficients) != len(FEATURES):
        raise ValueError(f"the gate has {len(coefficients)} coefficients, {len(FEATURES)} are wanted")
    gate = ScopeGate(coefficients, settings["gate"]["intercept"])
    return Calibration(
        temperature=settings["temperature"],
        gate=gate,
        confidences=arrays["held_out.confidences"],
        correct=arrays["held_out.correct"],
        rows=arrays["held_out.rows"].astype(np.intp),
        right=arrays["held_out.right"],
        in_scope=arrays["held_out.in_scope"],
        places=arrays["held_out.places"].astype(np.intp),
        outside=arrays["held_out.outside"],
        outside_confidences=arrays["held_out.outside_confidences"],
        mixed=arrays["held_out.mixed"],
        mixed_confidences=arrays["held_out.mixed_confidences"],
        scope_point=settings["scope_point"],
        given=settings["outside_given"],
    )
