"""Folders in which backups are made before they are there."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path

from router.errors import AuditError

STREAMED = ".backup.part"
"""In the state folder, of a backup to a stream."""
RUNNING = "backup_running"
LINKED = "backup_linked"
log = logging.getLogger("lockgate.audit")


def clear_broken_off(state: Path) -> None:
    """What a stream that was killed left in the state folder: a copy of the keys would outlive their erasure there. One that is under way
    is left alone, and so is what a link leads to. Raises AuditError."""
    if (state / STREAMED).is_dir() and not (state / STREAMED).is_symlink():
        try:
            with said(), alone(state / STREAMED):
                log.warning("what a backup left that was broken off is removed from %s", state)
        except AuditError as error:
            if error.code != RUNNING:
                raise


@contextmanager
def alone(draft: Path) -> Iterator[Path]:
    """A private folder, empty, for who has its lock. What somebody who was killed left in it goes; nothing is left of a failure. Whoever
    may write around it could put a link in its place: what one leads to is not emptied."""
    handle = _folder(draft)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AuditError(f"Another backup is being written to {draft}; wait for it.", RUNNING) from None
        _emptied(handle)
        try:
            yield draft
        finally:
            if draft.exists():
                shutil.rmtree(draft)
    finally:
        os.close(handle)


def _folder(draft: Path) -> int:
    """A handle of it."""
    if draft.is_symlink():
        raise AuditError(f"{draft} is a link, and no folder to make a backup in; look where it leads, and remove it.", LINKED)
    draft.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _emptied(folder: int) -> None:
    with os.scandir(folder) as found:
        there = [(each.name, each.is_dir(follow_symlinks=False)) for each in found]
    for name, is_folder in there:
        if is_folder:
            shutil.rmtree(name, dir_fd=folder)
        else:
            os.unlink(name, dir_fd=folder)


@contextmanager
def said() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise AuditError("Who was to take the backup reads it no more; nothing of it counts.", "backup_broken_off") from error
    except OSError as error:
        where = error.filename or "the backup"
        if error.errno == ENOSPC:
            raise AuditError(f"The disk under {where} is full; there is no backup.", "audit_disk_full") from error
        raise AuditError(f"{where} cannot be used: {error.strerror}.", "audit_io_failed") from error
