"""Processes that begin with the imports done: for most commands that a test runs, importing is nearly all of the work.

Each is forked from one that has imported and has done nothing else, so that they share nothing but modules. Where the start itself is what
a test is about, it starts Python anew.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO

from router.cli.main import run
from router.processes import launching
from router.processes.worker import begin
from tests.e2e.processes import Process, Started, inherited, until

IMPORTED = (
    "adapters.http_client_aiohttp",
    "router.cli.audit.commands",
    "router.cli.audit.reading",
    "router.cli.audit.records",
    "router.cli.control_client",
    "router.cli.policy.commands",
    "router.cli.policy.push",
    "router.cli.serve",
    "router.processes.control",
    "router.processes.serving",
    "router.processes.worker",
    "router.workspace",
    "tests.faults.review_desk",
    "tests.forked",
)
WORKER = "lockgate-worker"
"""What such a worker is called in `/proc`."""
_beginning = multiprocessing.get_context("forkserver")
_beginning.set_forkserver_preload(list(IMPORTED))


@cache
def _ready() -> None:
    """What is imported is this tree's, whatever folder a test is in when it is the first to ask, and whatever else is installed."""
    before = dict(os.environ)
    os.environ |= inherited(launching._environment())
    try:
        ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


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


class Forked(Process):
    """`lockgate serve` with what it has to load there already, in its first workers, too: `command` is what comes behind
    `python -m lockgate`."""

    def _begun(self, log: IO[bytes], environment: Mapping[str, str]) -> Started:
        _ready()
        process = _beginning.Process(
            target=_served,
            args=(tuple(self.command), self.folder or Path.cwd(), dict(environment), Path(log.name)),
            daemon=True,  # one that a test leaves behind ends with the tests
        )
        process.start()
        begun = _Begun(process)
        until(lambda: _leads(begun.pid), "it led a group of its own")
        return begun


@dataclass(frozen=True, slots=True)
class _Begun:
    process: BaseProcess

    @property
    def pid(self) -> int:
        if self.process.pid is None:
            raise AssertionError("the process has not begun")
        return self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        if (status := self.poll()) is None:
            raise subprocess.TimeoutExpired(["lockgate"], timeout or 0.0)
        return status


def _leads(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:  # it has ended since
        return True


def _served(arguments: tuple[str, ...], folder: Path, environment: dict[str, str], log: Path) -> None:
    os.setsid()
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]  # it may have processes of its own
    with log.open("ab") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    _placed(folder, environment)
    loaded: list[launching.Launched] = []
    for _ in range(_workers(arguments)):
        loaded.append(_loaded_worker([each.sock for each in loaded]))
    begun, launch = iter(loaded), launching._launch

    async def launched() -> launching.Launched:
        return next(begun, None) or await launch()

    launching._launch = launched
    sys.exit(run(arguments))


def _workers(arguments: Sequence[str]) -> int:
    return int(arguments[arguments.index("--workers") + 1]) if "--workers" in arguments else 1


def _loaded_worker(others: Sequence[socket.socket]) -> launching.Launched:
    """A process as `router.processes.launching` begins them, but that what it has to load is there. `others`: our ends of others'
    sockets, which it must not keep open."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid:
        theirs.close()
        return launching.Launched(_Child(pid), ours)  # type: ignore[arg-type]  # what is asked of a process it answers
    status = 1
    try:
        for each in (ours, *others):
            each.close()
        Path("/proc/self/comm").write_text(WORKER)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.environ |= launching._environment()
        begin(theirs)
        status = 0
    except Exception:  # noqa: BLE001  # whatever it is, it is told and this process ends
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


class _Child:
    """As `asyncio.subprocess.Process`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended: int | None = None

    @property
    def returncode(self) -> int | None:
        if self._ended is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._ended = os.waitstatus_to_exitcode(status) if pid else None
        return self._ended

    async def wait(self) -> int:
        while (status := self.returncode) is None:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)
        return status

    def kill(self) -> None:
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, signal.SIGKILL)


def _whole(number: int) -> str:
    with open(number, encoding="utf-8", closefd=False) as file:
        return file.read()


def _command(arguments: tuple[str, ...], folder: Path, environment: dict[str, str], out: Connection, err: Connection) -> None:
    for number, pipe in ((1, out), (2, err)):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    _placed(folder, environment)
    sys.exit(run(arguments))


def _placed(folder: Path, environment: Mapping[str, str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
