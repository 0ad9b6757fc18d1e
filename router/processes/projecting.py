"""Keeps the projections up with the ledger: a thread each, which takes at most half of its time and never stands in the way of a record."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from router.audit.copies.projecting import step
from router.audit.questions.reader import LedgerReader
from router.errors import AuditError
from router.wiring.projections import Followed

log = logging.getLogger("lockgate.audit.projections")
LONGEST_S = 300.0  # between two tries that fail
BUSY = "projection_locked"


class Projecting:
    """`open_reader` opens the ledger's file; each thread has a connection of its own."""

    def __init__(self, followed: Sequence[Followed], open_reader: Callable[[], LedgerReader]) -> None:
        self._open_reader = open_reader
        self._ending = threading.Event()
        self._lags: dict[str, int] = {}
        self._threads = [
            threading.Thread(target=self._follow, args=(each,), name=f"projection-{each.name}", daemon=True) for each in followed
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def lags(self) -> Mapping[str, int]:
        """Records that each projection does not have yet, as of its last look."""
        return dict(self._lags)

    def close(self, timeout: float) -> None:
        """A batch that does not end in time is left behind; the next start does it again."""
        self._ending.set()
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _follow(self, followed: Followed) -> None:
        pause, said = 0.0, ""
        while not self._ending.wait(pause):
            began = time.monotonic()
            try:
                behind = self._step(followed)
            except AuditError as error:
                if str(error) != said and error.code != BUSY:
                    log.error("the projection %s does not follow the ledger: %s", followed.name, error)
                    said = str(error)
                pause = min(max(followed.every, 2 * pause), LONGEST_S)
            except Exception:
                log.exception("the projection %s failed in a way that nobody foresaw", followed.name)
                pause = LONGEST_S
            else:
                if said:
                    log.warning("the projection %s follows the ledger again", followed.name)
                said = ""
                pause = time.monotonic() - began if behind >= followed.projection.batch else followed.every

    def _step(self, followed: Followed) -> int:
        reader = self._open_reader()
        try:
            with locked(followed.lock):
                complete, size = step(reader, followed.projection)
        finally:
            reader.close()
        self._lags[followed.name] = size - complete
        return size - complete


@contextmanager
def locked(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Waits `patience` seconds for another process to be done with its batch. Raises AuditError `projection_locked`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        until = time.monotonic() + patience
        while not _taken(handle):
            if time.monotonic() >= until:
                raise AuditError("Another process writes to this projection just now.", BUSY)
            time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
