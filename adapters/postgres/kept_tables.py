"""Tables of a store on a server that nodes share, brought to this release's format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeVar

from adapters.postgres.connection import BoundedConnection, Server
from adapters.postgres.schema import Steps, migrate
from adapters.postgres.session import Session
from router.errors import LockgateError

T = TypeVar("T")


class KeptTables(ABC):
    """The blocking core of a store; one thread at a time. Everything may be asked again after its answer was lost."""

    part: ClassVar[tuple[str, Steps]]

    def __init__(self, server: Server, patience: float = 5.0) -> None:
        self._server = server
        self._session = Session(server, patience)
        self._is_open = False

    def open(self) -> None:
        self._is_open = True
        try:
            self._run(lambda connection: migrate(connection, self._server, *self.part))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._is_open = False
        self._session.close()

    @abstractmethod
    def closed(self) -> LockgateError:
        """What whoever asks a store that is not open is told."""

    def _run(self, job: Callable[[BoundedConnection], T]) -> T:
        if not self._is_open:
            raise self.closed()
        return self._session.run(job)
