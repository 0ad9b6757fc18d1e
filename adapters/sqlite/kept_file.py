"""One SQLite file of a store: private, in WAL mode, each commit on disk, what is deleted gone from it, brought to this release's format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from adapters.sqlite.connection import Connect, Connection, connect, private_file
from adapters.sqlite.migrations import Steps, migrate
from router.errors import AuditError, LockgateError

PRAGMAS = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA secure_delete=ON", "PRAGMA busy_timeout=10000")


class KeptFile(ABC):
    """The blocking core of a store; one thread at a time."""

    steps: ClassVar[Steps]

    def __init__(self, path: Path, connect: Connect = connect) -> None:
        self._path = path
        self._connect = connect
        self._connection: Connection | None = None

    def open(self) -> None:
        private_file(self._path)
        connection = self._connect(self._path)
        try:
            for statement in PRAGMAS:
                connection.execute(statement)
            migrate(connection, self._path, self.steps)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @abstractmethod
    def closed(self) -> LockgateError:
        """What whoever asks a store that is not open is told."""

    @property
    def _open(self) -> Connection:
        if self._connection is None:
            raise self.closed()
        return self._connection

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., list[Any]]]:
        run = self._open.execute
        run("BEGIN IMMEDIATE")
        try:
            yield run
            run("COMMIT")
        except BaseException:
            with suppress(AuditError):  # SQLite may have done so by itself
                run("ROLLBACK")
            raise
