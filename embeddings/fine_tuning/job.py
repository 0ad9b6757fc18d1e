"""One fine-tuning, in a process of its own: PyTorch computes on one thread there, so that the weights do not depend on the cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing import parent_process
from multiprocessing.queues import Queue
from pathlib import Path
from threading import Thread

# Read when PyTorch is loaded. Batches have a thousand shapes, and it would keep what it prepared for each: gigabytes, and no faster.
os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = "0"

import torch
from safetensors.torch import load
from tokenizers import Tokenizer

from embeddings.fine_tuning import learning
from embeddings.fine_tuning.bert import Bert
from embeddings.fine_tuning.export import export
from embeddings.fine_tuning.learning import Settings
from embeddings.float_model import FloatModel
from embeddings.int8 import bert_shape
from embeddings.onnx_encoder import OnnxEncoder
from embeddings.ports import Matrix

# Beyond this a text costs much to learn from and says little more.
MAX_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Job:
    """`texts` with their `labels` are learnt from; what the tuned encoder makes of `encode` is given back. `examples` is the digest of the
    training set it is for; the encoder goes below `directory`."""

    number: int
    texts: tuple[str, ...]
    labels: tuple[int, ...]
    encode: tuple[str, ...]
    settings: Settings
    examples: str
    directory: Path


@dataclass(frozen=True, slots=True)
class Done:
    directory: Path
    vectors: Matrix


_state: dict[str, object] = {}


def prepare(source: FloatModel, base: Path, told: Queue[tuple[int, int]]) -> None:
    """Once in each process, which ends with the one that started it, however that ended."""
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _state.update(source=source, base=base, told=told)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def run(job: Job) -> Done:
    """Raises EmbeddingsError where the encoder cannot be written."""
    source, base, told = _state["source"], _state["base"], _state["told"]
    assert isinstance(source, FloatModel)
    assert isinstance(base, Path)
    assert isinstance(told, Queue)
    model = _tuned(job, source, lambda done: told.put((job.number, done)))
    weights = {"examples": job.examples, "settings": asdict(job.settings), "torch": str(torch.__version__)}
    directory = export(model, source, base, job.directory, weights)
    return Done(directory, OnnxEncoder(directory).encode(job.encode))


def _tuned(job: Job, source: FloatModel, told: Callable[[int], None]) -> Bert:
    tokenizer = Tokenizer.from_str(source.tokenizer.decode())
    tokenizer.enable_truncation(max_length=MAX_TOKENS)
    ids = [tokenizer.encode(text).ids for text in job.texts]
    model = Bert(load(source.weights), bert_shape(source.config), job.settings.dropout)
    learning.fine_tune(model, ids, job.labels, job.settings, told)
    return model
