"""The BERT encoder as an ONNX graph, written with onnx helpers from the weights alone (no PyTorch).

Input `input_ids` int64 (batch, tokens) without padding; output `sentence_embedding` float32 (batch, hidden),
L2-normalised. There is no attention mask: texts are encoded one at a time, because dynamic quantisation takes its
scale from the whole tensor and a text's vector must not depend on what it was batched with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 10

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class BertShape:
    layers: int
    hidden: int
    heads: int
    layer_norm_epsilon: float


class _Graph:
    """Nodes and initialisers in the order they are written; every value is named by its node."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def ints(self, name: str, *values: int) -> str:
        return self.constant(name, np.asarray(values, dtype=np.int64))

    def add(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def split(self, name: str, source: str, sizes: str, parts: tuple[str, ...]) -> tuple[str, ...]:
        outputs = [f"{name}.{part}" for part in parts]
        self.nodes.append(helper.make_node("Split", [source, sizes], outputs, name=name, axis=-1))
        return tuple(outputs)


def bert_model(weights: Weights, shape: BertShape) -> onnx.ModelProto:
    graph = _Graph()
    hidden = _embeddings(graph, weights, shape)
    graph.constant("head_shape", np.asarray([0, 0, shape.heads, shape.hidden // shape.heads], dtype=np.int64))
    graph.constant("merged_shape", np.asarray([0, 0, shape.hidden], dtype=np.int64))
    graph.ints("thirds", shape.hidden, shape.hidden, shape.hidden)
    graph.constant("sqrt_2", np.asarray(np.sqrt(2.0), dtype=np.float32))
    graph.constant("one", np.asarray(1.0, dtype=np.float32))
    graph.constant("half", np.asarray(0.5, dtype=np.float32))
    for index in range(shape.layers):
        hidden = _layer(graph, weights, shape, index, hidden)
    graph.add("ReduceMean", "mean", hidden, axes=[1], keepdims=0)
    graph.add("LpNormalization", "sentence_embedding", "mean", axis=-1, p=2)
    return _model(graph, shape)


def _embeddings(graph: _Graph, weights: Weights, shape: BertShape) -> str:
    # One segment only: its embedding is folded into the position table.
    positions = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    graph.constant("word_table", weights["embeddings.word_embeddings.weight"])
    graph.constant("position_table", positions)
    graph.add("Gather", "words", "word_table", "input_ids")
    graph.add("Shape", "token_count", "input_ids", start=1, end=2)
    graph.add("Slice", "positions", "position_table", graph.ints("zero", 0), "token_count", graph.ints("rows", 0))
    summed = graph.add("Add", "embedded", "words", "positions")
    return _layer_norm(graph, weights, shape, "embeddings.LayerNorm", summed)


def _layer(graph: _Graph, weights: Weights, shape: BertShape, index: int, hidden: str) -> str:
    prefix = f"encoder.layer.{index}"
    attended = _attention(graph, weights, shape, prefix, hidden)
    attended = _dense(graph, weights, f"{prefix}.attention.output.dense", attended)
    residual = graph.add("Add", f"{prefix}.attention.residual", attended, hidden)
    normed = _layer_norm(graph, weights, shape, f"{prefix}.attention.output.LayerNorm", residual)
    wide = _gelu(graph, prefix, _dense(graph, weights, f"{prefix}.intermediate.dense", normed))
    narrow = _dense(graph, weights, f"{prefix}.output.dense", wide)
    residual = graph.add("Add", f"{prefix}.output.residual", narrow, normed)
    return _layer_norm(graph, weights, shape, f"{prefix}.output.LayerNorm", residual)


def _attention(graph: _Graph, weights: Weights, shape: BertShape, prefix: str, hidden: str) -> str:
    matrix, bias = _query_key_value(weights, shape, f"{prefix}.attention.self")
    name = f"{prefix}.attention"
    projected = _affine(graph, f"{name}.qkv", matrix, bias, hidden)
    query, key, value = graph.split(f"{name}.split", projected, "thirds", ("query", "key", "value"))
    for part in (query, key, value):
        graph.add("Reshape", f"{part}.heads", part, "head_shape")
    graph.add("Transpose", f"{query}.t", f"{query}.heads", perm=[0, 2, 1, 3])
    graph.add("Transpose", f"{key}.t", f"{key}.heads", perm=[0, 2, 3, 1])
    graph.add("Transpose", f"{value}.t", f"{value}.heads", perm=[0, 2, 1, 3])
    graph.add("MatMul", f"{name}.scores", f"{query}.t", f"{key}.t")
    graph.add("Softmax", f"{name}.probabilities", f"{name}.scores", axis=-1)
    graph.add("MatMul", f"{name}.context", f"{name}.probabilities", f"{value}.t")
    graph.add("Transpose", f"{name}.context.t", f"{name}.context", perm=[0, 2, 1, 3])
    return graph.add("Reshape", f"{name}.merged", f"{name}.context.t", "merged_shape")


def _query_key_value(weights: Weights, shape: BertShape, prefix: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    # The 1/sqrt(head size) of scaled dot-product attention is folded into the query projection.
    scale = np.float32(1.0 / np.sqrt(shape.hidden // shape.heads))
    parts = [(f"{prefix}.query", scale), (f"{prefix}.key", np.float32(1)), (f"{prefix}.value", np.float32(1))]
    matrix = np.concatenate([weights[f"{name}.weight"].T * by for name, by in parts], axis=1)
    bias = np.concatenate([weights[f"{name}.bias"] * by for name, by in parts])
    return matrix, bias


def _dense(graph: _Graph, weights: Weights, name: str, source: str) -> str:
    return _affine(graph, name, weights[f"{name}.weight"].T, weights[f"{name}.bias"], source)


def _affine(graph: _Graph, name: str, matrix: NDArray[np.float32], bias: NDArray[np.float32], source: str) -> str:
    product = graph.add("MatMul", f"{name}.product", source, graph.constant(f"{name}.weight", matrix))
    return graph.add("Add", f"{name}.sum", product, graph.constant(f"{name}.bias", bias))


def _gelu(graph: _Graph, prefix: str, source: str) -> str:
    graph.add("Div", f"{prefix}.gelu.scaled", source, "sqrt_2")
    graph.add("Erf", f"{prefix}.gelu.erf", f"{prefix}.gelu.scaled")
    graph.add("Add", f"{prefix}.gelu.plus_one", f"{prefix}.gelu.erf", "one")
    graph.add("Mul", f"{prefix}.gelu.product", source, f"{prefix}.gelu.plus_one")
    return graph.add("Mul", f"{prefix}.gelu", f"{prefix}.gelu.product", "half")


def _layer_norm(graph: _Graph, weights: Weights, shape: BertShape, name: str, source: str) -> str:
    scale = graph.constant(f"{name}.scale", weights[f"{name}.weight"])
    shift = graph.constant(f"{name}.shift", weights[f"{name}.bias"])
    return graph.add("LayerNormalization", name, source, scale, shift, axis=-1, epsilon=shape.layer_norm_epsilon)


def _model(graph: _Graph, shape: BertShape) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])]
    outputs = [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", shape.hidden])]
    body = helper.make_graph(graph.nodes, "minilm", inputs, outputs, graph.constants)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(body, opset_imports=[opset], ir_version=IR_VERSION, producer_name="lockgate")
    onnx.checker.check_model(model)
    return model
