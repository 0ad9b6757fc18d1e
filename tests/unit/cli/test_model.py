from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.cli.main import run


def test_the_encoder_is_loaded_and_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The encoder of the starter encodes a text, and says what it is."""
    assert run(["init", str(tmp_path / "demo")]) == 0
    capsys.readouterr()
    assert run(["model", "--json", "--config", str(tmp_path / "demo")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["adapter"] == "minilm"
    assert facts["digest"].startswith("sha256:")
    assert facts["dimensions"] == 384
    assert facts["microseconds"] > 0


def test_another_encoder_than_the_pinned_one_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A digest in the configuration pins the encoder."""
    assert run(["init", str(tmp_path / "demo")]) == 0
    config = tmp_path / "demo" / "lockgate.yaml"
    config.write_text("version: 1\nclassifier: {encoder: {adapter: minilm, digest: 'sha256:0'}}\n")
    assert run(["model", "--config", str(config)]) == 2
    assert "sha256:0 is wanted" in capsys.readouterr().err


def test_training_says_where_the_stated_coverage_needs_more_examples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Since every text would abstain; with what the starter states it says nothing."""
    assert run(["init", str(tmp_path / "demo")]) == 0
    config = tmp_path / "demo" / "lockgate.yaml"
    assert run(["train", "--config", str(config)]) == 0
    assert "Too few examples" not in capsys.readouterr().err
    config.write_text("version: 1\nclassifier: {coverage: 99.99%}\n")
    assert run(["train", "--config", str(config)]) == 0
    assert "Too few examples for the coverage 0.9999" in capsys.readouterr().err
