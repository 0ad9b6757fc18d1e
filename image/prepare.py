"""Inside the build: what serving does not need goes, what it would do at each start is done once, and all of it has one date.

python3 image/prepare.py LIBRARY WORKSPACE
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from py_compile import PycInvalidationMode

# Tests and headers of packages, tools beside ONNX Runtime's engine, and uv's own lock. None is imported while Lockgate serves or trains.
UNUSED = (
    ".lock",
    "bin",
    "**/tests",
    "numpy/_core/include",
    "numpy/random/_examples",
    "hf_xet*",
    "onnxruntime/datasets",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "**/*.pyi",
    "**/*.pxd",
    "**/*.a",
    "**/*.sh",
    "**/__pycache__",
)
NOTHING_TO_TRAIN = "nothing to train"
LAUNCHER = """#!/usr/bin/python3
import sys
import tomllib
from router.cli.main import main
sys.exit(main())
"""


def main(library: Path, workspace: Path) -> None:
    before = size(library)
    for pattern in UNUSED:
        for path in list(library.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    compile_all(library)
    launcher = library.parent / "bin" / "lockgate"
    launcher.parent.mkdir(exist_ok=True)
    launcher.write_text(LAUNCHER, encoding="utf-8")
    launcher.chmod(0o755)
    register(library, tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    (library.parent / "models").mkdir()
    prepare(library, workspace)
    for folder in (library.parent, workspace):
        for path in (folder, *folder.rglob("*")):
            settle(path, int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    print(f"{library}: {before >> 20} MiB as installed, {size(library) >> 20} MiB compiled and without what serving does not need")


def register(library: Path, version: str) -> None:
    """What an installer would write down, from which Lockgate says which version it is."""
    place = library / f"lockgate-{version}.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.4\nName: lockgate\nVersion: {version}\n", encoding="utf-8")
    shutil.copy("LICENSE", place / "LICENSE")


def compile_all(library: Path) -> None:
    """Compiled once, for nobody can write to the image. By content and not by date, and never looked at again."""
    if not compileall.compile_dir(
        str(library), quiet=1, workers=0, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH, stripdir=str(library)
    ):
        sys.exit("a module does not compile")


def prepare(library: Path, workspace: Path) -> None:
    """A workspace in order, and its model. The start of a container would train it otherwise, which takes longer than all the rest."""
    run = [sys.executable, str(library.parent / "bin" / "lockgate")]
    environment = {"PYTHONPATH": str(library), "PATH": os.defpath, "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    if not (workspace / "lockgate.yaml").exists():
        starter = workspace.with_name("starter")
        subprocess.run([*run, "init", str(starter)], env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(starter / "state")  # its keys and its API key were made for nobody
        shutil.copytree(starter, workspace, dirs_exist_ok=True)
        shutil.rmtree(starter)
    checked = subprocess.run([*run, "check", "--config", str(workspace)], env=environment, check=False, capture_output=True, text=True)
    if checked.returncode:
        sys.exit(f"The workspace is not in order.\n{checked.stdout}{checked.stderr}")
    trained = subprocess.run([*run, "train", "--config", str(workspace)], env=environment, check=False, capture_output=True, text=True)
    if trained.returncode and NOTHING_TO_TRAIN not in trained.stderr:
        sys.exit(trained.stderr)
    state = workspace / "state"
    if (state / "models").is_dir():
        shutil.copytree(state / "models", library.parent / "models", dirs_exist_ok=True)
    shutil.rmtree(state, ignore_errors=True)


def settle(path: Path, when: int) -> None:
    if not path.is_symlink():
        path.chmod(0o755 if path.is_dir() or (os.access(path, os.X_OK) and path.stat().st_mode & 0o100) else 0o644)
    os.utime(path, (when, when), follow_symlinks=False)


def size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in files(folder))


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
