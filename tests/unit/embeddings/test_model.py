import numpy as np
import pytest

from embeddings.errors import EmbeddingsError
from embeddings.hashing_encoder import HashingEncoder
from embeddings.model import IntentModel
from embeddings.train import train


def test_an_intents_own_words_are_recognised(model: IntentModel) -> None:
    """An unseen wording close to the examples is classified, confidently and in scope."""
    prediction = model.predict("hello, please unlock the account")
    assert prediction.candidates[0].intent == "it.password"
    assert prediction.confidence > 0.8
    assert prediction.scope > 0.5


def test_a_text_about_nothing_known_scores_lower_in_scope(model: IntentModel) -> None:
    """Scope tells a foreign text from a known one."""
    assert model.predict("zebra quartz voltmeter").scope < model.predict("please book annual leave").scope


def test_figures_of_a_prediction_agree(model: IntentModel) -> None:
    """Candidates are ranked, confidence is the first's probability, margin its lead over the second."""
    prediction = model.predict("check the payment status")
    calibrated = [candidate.calibrated for candidate in prediction.candidates]
    assert len(calibrated) == 5
    assert calibrated == sorted(calibrated, reverse=True)
    assert sum(calibrated) <= 1.0 + 1e-6
    assert prediction.confidence == calibrated[0]
    assert prediction.margin == pytest.approx(calibrated[0] - calibrated[1])
    assert 0.0 <= prediction.scope <= 1.0


def test_novelty_is_a_place_among_held_out_examples(model: IntentModel) -> None:
    """About one in ten of them is beyond 0.9, and a foreign text is beyond nearly all."""
    novelties = [model._novelty(scope) for scope in model.artefact.calibration.in_scope.tolist()]
    assert sum(each is not None and each > 0.9 for each in novelties) <= 0.1 * len(novelties)
    foreign, known = (model.predict(text).novelty for text in ("zebra quartz voltmeter", "please book annual leave"))
    assert foreign is not None
    assert known is not None
    assert foreign > known
    assert foreign > 0.9


def test_predicting_from_the_vector_is_the_same(model: IntentModel, encoder: HashingEncoder) -> None:
    """predict is encode_one followed by predict_vector."""
    text = "repair the laptop"
    from_text, from_vector = model.predict(text), model.predict_vector(encoder.encode_one(text))
    assert from_text.candidates == from_vector.candidates
    assert from_text.scope == from_vector.scope
    assert from_vector.embed_us == 0.0


@pytest.mark.parametrize("text", ["", "\x00", "\u202e", "\ud800", "x " * 100_000], ids=["empty", "nul", "bidi", "lone", "long"])
def test_odd_text_gets_a_prediction(model: IntentModel, text: str) -> None:
    """Odd text is scored like any other, never a crash."""
    assert 0.0 <= model.predict(text).confidence <= 1.0


def test_a_vector_of_another_shape_is_refused(model: IntentModel) -> None:
    """A vector the encoder cannot have given is an error."""
    with pytest.raises(EmbeddingsError, match=r"\(7,\) was given, \(256,\) is wanted"):
        model.predict_vector(np.ones(7, np.float32))


def test_a_model_belongs_to_its_encoder(model: IntentModel) -> None:
    """A head is refused over vectors of another encoder."""
    with pytest.raises(EmbeddingsError) as caught:
        IntentModel(HashingEncoder(dimensions=128), model.artefact)
    assert caught.value.code == "encoder_digest"


def test_training_twice_gives_the_same_model(model: IntentModel, catalog: dict[str, tuple[str, ...]]) -> None:
    """Same examples and encoder, same digest."""
    assert train(catalog, (), HashingEncoder()).digest == model.digest


def test_digests_name_what_changed(model: IntentModel, catalog: dict[str, tuple[str, ...]]) -> None:
    """Background texts change the calibration and the examples digest, not the encoder's."""
    other = train(catalog, ("zebra crossing", "quartz watch"), HashingEncoder())
    assert other.encoder_digest == model.encoder_digest
    assert other.examples_digest != model.examples_digest
    assert other.calibration_digest != model.calibration_digest
    assert other.digest != model.digest


def test_thresholds_follow_the_stated_risk(model: IntentModel) -> None:
    """A laxer risk never needs a higher threshold, an impossible one has none."""
    lax, strict = model.threshold_for(0.2), model.threshold_for(0.05)
    assert lax is not None
    assert strict is None or strict >= lax
    assert model.threshold_for(0.0) is None
    assert model.scope_threshold_for(0.05) <= model.scope_threshold_for(0.2)
