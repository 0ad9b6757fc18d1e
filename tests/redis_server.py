"""Redis servers of the tests' own on loopback, Debian's. Nothing is kept on a disk, and each is ended by its pid."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from examples.halden.demo.company import free_ports
from router.settings import Address
from tests.needs import needs_program

WAIT_S = 20.0
HOW = "sh requirements/debian.sh"


@dataclass
class RedisServer:
    """`settings` are lines of its configuration. `environment` is put over ours."""

    folder: Path
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    program: str = "redis-server"
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        lines = {"port": str(self.port), "bind": "127.0.0.1", "save": '""', "appendonly": "no", "dir": str(self.folder), **self.settings}
        if self.program == "redis-sentinel":
            lines = {name: value for name, value in lines.items() if name not in ("save", "appendonly")}
        file = self.folder / "redis.conf"
        file.write_text("".join(f"{name} {one}\n" for name, value in lines.items() for one in value.split("\n")))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, str(file)],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        until(self.answers, "Redis answers", lambda: self.log)

    def answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise AssertionError(f"Redis ended:\n{self.log[-3000:]}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0):
                return True
        except OSError:
            return False

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait(WAIT_S)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(WAIT_S)
            self.process = None

    def ask(self, *command: str) -> str:
        """By the command line client."""
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), *command], capture_output=True, text=True, errors="replace", check=True, timeout=WAIT_S
        )
        return done.stdout.strip()


def until(question: Callable[[], bool], what: str, log: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not question():
        assert time.monotonic() < deadline, f"it took longer than {WAIT_S:g} s until {what}: {log()[-2000:]}"
        time.sleep(0.02)


@contextmanager
def made(**settings: str) -> Iterator[RedisServer]:
    """Not started yet. A setting's name has `_` for `-`."""
    needs_program("redis-server", HOW)
    folder = Path(tempfile.mkdtemp(prefix="lockgate-redis-"))
    server = RedisServer(folder, free_ports(1)[0], {name.replace("_", "-"): value for name, value in settings.items()})
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@contextmanager
def running(**settings: str) -> Iterator[RedisServer]:
    with made(**settings) as server:
        server.start()
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One for all tests that do no harm to it."""
    with running() as server:
        yield server
