"""The static tier's table is taught by the examples: better for them, the same each time, and blind to what is held out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings import storage
from embeddings.errors import EmbeddingsError
from embeddings.examples import TrainingSet, training_set
from embeddings.fitting import Fitted, embedding_of, fit
from embeddings.hashing_encoder import HashingEncoder
from embeddings.material import Frozen, Lesson, texts_of
from embeddings.minilm import minilm_directory
from embeddings.model import IntentModel
from embeddings.static_encoder import StaticEncoder
from embeddings.token_learning import SCALE, TaughtTable, _gradients, _kept, learn
from embeddings.token_rows import TokenRows
from embeddings.train import silent

HALDEN = Path(__file__).parents[3] / "examples" / "halden" / "utterances"


@pytest.fixture(scope="module")
def table() -> StaticEncoder:
    return StaticEncoder(minilm_directory())


def examples(intents: int | None = None, outside: int | None = None) -> TrainingSet:
    """Of so many intents and texts that none covers, or of all."""
    files = sorted(path for path in HALDEN.glob("*.txt") if path.stem != "out_of_scope")
    texts = {path.stem: tuple(path.read_text("utf-8").splitlines()) for path in files[:intents]}
    return training_set(texts, tuple((HALDEN / "out_of_scope.txt").read_text("utf-8").splitlines()[:outside]))


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return examples()


@pytest.fixture(scope="module")
def taught(table: StaticEncoder, data: TrainingSet) -> Fitted:
    return fit(data, embedding_of(table), silent)


def loss(sums: NDArray[np.float64], classes: NDArray[np.float64], labels: NDArray[np.intp]) -> float:
    cosines = (sums / np.linalg.norm(sums, axis=1, keepdims=True)) @ (classes / np.linalg.norm(classes, axis=1, keepdims=True)).T
    scores = SCALE * cosines
    return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels]))


def slopes(of: Callable[[], float], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """By differences."""
    found = np.empty_like(values)
    for place in np.ndindex(values.shape):
        kept = values[place]
        values[place] = kept + 1e-5
        above = of()
        values[place] = kept - 1e-5
        found[place] = (above - of()) / 2e-5
        values[place] = kept
    return found


def test_it_goes_down_the_loss_that_is_meant() -> None:
    """The gradients are those of the cross-entropy over cosines, for texts and for classes."""
    random = np.random.default_rng(7)
    sums, classes, labels = random.normal(size=(5, 4)), random.normal(size=(3, 4)), np.array([0, 2, 1, 1, 0])
    by_sums, by_classes = _gradients(sums, classes, labels)
    np.testing.assert_allclose(by_sums, slopes(lambda: loss(sums, classes, labels), sums), atol=1e-5)
    np.testing.assert_allclose(by_classes, slopes(lambda: loss(sums, classes, labels), classes), atol=1e-5)


def test_a_text_never_loses_all_its_tokens() -> None:
    """One of a single token keeps it each time; of longer ones some are dropped."""
    random = np.random.default_rng(0)
    texts = [np.array([3]), np.array([1, 2, 3, 4, 5, 6, 7, 8])]
    counts = [_kept(texts, random)[1].sum(axis=1) for _ in range(50)]
    assert {float(each[0]) for each in counts} == {1.0}
    assert {float(each[1]) for each in counts} > {4.0, 5.0}


def test_held_out_texts_are_answered_better(table: StaticEncoder, data: TrainingSet, taught: Fitted) -> None:
    """Than by the distilled table, by heads that are cross-validated alike."""
    before = fit(data, Frozen(table), silent)
    assert taught.artefact.rows is not None
    assert taught.artefact.report["held_out_accuracy"] > before.artefact.report["held_out_accuracy"]


def test_the_same_examples_teach_the_same(table: StaticEncoder) -> None:
    """To the last bit, also beginning from an encoder that was taught before."""
    few = examples(6, 40)
    once = fit(few, embedding_of(table), silent)
    again = fit(few, embedding_of(once.encoder), silent)
    assert once.artefact.rows is not None
    assert once.artefact.digest == again.artefact.digest


def test_what_is_held_out_is_not_learnt_from(table: StaticEncoder) -> None:
    """A lesson's table keeps the distilled vectors of tokens that only other texts have."""
    data = training_set({"one": ("cancel payment", "cancel invoice", "zebra"), "two": ("print page", "print letter", "print file")}, ())
    texts = texts_of(data)
    seen = np.array(["zebra" not in text for text in texts.texts])
    _, (whole, part) = TaughtTable(table).encode(
        texts, [Lesson(np.ones(len(seen), bool), np.ones(0, bool)), Lesson(seen, np.ones(0, bool))], silent
    )
    row = texts.texts.index("zebra")
    np.testing.assert_allclose(part.vectors[row], table.encode_one("zebra"), atol=1e-3)
    assert float(whole.vectors[row] @ table.encode_one("zebra")) < 0.999


def test_a_taught_model_is_loaded_as_it_was_saved(table: StaticEncoder, taught: Fitted, tmp_path: Path) -> None:
    """On the encoder as it was distilled: what was learnt of tokens comes with the model."""
    model = IntentModel(table, taught.artefact)
    loaded = IntentModel.load(model.save(tmp_path), table)
    assert loaded.predict("please cancel payment 4711").candidates == model.predict("please cancel payment 4711").candidates
    assert not np.array_equal(loaded.encoder.encode_one("cancel"), table.encode_one("cancel"))


def test_altered_rows_are_refused(table: StaticEncoder, taught: Fitted, tmp_path: Path) -> None:
    """They are part of the model's digest."""
    path = IntentModel(table, taught.artefact).save(tmp_path)
    with np.load(path / storage.ARRAYS) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["tokens.vectors"][0, 0] += 1
    np.savez(path / storage.ARRAYS, allow_pickle=False, **arrays)
    with pytest.raises(EmbeddingsError) as caught:
        storage.load(path)
    assert caught.value.code == "model_altered"


@pytest.mark.parametrize(
    "rows",
    [
        TokenRows(np.array([40_000], np.int32), np.zeros((1, 256), np.float16)),
        TokenRows(np.array([-1], np.int32), np.zeros((1, 256), np.float16)),
        TokenRows(np.array([5], np.int32), np.zeros((1, 32), np.float16)),
        TokenRows(np.array([5], np.int32), np.zeros((2, 256), np.float16)),
    ],
    ids=["beyond", "negative", "narrow", "many"],
)
def test_rows_of_another_table_are_refused(table: StaticEncoder, rows: TokenRows) -> None:
    """By one sentence, before any text is asked about."""
    with pytest.raises(EmbeddingsError, match="not for this encoder's table"):
        table.taught(rows)


def test_rows_for_an_encoder_without_a_table_are_refused(model: IntentModel) -> None:
    """It has no tokens to learn of."""
    artefact = model.artefact
    with_rows = type(artefact)(
        **{name: getattr(artefact, name) for name in artefact.__dataclass_fields__ if name != "rows"},
        rows=TokenRows(np.zeros(0, np.int32), np.zeros((0, 64), np.float16)),
    )
    with pytest.raises(EmbeddingsError, match="no table for them"):
        IntentModel(HashingEncoder(), with_rows)


def test_few_texts_are_seen_more_often(table: StaticEncoder) -> None:
    """So that a handful of examples moves their rows as well, and far enough to tell two classes apart."""
    texts = [table.tokens(text) for text in ("stop the transfer", "halt the transfer", "book the transfer", "enter the transfer")]
    labels = np.array([0, 0, 1, 1])
    taught = table.taught(learn(table, texts, labels))
    before, after = (float(each.encode_one("stop the transfer") @ each.encode_one("book the transfer")) for each in (table, taught))
    assert after < before
