"""What a test needs that not every machine has: skipped with how to get it, and a failure where nothing may be missing."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest


def wanted(module: str) -> bool:
    """Whether one suite over many parts takes in the one that needs it: where it is missing and nothing may be, it fails there."""
    return find_spec(module) is not None or bool(os.environ.get("LOCKGATE_NOTHING_MISSING"))


def needs(module: str, how: str) -> None:
    """At the top of a test module, or in a fixture. `LOCKGATE_NOTHING_MISSING` is set in CI."""
    if find_spec(module) is None:
        if os.environ.get("LOCKGATE_NOTHING_MISSING"):
            pytest.fail(f"{module} is missing: {how}", pytrace=False)
        pytest.skip(f"{module} is missing: {how}", allow_module_level=True)
