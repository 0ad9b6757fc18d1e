"""Where the model of a training is kept, which asks for digests only and loads no encoder."""

from __future__ import annotations

from pathlib import Path

from embeddings.digests import digest_of
from embeddings.errors import EmbeddingsError

DESCRIPTION = "model.json"
# Part of the cache key: raise it whenever the same examples would give another model.
TRAINING_VERSION = 9


def directory_name(digest: str) -> str:
    return digest.removeprefix("sha256:")


def inputs_digest(examples_digest: str, encoder_digest: str) -> str:
    """Of all that a training depends on. The model itself may differ by a rounding between two kinds of processors, this does not."""
    return digest_of({"examples": examples_digest, "encoder": encoder_digest, "training_version": TRAINING_VERSION})


def training_folder(cache: Path, examples_digest: str, encoder_digest: str) -> Path:
    """In `cache`; it holds the one model that came of these inputs, once there is one."""
    return cache / directory_name(inputs_digest(examples_digest, encoder_digest))[:32]


def kept_model(folder: Path) -> Path | None:
    """The one model in `folder`, unread; None where there is none. Raises EmbeddingsError for several."""
    found = [path for path in folder.glob("[0-9a-f]*") if path.is_dir()]
    if len(found) > 1:
        raise EmbeddingsError("model_altered", f"{folder} holds several models for one training; delete it.")
    return found[0] if found else None


def beside(encoder_model: Path) -> Path:
    """The folder of the static model that goes with an encoder's model."""
    return encoder_model.with_name(f"{encoder_model.name}.static")


def is_kept(model: Path) -> bool:
    """Whether `model` was moved into its place, unread."""
    return (model / DESCRIPTION).is_file()
