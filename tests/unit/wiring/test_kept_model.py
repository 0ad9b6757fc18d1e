"""A model that is there already is found without an encoder, and never one that training would not give."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from embeddings.kept import DESCRIPTION, beside
from embeddings.minilm import minilm_directory
from router.processes.training import prepare_model
from router.snapshot import Snapshot
from router.wiring.encoder import ensure_model
from router.wiring.kept_model import find_kept
from router.wiring.prepared_models import VARIABLE
from router.workspace import Workspace, parse

PAY, CARD = (
    ["pay my bill", "I want to pay an invoice", "settle what I owe"],
    ["order a card", "I need a new debit card", "send me another card"],
)
POLICY = b'package lockgate\n\nimport rego.v1\n\ndecision := {"outcome": "deny"}\n'


def workspace(root: Path, *, encoder: str = "{adapter: minilm}", static: bool = True, pay: list[str] = PAY, index: str = "") -> Workspace:
    settings = f"version: 1\nclassifier: {{encoder: {encoder}, static: {str(static).lower()}{index}}}\n"
    intents = {"pay": {"description": "d", "examples": pay, "route": "r"}, "card": {"description": "d", "examples": CARD, "route": "r"}}
    catalog = {
        "version": 1,
        "destinations": {"d": {"adapter": "http", "upstreams": [{"url": "http://127.0.0.1:1"}]}},
        "routes": {"r": {"destination": "d", "path": "/r", "method": "POST"}},
        "intents": intents,
    }
    files = {"lockgate.yaml": settings.encode(), "catalog.yaml": json.dumps(catalog).encode(), "policies/p.rego": POLICY}
    return parse(Snapshot(root, "lockgate.yaml", files), {})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    assert ensure_model(workspace(root)) is not None
    return root


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    """A copy, for a test to damage."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def the_model(root: Path) -> Path:
    found = ensure_model(workspace(root))
    assert found is not None
    return found


def test_it_is_the_one_that_training_gives(root: Path) -> None:
    assert find_kept(workspace(root), {}) == the_model(root)


def test_an_encoder_that_is_named_by_its_folder_or_by_its_digest_is_the_same(root: Path) -> None:
    folder = minilm_directory()
    assert find_kept(workspace(root, encoder=f"{{adapter: onnx, directory: {folder}}}"), {}) == the_model(root)


def test_nothing_is_found_before_training(tmp_path: Path) -> None:
    assert find_kept(workspace(tmp_path), {}) is None


def test_other_examples_have_another(root: Path) -> None:
    assert find_kept(workspace(root, pay=[*PAY, "take it from my account"]), {}) is None


def test_an_encoder_that_is_not_the_pinned_one_is_left_to_training_to_refuse(root: Path) -> None:
    assert find_kept(workspace(root, encoder="{adapter: minilm, digest: 'sha256:" + "0" * 64 + "'}"), {}) is None


def test_a_folder_of_models_that_is_none_is_left_to_training_to_refuse(root: Path) -> None:
    assert find_kept(workspace(root), {VARIABLE: str(root / "nowhere")}) is None
    assert find_kept(workspace(root), {VARIABLE: str(root)}) is not None


def test_a_store_of_examples_is_always_asked(root: Path) -> None:
    """Whether it has them nobody knows who does not ask."""
    assert find_kept(workspace(root, index=", index: {adapter: qdrant, url: 'http://127.0.0.1:1'}"), {}) is None


@pytest.mark.parametrize("part", ["by-digest", "injection"])
def test_whatever_is_missing_is_made_by_training(root: Path, part: str) -> None:
    shutil.rmtree(root / "state" / "models" / part)
    assert find_kept(workspace(root), {}) is None


def test_a_static_model_that_was_never_made_is_made_by_training(root: Path) -> None:
    shutil.rmtree(beside(the_model(root)))
    assert find_kept(workspace(root), {}) is None
    assert find_kept(workspace(root, static=False), {}) is not None


def test_one_that_was_broken_off_is_not_there(root: Path) -> None:
    (the_model(root) / DESCRIPTION).unlink()
    assert find_kept(workspace(root), {}) is None


def test_a_model_of_other_examples_in_its_place_is_left_to_training_to_refuse(root: Path) -> None:
    """It is whole, and named as its content asks: only its examples are others."""
    other = ensure_model(workspace(root, pay=[*PAY, "take it from my account"]))
    place = next(path.parent for path in (root / "state" / "models").glob(f"*/{the_model(root).name}") if path.parent.name != "by-digest")
    assert other is not None
    shutil.rmtree(place / the_model(root).name)
    shutil.copytree(other, place / other.name)
    assert find_kept(workspace(root, static=False), {}) is None


def test_a_second_one_for_the_same_training_is_left_to_training_to_refuse(root: Path) -> None:
    place = next(path.parent for path in (root / "state" / "models").glob(f"*/{the_model(root).name}") if path.parent.name != "by-digest")
    shutil.copytree(place / the_model(root).name, place / "0000")
    assert find_kept(workspace(root), {}) is None


def test_a_start_that_finds_it_starts_no_process(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a process was started")

    built = workspace(root)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", none)
    assert asyncio.run(prepare_model(Snapshot(root, "lockgate.yaml", {}), built, lambda *_: None)) == str(the_model(root))
