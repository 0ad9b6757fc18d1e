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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path

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
    """As `python -m lockgate` would have it, with pipes for what it says."""
    (said, out), (complained, err) = _beginning.Pipe(duplex=False), _beginning.Pipe(duplex=False)
    with said, complained, ThreadPoolExecutor(2) as readers:
        with forked(_command, arguments, folder or Path.cwd(), dict(environment), out, err) as process:
            out.close()
            err.close()
            told = [readers.submit(_whole, each.fileno()) for each in (said, complained)]
            process.join(timeout_s)
            status = process.exitcode
        texts = [each.result() for each in told]
    if status is None:
        raise subprocess.TimeoutExpired(["lockgate", *arguments], timeout_s, *texts)
    return subprocess.CompletedProcess(["lockgate", *arguments], status, *texts)


def _whole(number: int) -> str:
    with open(number, encoding="utf-8", closefd=False) as file:
        return file.read()


def _command(arguments: tuple[str, ...], folder: Path, environment: dict[str, str], out: Connection, err: Connection) -> None:
    for number, pipe in ((1, out), (2, err)):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.exit(run(arguments))
