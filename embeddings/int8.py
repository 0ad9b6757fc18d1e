"""From float weights to an int8 ONNX file, and the check that quantising did not change what sentences mean."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load
from tokenizers import Tokenizer

from embeddings.bert_graph import BertShape, bert_model
from embeddings.errors import EmbeddingsError
from embeddings.float_model import FloatModel

CHECK_SENTENCES = (
    "please cancel the payment of 40 euros I made yesterday",
    "how do I reset my password for the vpn client",
    "what is the weather like in Lisbon",
    "My laptop's screen stays black after the last update, could the service desk have a look at it today?",
    "book five days of annual leave from the 3rd of March",
)


def write_float_model(source: FloatModel, path: Path) -> None:
    """Raises EmbeddingsError for a model that the graph is not written for."""
    onnx.save(bert_model(load(source.weights), bert_shape(source.config)), str(path))


def bert_shape(config: dict[str, object]) -> BertShape:
    expected = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    for key, value in expected.items():
        if config.get(key) != value:
            raise EmbeddingsError("encoder_shape", f"config.json: {key} is {config.get(key)!r}, the graph is written for {value!r}.")
    return BertShape(
        layers=int(str(config["num_hidden_layers"])),
        hidden=int(str(config["hidden_size"])),
        heads=int(str(config["num_attention_heads"])),
        layer_norm_epsilon=float(str(config["layer_norm_eps"])),
    )


def quantise(float_model: Path, int8_model: Path) -> None:
    """Weights of seven bits: two products of eight and eight overflow the sixteen bits in which processors with AVX2 and without VNNI add
    them up, and the same text would have other vectors there (ADR 87)."""
    # The quantiser advises a pre-processing step through the root logger; the graph written here has no need of it.
    logging.getLogger().setLevel(logging.ERROR)
    quantize_dynamic(float_model, int8_model, per_channel=True, weight_type=QuantType.QInt8, reduce_range=True)


def verify(float_model: Path, int8_model: Path, tokenizer: bytes, minimum: float, sentences: Sequence[str] = CHECK_SENTENCES) -> float:
    """The lowest cosine between float and int8 vectors of the sentences. Raises EmbeddingsError below `minimum`."""
    parser = Tokenizer.from_str(tokenizer.decode())
    inputs = [np.asarray([parser.encode(text).ids], dtype=np.int64) for text in sentences]
    expected, found = _vectors(float_model, inputs), _vectors(int8_model, inputs)
    lowest = float(np.min(np.sum(expected * found, axis=1)))
    if lowest < minimum:
        raise EmbeddingsError("encoder_int8", f"int8 vectors differ from float ones: cosine {lowest:.4f}, at least {minimum} needed.")
    return lowest


def _vectors(model: Path, inputs: list[NDArray[np.int64]]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input_ids": ids})[0] for ids in inputs])
