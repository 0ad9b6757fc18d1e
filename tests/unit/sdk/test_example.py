"""The example service's own tests, run as its page says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_examples_tests_pass() -> None:
    """With the plugin, in a pytest of their own."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'sdk'}:{ROOT}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plugins = ["-p", "lockgate.testing.plugin", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *plugins, "examples/rooms"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    assert "9 passed" in done.stdout
