"""A tuned model as an encoder directory that serving loads like any other."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save

from embeddings import int8
from embeddings.errors import EmbeddingsError
from embeddings.fine_tuning.bert import Bert
from embeddings.float_model import FloatModel
from embeddings.kept import directory_name
from embeddings.manifest import TABLE, read_manifest

# Tuned vectors lie further apart, so int8 moves them a little more; heads are trained on what int8 gives. Below this something is broken.
MINIMUM_COSINE = 0.97


def export(model: Bert, source: FloatModel, base: Path, directory: Path, told: Mapping[str, Any]) -> Path:
    """Writes `directory`/<digest of the encoder>, all or nothing, and returns it. `base` is the encoder directory it descends from, whose
    token table goes along; `told` becomes the manifest's `fine_tuned`. Raises EmbeddingsError."""
    directory.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".partial-", dir=directory))
    try:
        _write(model, source, base, aside, told)
        target = directory / directory_name(read_manifest(aside).digest)
        aside.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)  # the same encoder, from an earlier training
        aside.rename(target)
        return target
    except OSError as error:
        raise EmbeddingsError("encoder_unwritable", f"{directory} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(model: Bert, source: FloatModel, base: Path, folder: Path, told: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".float-") as work:
        plain = Path(work, "float.onnx")
        int8.write_float_model(replace(source, weights=save(model.published())), plain)
        int8.quantise(plain, folder / "model.onnx")
        int8.verify(plain, folder / "model.onnx", source.tokenizer, MINIMUM_COSINE)
    (folder / "tokenizer.json").write_bytes(source.tokenizer)
    for name in (TABLE, "LICENSE", "NOTICE"):
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    described = json.loads((base / "manifest.json").read_bytes())
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    manifest = {**described, "name": f"{described['name']}, fine-tuned", "files": files, "fine_tuned": dict(told)}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
