"""The model that is trained is the one that is served, and training it does what it says."""

from __future__ import annotations

from pathlib import Path

from tests.needs import needs

needs("torch", "run `make extras`")

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load, save
from tokenizers import Tokenizer

from embeddings.fine_tuning.bert import Bert
from embeddings.fine_tuning.learning import Settings, fine_tune, steps, vectors
from embeddings.float_model import FloatModel
from embeddings.int8 import bert_shape, write_float_model

TEXTS = ("cancel payment 4711", "please, would you be so kind as to look into it", "it", "where is my money?", "new laptop")
SETTINGS = Settings(epochs=3, batch=4, rate=1e-3)


def loaded(source: FloatModel, dropout: float = 0.0) -> Bert:
    return Bert(load(source.weights), bert_shape(source.config), dropout)


def tokens(source: FloatModel, texts: tuple[str, ...] = TEXTS) -> list[list[int]]:
    tokenizer = Tokenizer.from_str(source.tokenizer.decode())
    tokenizer.no_padding()
    return [tokenizer.encode(text).ids for text in texts]


def test_both_ways_to_compute_the_encoder_agree(tiny: FloatModel, tmp_path: Path) -> None:
    """PyTorch with texts packed end to end, and the graph with one text at a time, give the same vectors."""
    write_float_model(tiny, tmp_path / "float.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "float.onnx"), providers=["CPUExecutionProvider"])
    ids = tokens(tiny)
    served = np.concatenate([session.run(None, {"input_ids": np.array([text])})[0] for text in ids])
    with torch.no_grad():
        trained = torch.nn.functional.normalize(_plain(loaded(tiny), ids), dim=-1).numpy()
    assert np.abs(served - trained).max() < 1e-4


def _plain(model: Bert, ids: list[list[int]]) -> torch.Tensor:
    from embeddings.fine_tuning.bert import pack

    model.eval()
    return model(pack(ids))


def test_weights_come_back_under_their_names(tiny: FloatModel) -> None:
    """What is written after no training gives the same model."""
    model = loaded(tiny)
    again = Bert(load(save(model.published())), bert_shape(tiny.config), 0.0)
    for (name, one), (_, other) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(one, other), name


def test_texts_of_one_intent_move_together(tiny: FloatModel) -> None:
    """After training, texts with the same label are closer to each other than before, others are not."""
    ids, labels = tokens(tiny), [0, 1, 0, 1, 0]
    model = loaded(tiny)
    before = vectors(model, ids).numpy()
    fine_tune(model, ids, labels, Settings(epochs=30, batch=5, rate=1e-3, dropout=0.0), lambda done: None)
    after = vectors(model, ids).numpy()
    same = np.equal.outer(labels, labels) & ~np.eye(len(labels), dtype=bool)
    other = ~np.equal.outer(labels, labels)
    gained = (after @ after.T)[same].mean() - (after @ after.T)[other].mean()
    assert gained > (before @ before.T)[same].mean() - (before @ before.T)[other].mean() + 0.1


def test_the_same_training_gives_the_same_weights(tiny: FloatModel) -> None:
    """Bit by bit, and another seed gives others."""
    ids, labels = tokens(tiny), [0, 1, 0, 1, 0]
    weights = []
    for seed in (1, 1, 2):
        model = loaded(tiny, 0.1)
        fine_tune(model, ids, labels, Settings(epochs=3, batch=2, seed=seed), lambda done: None)
        weights.append(model.layers[0].qkv.weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_tables_of_words_stay_as_they_are(tiny: FloatModel) -> None:
    """Words that are in no example mean what they meant."""
    model = loaded(tiny)
    before = model.words.weight.detach().clone()
    fine_tune(model, tokens(tiny), [0, 1, 0, 1, 0], SETTINGS, lambda done: None)
    assert torch.equal(model.words.weight, before)


def test_progress_counts_every_step(tiny: FloatModel) -> None:
    """Each step is told, up to the number that was promised."""
    told: list[int] = []
    fine_tune(loaded(tiny), tokens(tiny), [0, 1, 0, 1, 0], SETTINGS, told.append)
    assert told == list(range(1, steps(len(TEXTS), SETTINGS) + 1))


def test_a_model_that_the_graph_is_not_written_for_is_refused(tiny: FloatModel, tmp_path: Path) -> None:
    """Another activation would be computed wrongly without a word."""
    other = FloatModel(tiny.weights, tiny.tokenizer, {**tiny.config, "hidden_act": "relu"})
    with pytest.raises(Exception, match="hidden_act is 'relu'"):
        write_float_model(other, tmp_path / "float.onnx")
