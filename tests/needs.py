"""What a test needs that not every machine has: skipped with how to get it, and a failure where nothing may be missing."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from model.install import MULTILINGUAL

MULTILINGUAL_ENCODER = Path(__file__).parent.parent / MULTILINGUAL


def wanted(module: str) -> bool:
    """Whether one suite over many parts takes in the one that needs it: where it is missing and nothing may be, it fails there."""
    return find_spec(module) is not None or bool(os.environ.get("LOCKGATE_NOTHING_MISSING"))


def needs(module: str, how: str) -> None:
    """At the top of a test module, or in a fixture. `LOCKGATE_NOTHING_MISSING` is set in CI."""
    if find_spec(module) is None:
        missing(f"{module} is missing: {how}")


def needs_program(name: str, how: str) -> None:
    """As `needs`, for a program on the path."""
    if shutil.which(name) is None:
        missing(f"{name} is missing: {how}")


def needs_file(path: Path, how: str) -> None:
    """As `needs`, for a program of the system."""
    if not path.is_file():
        missing(f"{path} is missing: {how}")


def needs_multilingual() -> None:
    """As `needs`, for the directory of the multilingual encoder."""
    if not (MULTILINGUAL_ENCODER / "manifest.json").is_file():
        missing("the multilingual encoder is missing: run `make multilingual`")


def missing(reason: str) -> None:
    if os.environ.get("LOCKGATE_NOTHING_MISSING"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)
