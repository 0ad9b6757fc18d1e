"""Processes that are measured: started on free loopback ports, weighed by their CPU and memory, and ended with all their children."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from examples.halden.demo.company import free_ports

ROOT = Path(__file__).parents[2]
READY_S = 240.0
STOP_S = 20.0


class BenchError(Exception):
    """Something did not come up or answered wrongly; the message says what."""


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


class Tree:
    """A process and its children."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = log
        self.started = time.perf_counter()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait(self, url: str) -> float:
        """Seconds from the start to the first 200 of `url`."""
        while not answers(url):
            if self._process.poll() is not None or time.perf_counter() - self.started > READY_S:
                raise BenchError(f"{self.name} did not come up: {self.log.read_text()[-2000:]}")
            time.sleep(0.01)
        return time.perf_counter() - self.started

    def members(self) -> list[psutil.Process]:
        top = psutil.Process(self._process.pid)
        return [top, *top.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        return [each for each in self.members() if "router.processes.worker" in " ".join(each.cmdline())]

    def cpu_s(self) -> float:
        """User and system seconds of every process and thread of the tree, to the nanosecond."""
        return sum(process_cpu_s(each.pid) for each in self.members())

    def stop(self) -> None:
        if self._process.poll() is not None:
            return
        members = self.members()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            for each in members:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            self._process.wait()


def process_cpu_s(pid: int) -> float:
    """clock_getcpuclockid(3): user and system time of all threads, those that ended included."""
    return time.clock_gettime((~pid << 3) | 2)


@contextlib.contextmanager
def running(tree: Tree) -> Iterator[Tree]:
    try:
        yield tree
    finally:
        tree.stop()


@contextlib.contextmanager
def upstream(folder: Path) -> Iterator[str]:
    """A do-nothing service; its origin."""
    (port,) = free_ports(1)
    with running(Tree("upstream", ["-m", "tests.bench.upstream", str(port)], folder / "upstream.log")) as tree:
        origin = f"http://127.0.0.1:{port}"
        tree.wait(origin + "/healthz")
        yield origin


@contextlib.contextmanager
def bare_proxy(folder: Path, client: str, origin: str) -> Iterator[tuple[Tree, int]]:
    (port,) = free_ports(1)
    command = ["-m", "tests.bench.bare_proxy", client, origin, str(port)]
    with running(Tree(f"bare-{client}", command, folder / f"bare-{client}.log")) as tree:
        tree.wait(f"http://127.0.0.1:{port}/healthz")
        yield tree, port
