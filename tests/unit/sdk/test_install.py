"""What a service installs: a small package of its own, which stands beside Lockgate's without touching it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import httpx2
import pytest

ROOT = Path(__file__).parents[3]
LENT = (
    "httpx2",
    "httpx2-*.dist-info",
    "httpcore2-*.dist-info",
    "httpcore2",
    "anyio",
    "idna",
    "h11",
    "truststore",
    "typing_extensions.py",
    "sniffio",
)
WATCHED = """
import json, sys
from lockgate.client import Client, DecisionUnavailable
try:
    Client("http://127.0.0.1:1", attempts=1).decide(text="x")
except DecisionUnavailable as error:
    print(json.dumps([error.code, sorted({name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names))]))
"""


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wheel_of(folder: Path, into: Path) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into), cwd=folder)
    (made,) = into.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of(ROOT / "sdk", tmp_path_factory.mktemp("sdk"))


def test_the_client_installs_alone_and_is_light(wheel: Path, tmp_path: Path) -> None:
    """Into an empty environment: an HTTP client and its parts, and nothing of Lockgate's own."""
    run(sys.executable, "-m", "venv", "--without-pip", "clean", cwd=tmp_path)
    clean = tmp_path / "clean" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", str(clean), "install", "--no-deps", "--no-index", str(wheel), cwd=tmp_path)
    site = Path(run(str(clean), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    for name in LENT:
        for found in Path(httpx2.__file__).parents[1].glob(name):
            (site / found.name).symlink_to(found)
    code, loaded = json.loads(run(str(clean), "-I", "-c", WATCHED, cwd=tmp_path))
    assert code == "unreachable"
    assert set(loaded) & {"httpx2", "lockgate"} == {"httpx2", "lockgate"}
    assert not set(loaded) & {"router", "adapters", "embeddings", "starlette", "pytest", "numpy", "pydantic"}


def test_it_shares_no_file_with_lockgate(wheel: Path, tmp_path: Path) -> None:
    """Both have parts of the name `lockgate`; installed side by side, in whichever order, none overwrites the other's."""
    names = [{each for each in zipfile.ZipFile(made).namelist() if "dist-info" not in each} for made in (wheel, wheel_of(ROOT, tmp_path))]
    assert names[0] & names[1] == set()
    assert {"lockgate/client/py.typed", "lockgate/asgi/py.typed", "lockgate/testing/py.typed"} <= names[0]
    assert "lockgate/__init__.py" not in names[0] | names[1]
    assert "lockgate/__main__.py" in names[1]


def test_pytest_finds_the_plugin(wheel: Path) -> None:
    """By its entry point, and it loads nothing of Lockgate before a test asks."""
    with zipfile.ZipFile(wheel) as opened:
        (place,) = [name for name in opened.namelist() if name.endswith("entry_points.txt")]
        told = opened.read(place).decode()
    assert told.splitlines()[:2] == ["[pytest11]", "lockgate = lockgate.testing.plugin"]
    assert EntryPoint("lockgate", "lockgate.testing.plugin", "pytest11").load() is importlib.import_module("lockgate.testing.plugin")
    code = "import sys, lockgate.testing.plugin; print(sorted({'router', 'numpy', 'fastapi'} & set(sys.modules)))"
    environment = {"PYTHONPATH": str(ROOT / "sdk")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
