"""Real processes for tests: each in a group of its own, its output in a file, ended whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, Protocol, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
WAIT_S = 30.0


def until(question: Callable[[], T | Literal[False] | None], what: str, seconds: float = WAIT_S) -> T:
    """The first answer that is true. Bounded, so that a fault is a failure and not a hang."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"it took longer than {seconds:g} s until {what}")
        time.sleep(0.02)


def inherited(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, so that the modules of this checkout are found from any folder."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, **more}


class Started(Protocol):
    """What `subprocess.Popen` is of use for here."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...


@dataclass(slots=True)
class Process:
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    _started: Started | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._started = self._begun(log, inherited(self.environment))

    def _begun(self, log: IO[bytes], environment: Mapping[str, str]) -> Started:
        return subprocess.Popen(
            self.command,
            env=environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        if self._started is None:
            raise AssertionError("the process was not started")
        return self._started.pid

    @property
    def ended(self) -> int | None:
        """The exit status, None while it runs."""
        return self._started.poll() if self._started is not None else -1

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = WAIT_S) -> int:
        """The exit status."""
        if self._started is None:
            raise AssertionError("the process was not started")
        return self._started.wait(seconds)

    def stop(self) -> int:
        """Asks it to end. The exit status; whatever of its group does not end in time is killed."""
        try:
            if self.ended is None:
                self.signal(signal.SIGTERM)
            return self.wait()
        finally:
            self.kill()

    def kill(self) -> None:
        """The whole group, at once, as a lost machine would."""
        if self._started is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._started.wait(WAIT_S)
        until(lambda: not group(self.pid), "the group was gone")


def group(leader: int) -> list[int]:
    """Processes of the group that run (a zombie does not), the leader left out."""
    return [pid for pid in _pids() if pid != leader and _group_of(pid) == leader]


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _group_of(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended since
        return None
    return None if fields[0] == "Z" else int(fields[2])
