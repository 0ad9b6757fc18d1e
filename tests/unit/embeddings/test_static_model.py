"""The static tier's model beside the encoder's: made from the same examples, refused when altered, and switched off by not being there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.static_tier import UNSURE, StaticTier
from embeddings.errors import EmbeddingsError
from embeddings.kept import beside
from embeddings.minilm import load_minilm, minilm_directory
from embeddings.model import IntentModel
from embeddings.static_encoder import StaticEncoder
from embeddings.static_model import StaticModel, load_beside, pair, save_beside
from embeddings.train import train
from router.decision import Status

HALDEN = Path(__file__).parent.parent.parent.parent / "examples" / "halden" / "utterances"
INTENTS = ("cancel_payment", "leave_balance", "printer_problem", "reset_password", "employment_letter")


@pytest.fixture(scope="module")
def models() -> tuple[IntentModel, IntentModel]:
    examples = {name: tuple((HALDEN / f"{name}.txt").read_text("utf-8").splitlines()) for name in INTENTS}
    background = tuple((HALDEN / "out_of_scope.txt").read_text("utf-8").splitlines())
    return train(examples, background, StaticEncoder(minilm_directory())), train(examples, background, load_minilm())


@pytest.fixture(scope="module")
def static(models: tuple[IntentModel, IntentModel]) -> StaticModel:
    found = pair(*models)
    assert found is not None
    return found


async def test_what_is_plain_is_answered_and_what_is_not_is_left(static: StaticModel) -> None:
    """With the tier's name and digests on it; what is left has no intent."""
    tier = StaticTier(static, 0.9)
    plain = await tier.classify("please cancel the payment to the supplier")
    assert (plain.status, plain.intent, plain.tier) == (Status.CLASSIFIED, "cancel_payment", "static")
    assert plain.model_digest == static.model.digest
    left = await tier.classify("what is the capital of Australia")
    assert (left.status, left.intent, left.reason) == (Status.UNDETERMINED, None, UNSURE)
    assert {each.intent for each in left.candidates} <= set(INTENTS)
    assert left.threshold == static.acceptance.confidence
    assert left.confidence is not None
    assert left.scope is not None
    assert left.confidence < left.threshold or left.scope < static.acceptance.scope
    unread = await tier.classify("please cancel the payment or revoke the payment order")
    assert (unread.reason, unread.candidates) == (UNSURE, ())


async def test_without_enough_held_out_texts_for_the_coverage_it_gives_no_intent(static: StaticModel) -> None:
    """And says why; anything is plausible then."""
    found = await StaticTier(static, 0.9999).classify("please cancel the payment to the supplier")
    assert (found.status, found.intent, found.reason) == (Status.UNDETERMINED, None, "coverage_unproven")
    assert len(found.prediction_set) == len(INTENTS)


def test_slips_are_read_as_the_examples_words(models: tuple[IntentModel, IntentModel]) -> None:
    """By both tiers, so that a text with one is the same text to them."""
    for model in models:
        assert model.predict("pleese cnacel the paynent").candidates == model.predict("please cancel the payment").candidates


def test_the_pair_is_found_again(models: tuple[IntentModel, IntentModel], static: StaticModel, tmp_path: Path) -> None:
    """With the same acceptance, since it follows from both models."""
    first, encoder = models
    path = encoder.save(tmp_path)
    assert load_beside(path, encoder, StaticEncoder(minilm_directory())) is None
    (beside(path) / "0123").mkdir(parents=True)  # what another version left
    save_beside(path, first)
    found = load_beside(path, encoder, StaticEncoder(minilm_directory()))
    assert found is not None
    assert found.acceptance == static.acceptance


def test_an_altered_static_model_is_refused(models: tuple[IntentModel, IntentModel], tmp_path: Path) -> None:
    """As any other."""
    first, encoder = models
    path = encoder.save(tmp_path)
    description = first.save(beside(path)) / "model.json"
    content = json.loads(description.read_text())
    content["calibration"]["temperature"] *= 0.5
    description.write_text(json.dumps(content))
    with pytest.raises(EmbeddingsError) as caught:
        load_beside(path, encoder, StaticEncoder(minilm_directory()))
    assert caught.value.code == "model_altered"


def test_models_of_other_examples_are_no_pair(models: tuple[IntentModel, IntentModel]) -> None:
    """They would be compared on texts that are not the same."""
    other = train({"one": ("a b", "b c", "c d"), "two": ("x y", "y z", "z x")}, (), load_minilm())
    with pytest.raises(EmbeddingsError, match="other examples"):
        pair(models[0], other)


def test_an_encoder_without_a_table_has_no_static_tier(tmp_path: Path) -> None:
    """Said in one sentence."""
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).write_bytes((minilm_directory() / name).read_bytes())
    manifest = json.loads((minilm_directory() / "manifest.json").read_text())
    manifest["files"] = {name: manifest["files"][name] for name in ("model.onnx", "tokenizer.json")}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(EmbeddingsError, match=r"has no static\.npy"):
        StaticEncoder(tmp_path)


def test_what_a_sum_of_words_cannot_know_is_the_encoders(static: StaticModel) -> None:
    """Alternatives and stories are left to it, however sure the sum is."""
    assert static.predict("please cancel the payment") is not None
    assert static.predict("please cancel the payment or revoke the payment order") is None
    assert static.predict("Hello there, I hope you are well. I was at the fair in Hanover until Thursday. Cancel the payment. " * 2) is None
