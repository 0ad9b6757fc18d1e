from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def lockgate_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace that `lockgate init` makes is about rooms. A project with one of its own names it in pytest's configuration instead."""
    folder = tmp_path_factory.mktemp("rooms") / "workspace"
    subprocess.run([sys.executable, "-m", "lockgate", "init", str(folder)], check=True, capture_output=True)
    return folder
