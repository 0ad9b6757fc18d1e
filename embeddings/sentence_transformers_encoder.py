"""Any sentence-transformers model, by hub name or directory; needs the extra, which brings PyTorch with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from embeddings.digests import digest_of
from embeddings.errors import EmbeddingsError
from embeddings.manifest import DEFAULT_LANGUAGES
from embeddings.ports import Matrix, Vector
from embeddings.text import bounded

CHARACTERS_PER_TOKEN = 16
# For models that state no bound of their own.
DEFAULT_MAX_TOKENS = 512


class SentenceTransformersEncoder:
    """`model`: a directory, or a hub name that is downloaded at first use, with the `revision` there. Code that comes with a model is
    never run."""

    def __init__(self, model: str, *, revision: str | None = None, device: str = "cpu", expected_digest: str | None = None) -> None:
        self._model = _load(model, revision, device)
        self._one_at_a_time = Lock()  # its tokenizer is changed while it is used
        self.max_tokens = int(self._model.get_max_seq_length() or DEFAULT_MAX_TOKENS)
        self.digest = _digest(self._model, self.max_tokens)
        if expected_digest is not None and expected_digest != self.digest:
            raise EmbeddingsError("encoder_digest", f"{model}: the encoder has digest {self.digest}, {expected_digest} is wanted.")
        self.additive = False
        self.words: frozenset[str] = frozenset()
        self.languages = DEFAULT_LANGUAGES  # models do not say it in a form that can be relied on
        self.dimensions = len(self.encode_one("a"))

    def encode(self, texts: Sequence[str]) -> Matrix:
        if not texts:
            return np.empty((0, self.dimensions), dtype=np.float32)
        limit = self.max_tokens * CHARACTERS_PER_TOKEN
        cut = [bounded(text, limit) for text in texts]
        with self._one_at_a_time:  # and one text at a time, so that a vector does not depend on its batch
            rows = self._model.encode(cut, batch_size=1, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(rows, dtype=np.float32)

    def encode_one(self, text: str) -> Vector:
        vector: Vector = self.encode([text])[0]
        return vector


def _load(model: str, revision: str | None, device: str) -> Any:
    try:
        library = import_module("sentence_transformers")
        import_module("transformers").utils.logging.disable_progress_bar()
    except ImportError as error:
        raise EmbeddingsError(
            "extra_missing",
            f"Encoder {model!r} needs sentence-transformers: install the extra `lockgate[sentence-transformers]`.",
        ) from error
    try:
        return library.SentenceTransformer(model, revision=revision, local_files_only=Path(model).is_dir(), device=device)
    except Exception as error:  # its libraries raise what they like where a file is not what it should be
        reason = str(error).strip().splitlines()[:1]
        raise EmbeddingsError(
            "encoder_missing", f"Encoder {model!r} cannot be loaded: {' '.join(reason) or type(error).__name__}"
        ) from error


def _digest(model: Any, max_tokens: int) -> str:
    """Over what was loaded, wherever it came from: the weights as float32, how a text becomes tokens, what is made of their vectors, and
    what is put before every text."""
    weights = {name: _tensor_digest(tensor) for name, tensor in model.state_dict().items()}
    vocabulary = digest_of(model.tokenizer.get_vocab())
    after = [[type(module).__name__, module.get_config_dict()] for module in list(model)[1:]]
    prompt = model.prompts.get(model.default_prompt_name)
    parts = {"weights": weights, "vocabulary": vocabulary, "tokenizer": _rules(model.tokenizer), "lower": model[0].do_lower_case}
    return digest_of({**parts, "max_tokens": max_tokens, "after": after, "prompt": prompt})


def _rules(tokenizer: Any) -> dict[str, Any]:
    """How a text is changed and cut; what it is cut to and filled up with belongs to the call that asked last."""
    known = getattr(tokenizer, "backend_tokenizer", None)
    if known is None:  # one that is written in Python
        return {"class": type(tokenizer).__name__, "settings": repr(sorted(tokenizer.init_kwargs.items()))}
    rules: dict[str, Any] = json.loads(known.to_str())
    return {name: value for name, value in rules.items() if name not in ("truncation", "padding")}


def _tensor_digest(tensor: Any) -> str:
    array = tensor.float().cpu().contiguous().numpy()
    return hashlib.sha256(f"{array.shape}".encode() + array.tobytes()).hexdigest()
