"""What a test needs that not every machine has: skipped with how to get it, and a failure where nothing may be missing."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest


def needs(module: str, how: str) -> None:
    """At the top of a test module. `LOCKGATE_NOTHING_MISSING` is set in CI."""
    if find_spec(module) is None:
        if os.environ.get("LOCKGATE_NOTHING_MISSING"):
            pytest.fail(f"{module} is missing: {how}", pytrace=False)
        pytest.skip(f"{module} is missing: {how}", allow_module_level=True)
