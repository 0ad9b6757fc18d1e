"""`python -m model.install`: puts the `lockgate-minilm` wheel into this environment, built first where the cache has none;
`python -m model.install multilingual`: makes the directory of the multilingual encoder, where there is none yet.

Building takes packages that serving does not need; they go into an environment of their own below the cache.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from model.wheel import WHEEL_VERSION, wheel_name

CACHE = Path(".cache/model")
OUT = Path("dist")
MULTILINGUAL = OUT / "multilingual-e5-small"
LOCK = Path("requirements/model.lock")
PIP = ("-m", "pip", "install", "-qq", "--disable-pip-version-check")
ROOT = Path(__file__).parent.parent
# What decides the multilingual encoder's directory.
MULTILINGUAL_INPUTS = (
    "embeddings/bert_graph.py",
    "embeddings/int8.py",
    "model/download.py",
    "model/LICENSE.mit",
    "model/NOTICE.multilingual",
    "model/multilingual.py",
    "model/multilingual.txt",
    "model/packed_e5.py",
    "requirements/model.lock",
)


def main(arguments: list[str]) -> int:
    return _multilingual() if arguments == ["multilingual"] else _minilm()


def _minilm() -> int:
    wheel = _built()
    if wheel is None:
        _build("model.build", "--out", str(OUT), "--cache", str(CACHE))
        wheel = _built()
    if wheel is None:
        print("model: the build left no wheel behind", file=sys.stderr)
        return 1
    if not _installed(wheel):
        subprocess.run([sys.executable, *PIP, "--no-deps", "--force-reinstall", str(wheel)], check=True)
    return 0


def _multilingual() -> int:
    if not is_current(MULTILINGUAL):
        try:
            _build("model.multilingual", "--out", str(MULTILINGUAL), "--cache", str(CACHE))
        except subprocess.CalledProcessError as error:
            return error.returncode  # the build has said why
    print(f"classifier:\n  encoder: {{adapter: onnx, directory: {MULTILINGUAL.resolve()}}}")
    return 0


def multilingual_inputs() -> str:
    digest = hashlib.sha256()
    for name in MULTILINGUAL_INPUTS:
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    return digest.hexdigest()


def is_current(directory: Path) -> bool:
    """One that other code made is made anew."""
    try:
        return bool(json.loads((directory / "manifest.json").read_bytes())["inputs"] == multilingual_inputs())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _built() -> Path | None:
    """One of another version is from another checkout; it is left alone."""
    wheel = OUT / wheel_name(WHEEL_VERSION)
    return wheel if wheel.is_file() else None


def _installed(wheel: Path) -> bool:
    try:
        return f"-{version('lockgate-minilm')}-" in wheel.name
    except PackageNotFoundError:
        return False


def _build(module: str, *arguments: str) -> None:
    environment = CACHE / "venv"
    python = environment / "bin" / "python"
    if not python.exists():
        print("model: making an environment to build the encoder in", flush=True)
        venv.create(environment, with_pip=True)
    subprocess.run([python, *PIP, "--require-hashes", "-r", str(LOCK)], check=True)
    subprocess.run([python, "-m", module, *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
