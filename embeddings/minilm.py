from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from embeddings.errors import EmbeddingsError

if TYPE_CHECKING:
    from embeddings.onnx_encoder import OnnxEncoder

PACKAGE = "lockgate_minilm"


def minilm_directory(package: str = PACKAGE) -> Path:
    """Where the installed wheel has its files; found without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise EmbeddingsError("encoder_missing", "The encoder model is not installed: run `make model`, which builds and installs it.")
    return Path(spec.origin).parent


def load_minilm(*, threads: int = 1, expected_digest: str | None = None) -> OnnxEncoder:
    from embeddings.onnx_encoder import OnnxEncoder  # who only asks where the files are does not wait for what runs them

    return OnnxEncoder(minilm_directory(), threads=threads, expected_digest=expected_digest)
