"""A command that reads the trail leaves a note of it before it shows anything: the process that owns the ledger records it."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import click

from router.audit.questions.reading import FOLDER, Reading, leave_note, new_reading_id
from router.audit.records.canonical import timestamp
from router.errors import AuditError

T = TypeVar("T")
LOCK_FILE, LOCKS = "ledger.sqlite.lock", Path("/proc/locks")


@dataclass(slots=True)
class Read:
    """Counts what was shown, or opened."""

    rows: int = 0

    def counting(self, rows: Iterable[T]) -> Iterator[T]:
        """Each as it is handed out, so that what was read before a failure counts."""
        for row in rows:
            self.rows += 1
            yield row


@contextmanager
def noted(state: Path, what: str, filters: str, personal: bool, exported: str = "") -> Iterator[Read]:
    """Around everything that shows records. Where no note can be left it says so; personal fields are not opened then. `exported`: where
    the answer goes, if not to standard output. Raises AuditError `audit_reading_unrecorded`."""
    read = Read()
    reading = Reading(what, filters, None, personal, exported or _destination(), "cli", new_reading_id(), timestamp(time.time_ns()))
    recorded = _left(state, reading, personal)
    try:
        yield read
    finally:
        if recorded:
            leave_note(state / FOLDER, reader(), replace(reading, rows=read.rows))


def reader() -> str:
    """The account that reads, by number: who that is the machine knows. With sudo it is who called it."""
    caller = os.environ.get("SUDO_UID", "")
    return f"cli:uid{caller if caller.isdigit() and len(caller) < 11 and os.getuid() == 0 else os.getuid()}"


def _left(state: Path, reading: Reading, personal: bool) -> bool:
    try:
        leave_note(state / FOLDER, reader(), reading)
    except AuditError as error:
        if personal:
            raise AuditError(f"{error} Personal fields are opened only where that is recorded.", error.code) from None
        click.echo(f"{error} Nobody will know of this reading.", err=True)
        return False
    if sys.stderr.isatty() and not _owned(state):
        click.echo("No Lockgate runs on these files: this reading is recorded when one does, and on a copy never.", err=True)
    return True


def _owned(state: Path) -> bool:
    """Whether a process has the ledger open. Asked of the kernel: to try the lock would stand in the way of a server that starts."""
    try:
        inode = (state / LOCK_FILE).stat().st_ino
        return f":{inode} " in LOCKS.read_text(encoding="ascii")
    except OSError:
        return False


def _destination() -> str:
    """Where standard output goes: a kind, never a path."""
    if sys.stdout.isatty():
        return "terminal"
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except (OSError, ValueError):  # no real file: a test's, or none at all
        return "pipe"
    return "file" if stat.S_ISREG(mode) else "pipe"
