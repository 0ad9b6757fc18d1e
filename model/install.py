"""`python -m model.install`: puts the `lockgate-minilm` wheel into this environment, built first where the cache has none.

Building takes packages that serving does not need; they go into an environment of their own below the cache.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from model.wheel import WHEEL_VERSION, wheel_name

CACHE = Path(".cache/model")
OUT = Path("dist")
LOCK = Path("requirements/model.lock")
PIP = ("-m", "pip", "install", "-qq", "--disable-pip-version-check")


def main() -> int:
    wheel = _built()
    if wheel is None:
        _build()
        wheel = _built()
    if wheel is None:
        print("model: the build left no wheel behind", file=sys.stderr)
        return 1
    if not _installed(wheel):
        subprocess.run([sys.executable, *PIP, "--no-deps", "--force-reinstall", str(wheel)], check=True)
    return 0


def _built() -> Path | None:
    """One of another version is from another checkout; it is left alone."""
    wheel = OUT / wheel_name(WHEEL_VERSION)
    return wheel if wheel.is_file() else None


def _installed(wheel: Path) -> bool:
    try:
        return f"-{version('lockgate-minilm')}-" in wheel.name
    except PackageNotFoundError:
        return False


def _build() -> None:
    environment = CACHE / "venv"
    python = environment / "bin" / "python"
    if not python.exists():
        print("model: making an environment to build the encoder in", flush=True)
        venv.create(environment, with_pip=True)
    subprocess.run([python, *PIP, "--require-hashes", "-r", str(LOCK)], check=True)
    subprocess.run([python, "-m", "model.build", "--out", str(OUT), "--cache", str(CACHE)], check=True)


if __name__ == "__main__":
    sys.exit(main())
