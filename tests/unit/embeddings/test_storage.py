import json
from pathlib import Path

import numpy as np
import pytest

from embeddings.errors import EmbeddingsError
from embeddings.hashing_encoder import HashingEncoder
from embeddings.model import IntentModel


@pytest.fixture
def saved(model: IntentModel, tmp_path: Path) -> Path:
    return model.save(tmp_path)


def refused(path: Path) -> str:
    with pytest.raises(EmbeddingsError) as caught:
        IntentModel.load(path, HashingEncoder())
    assert "\n" not in caught.value.message
    return caught.value.code


def test_what_is_loaded_predicts_the_same(model: IntentModel, saved: Path) -> None:
    """Saved and loaded, a model has the same digests and predictions."""
    loaded = IntentModel.load(saved, HashingEncoder())
    assert loaded.digest == model.digest
    assert loaded.calibration_digest == model.calibration_digest
    assert loaded.report == model.report
    assert loaded.predict("track my transfer").candidates == model.predict("track my transfer").candidates
    assert loaded.threshold_for(0.1) == model.threshold_for(0.1)


def test_the_directory_is_named_by_the_digest(model: IntentModel, saved: Path) -> None:
    """Content-addressed, and nothing else is left beside it."""
    assert saved.name == model.digest.removeprefix("sha256:")
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_saving_again_changes_nothing(model: IntentModel, saved: Path) -> None:
    """A second save of the same content finds it there."""
    before = (saved / "arrays.npz").stat().st_mtime_ns
    assert model.save(saved.parent) == saved
    assert (saved / "arrays.npz").stat().st_mtime_ns == before


def test_files_are_the_same_bytes_every_time(model: IntentModel, saved: Path, tmp_path: Path) -> None:
    """Two saves of one model are byte for byte the same."""
    again = model.save(tmp_path / "again")
    for name in ("arrays.npz", "model.json"):
        assert (again / name).read_bytes() == (saved / name).read_bytes()


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_a_flipped_byte_is_refused(saved: Path, position: float) -> None:
    """Any altered array is found."""
    content = bytearray((saved / "arrays.npz").read_bytes())
    content[int(len(content) * position)] ^= 1
    (saved / "arrays.npz").write_bytes(content)
    assert refused(saved) == "model_altered"


def test_altered_arrays_in_a_sound_file_are_refused(saved: Path) -> None:
    """Arrays rewritten properly still do not have the digests stated."""
    with np.load(saved / "arrays.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["head.bias"] = arrays["head.bias"] + np.float32(0.1)
    np.savez(saved / "arrays.npz", allow_pickle=False, **arrays)
    assert refused(saved) == "model_altered"


@pytest.mark.parametrize("change", [{"schema": 1}, {"calibration": None}, {"intents": ["x"]}, {"report": {}}, {"words": {}}])
def test_an_altered_description_is_refused(saved: Path, change: dict[str, object]) -> None:
    """Every field of model.json is covered by the digest."""
    description = json.loads((saved / "model.json").read_text())
    (saved / "model.json").write_text(json.dumps({**description, **change}))
    assert refused(saved) == "model_altered"


def test_a_refusal_says_what_to_do_and_nothing_of_the_content(saved: Path) -> None:
    """Some errors carry the whole text that could not be read, which is thousands of words of somebody's catalog."""
    description = (saved / "model.json").read_bytes()
    (saved / "model.json").write_bytes(description[:-40] + b"\xdf" + description[-40:])
    with pytest.raises(EmbeddingsError) as caught:
        IntentModel.load(saved, HashingEncoder())
    assert "UnicodeDecodeError" in str(caught.value)
    assert "delete it to train anew" in str(caught.value)
    assert len(str(caught.value)) < len(str(saved)) + 300


def test_pickled_arrays_are_refused(saved: Path) -> None:
    """An object array would have to be unpickled; it is not."""
    np.savez(saved / "arrays.npz", allow_pickle=True, **{"head.weights": np.array([{"a": 1}], dtype=object)})
    assert refused(saved) == "model_altered"


@pytest.mark.parametrize("name", ["arrays.npz", "model.json"])
def test_missing_and_empty_files_are_refused(saved: Path, name: str) -> None:
    """A file that is empty was altered, one that is gone is missing."""
    (saved / name).write_bytes(b"")
    assert refused(saved) == "model_altered"
    (saved / name).unlink()
    assert refused(saved) == "model_missing"


def test_a_model_for_another_encoder_is_refused(saved: Path) -> None:
    """Loading checks the encoder's digest."""
    with pytest.raises(EmbeddingsError) as caught:
        IntentModel.load(saved, HashingEncoder(dimensions=64))
    assert caught.value.code == "encoder_digest"


def test_a_place_that_cannot_be_written_is_one_sentence(model: IntentModel, tmp_path: Path) -> None:
    """A file where the directory should be gives a named error."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(EmbeddingsError, match="cannot be written") as caught:
        model.save(tmp_path / "taken")
    assert caught.value.code == "model_unwritable"
