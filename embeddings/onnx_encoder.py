from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

# Read when the library is loaded: without it onnxruntime keeps a telemetry database below the home directory.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors

from embeddings.errors import EmbeddingsError
from embeddings.manifest import Manifest, read_manifest, verify
from embeddings.numeric import stacked
from embeddings.ports import Matrix, Vector
from embeddings.text import bounded
from embeddings.tokens import Tokens

# No ordinary text has sixteen characters a token; beyond this a text is not even tokenised.
CHARACTERS_PER_TOKEN = 16
SESSION_ERRORS = (onnx_errors.Fail, onnx_errors.InvalidArgument, onnx_errors.InvalidGraph, onnx_errors.InvalidProtobuf)


class OnnxEncoder:
    """A directory with `manifest.json`, `model.onnx` (input_ids to one unit vector a text) and `tokenizer.json`.

    Every file's digest is checked before it is used; `expected_digest` also pins the whole (see `digest`).
    """

    def __init__(self, directory: Path, *, threads: int = 1, expected_digest: str | None = None) -> None:
        manifest = read_manifest(directory)
        _require_expected(directory, manifest, expected_digest)
        verify(directory, manifest)
        self.name = manifest.name
        self.additive = False
        self.languages = manifest.languages
        self.digest = manifest.digest
        self.dimensions = manifest.dimensions
        self.max_tokens = manifest.max_tokens
        self.bytes = (directory / "model.onnx").stat().st_size
        self._prefix = manifest.prefix
        self._max_characters = manifest.max_tokens * CHARACTERS_PER_TOKEN
        self._tokens = Tokens.of(directory, manifest)
        self.words = self._tokens.words
        self._session = _session(directory / "model.onnx", threads)
        self._outputs = [value.name for value in self._session.get_outputs()][:1]
        self._require_shape(directory)

    def __repr__(self) -> str:
        return f"OnnxEncoder({self.name}, {self.digest[:19]})"

    def encode(self, texts: Sequence[str]) -> Matrix:
        # One at a time: dynamic int8 takes its scale from the whole batch, and batches are no faster on one core.
        return stacked(self.encode_one, texts, self.dimensions)

    def encode_one(self, text: str) -> Vector:
        return self.forward(np.array([self.token_ids(text)], dtype=np.int64))

    def token_ids(self, text: str) -> list[int]:
        """At most `max_tokens` ids, the special ones and the prefix included; unpadded."""
        ids: list[int] = self._tokens.tokenizer.encode(self._prefix + bounded(text, self._max_characters)).ids
        return ids

    def forward(self, input_ids: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> Vector:
        """The bare model: ids of shape (1, tokens) to a vector."""
        vector: Vector = self._session.run(self._outputs, {"input_ids": input_ids})[0][0]
        return vector

    def _require_shape(self, directory: Path) -> None:
        inputs = [value.name for value in self._session.get_inputs()]
        if inputs != ["input_ids"]:
            raise EmbeddingsError("encoder_shape", f"{directory}: the model must take input_ids alone, not {inputs}.")
        vector = self.encode_one("a")
        if vector.shape != (self.dimensions,) or abs(float(np.linalg.norm(vector)) - 1.0) > 1e-3:
            raise EmbeddingsError("encoder_shape", f"{directory}: the model must give one unit vector of {self.dimensions} numbers a text.")


def _require_expected(directory: Path, manifest: Manifest, expected: str | None) -> None:
    if expected is not None and manifest.digest != expected:
        raise EmbeddingsError("encoder_digest", f"{directory}: the encoder has digest {manifest.digest}, {expected} is wanted.")


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # By path: given bytes, the session would keep a second copy of the model.
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Idle threads that spin would take the other workers' cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except SESSION_ERRORS as error:
        raise EmbeddingsError("encoder_model", f"{path} cannot be loaded: {error}.") from error
