"""Processes that begin with the imports done: for most commands that a test runs, importing is nearly all of the work.

Each is forked from one that has imported and has done nothing else, so that they share nothing but modules. Where the start itself is what
a test is about, it starts Python anew.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

from router.cli.main import run
from tests.e2e.processes import inherited

IMPORTED = (
    "router.cli.audit.commands",
    "router.cli.audit.reading",
    "router.cli.audit.records",
    "router.cli.control_client",
    "router.cli.policy.commands",
    "router.cli.policy.push",
    "router.workspace",
    "tests.faults.review_desk",
    "tests.forked",
)
_beginning = multiprocessing.get_context("forkserver")
_beginning.set_forkserver_preload(list(IMPORTED))


@cache
def _ready() -> None:
    """What is imported is this tree's, whatever folder a test is in when it is the first to ask, and whatever else is installed."""
    before = os.environ.get("PYTHONPATH")
    os.environ |= inherited({})
    try:
        ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@contextmanager
def forked(program: Callable[..., object], *arguments: object) -> Iterator[BaseProcess]:
    """A process that does this, and has begun. It is killed, if it has not ended. `program` is a function that can be imported."""
    _ready()
    process = _beginning.Process(target=program, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
        process.close()


def lockgate(
    arguments: tuple[str, ...], folder: Path | None, environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """As `python -m lockgate` would have it."""
    with TemporaryDirectory() as kept:
        said, complained = Path(kept) / "stdout", Path(kept) / "stderr"
        with forked(_command, arguments, folder or Path.cwd(), dict(environment), said, complained) as process:
            process.join(timeout_s)
            if process.exitcode is None:
                raise subprocess.TimeoutExpired(["lockgate", *arguments], timeout_s, said.read_text(), complained.read_text())
            return subprocess.CompletedProcess(["lockgate", *arguments], process.exitcode, said.read_text(), complained.read_text())


def _command(arguments: tuple[str, ...], folder: Path, environment: dict[str, str], said: Path, complained: Path) -> None:
    for number, file in ((1, said), (2, complained)):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.exit(run(arguments))
