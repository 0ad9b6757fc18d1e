import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from embeddings.errors import EmbeddingsError
from embeddings.hashing_encoder import HashingEncoder
from embeddings.ports import Matrix
from embeddings.train import load_or_train, train

Catalog = dict[str, tuple[str, ...]]


class UnusedEncoder(HashingEncoder):
    """Fails the test when anything is encoded."""

    def encode(self, texts: Sequence[str]) -> Matrix:
        raise AssertionError(f"encoded {len(texts)} texts although a model was cached")


@pytest.mark.parametrize(
    ("examples", "code"),
    [
        ({}, "too_few_intents"),
        ({"only": ("a", "b", "c")}, "too_few_intents"),
        ({"one": ("a", "b"), "two": ()}, "no_examples"),
        ({"one": ("a",), "two": ("b",)}, "too_few_examples"),
        ({"one": ("a", "a"), "two": ("b", "c")}, "too_few_examples"),
    ],
)
def test_examples_no_model_can_come_of(examples: Catalog, code: str) -> None:
    """A catalog that is too small gets one sentence, and a repeated text counts once."""
    with pytest.raises(EmbeddingsError) as caught:
        train(examples, (), HashingEncoder())
    assert caught.value.code == code
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "examples",
    [
        {"one": ("pay it", "pay now"), "two": ("reset it", "reset now")},
        {"one": ("pay it", "pay now"), "two": ("reset it", "reset now"), "three": ("leave",)},
        {"one": ("same", "other"), "two": ("same", "another")},
        {f"intent {number}": (f"a{number}", f"b{number}") for number in range(7)},
        {"big": tuple(f"pay invoice {number}" for number in range(300)), "small": ("reset it", "reset now")},
    ],
    ids=["two by two", "a single example", "shared text", "seven by two", "lopsided"],
)
def test_small_catalogs_get_a_working_model(examples: Catalog) -> None:
    """Few examples give a model that predicts and is not certain of anything strange."""
    model = train(examples, (), HashingEncoder())
    prediction = model.predict("entirely unrelated words")
    assert prediction.candidates[0].intent in examples
    assert 0.0 < prediction.confidence < 1.0
    assert 0.0 <= prediction.scope <= 1.0


def test_background_texts_teach_scope(catalog: Catalog) -> None:
    """Texts given as out of scope lower the scope of texts like them, and not of known ones."""
    background = [f"tell me a joke about {animal} number {n}" for animal in ("cats", "dogs", "owls") for n in range(12)]
    model = train(catalog, background, HashingEncoder())
    assert model.predict("tell me a joke about fish").scope < 0.5 < model.predict("please reset my password").scope


def test_progress_names_each_step_and_finishes_it(catalog: Catalog) -> None:
    """Every step announces its total and reaches it."""
    last: dict[str, tuple[int, int]] = {}
    train(catalog, (), HashingEncoder(), lambda step, done, total: last.update({step: (done, total)}))
    assert list(last) == ["encode", "cross-validate", "head", "scope"]
    assert all(done == total for done, total in last.values())


def test_a_trained_model_is_found_again(catalog: Catalog, tmp_path: Path) -> None:
    """The second start neither encodes nor trains."""
    first = load_or_train(tmp_path, catalog, (), HashingEncoder())
    assert load_or_train(tmp_path, catalog, (), UnusedEncoder()).digest == first.digest


def test_changed_examples_are_trained_anew(catalog: Catalog, tmp_path: Path) -> None:
    """One more example is another model; the old one stays."""
    first = load_or_train(tmp_path, catalog, (), HashingEncoder())
    more = {**catalog, "people.leave": (*catalog["people.leave"], "off to the beach")}
    assert load_or_train(tmp_path, more, (), HashingEncoder()).digest != first.digest
    assert load_or_train(tmp_path, catalog, (), UnusedEncoder()).digest == first.digest


def test_an_altered_cache_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    """A cached model that was tampered with stops the start and says which directory."""
    load_or_train(tmp_path, catalog, (), HashingEncoder())
    description = next(tmp_path.rglob("model.json"))
    description.write_text(description.read_text().replace("it.laptop", "it.laptip"))
    with pytest.raises(EmbeddingsError, match=str(description.parent)) as caught:
        load_or_train(tmp_path, catalog, (), HashingEncoder())
    assert caught.value.code == "model_altered"


def test_a_half_written_model_is_ignored(catalog: Catalog, tmp_path: Path) -> None:
    """What a crash left behind while saving is not taken for a model."""
    first = load_or_train(tmp_path, catalog, (), HashingEncoder())
    folder = next(tmp_path.rglob("model.json")).parent.parent
    (folder / ".partial-crashed").mkdir()
    assert load_or_train(tmp_path, catalog, (), UnusedEncoder()).digest == first.digest


def test_serving_a_cached_model_needs_no_scipy(catalog: Catalog, tmp_path: Path) -> None:
    """A process that finds its model trained never loads what only training needs."""
    load_or_train(tmp_path, catalog, (), HashingEncoder())
    program = f"""
import sys
from pathlib import Path
from embeddings.hashing_encoder import HashingEncoder
from embeddings.train import load_or_train
load_or_train(Path({str(tmp_path)!r}), {catalog!r}, (), HashingEncoder()).predict("reset my password")
sys.exit("scipy" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
