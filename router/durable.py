"""Files that are whole or not there, on stable storage before anybody is told."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def replace(path: Path) -> Iterator[IO[bytes]]:
    """An open draft that takes the file's name, durably, when the block ends without an exception. Raises OSError."""
    draft = path.with_name(f".{path.name}.part")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Durable when it returns. Raises OSError."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def given(handle: int, folder: Path) -> None:
    """What the machine's administrator leaves belongs to whom the folder belongs to, who must be able to read it. An open file and no name,
    for they can put something else in its place. Raises OSError."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(handle, owner.st_uid, owner.st_gid)


@contextmanager
def acting_for(folder: Path) -> Iterator[None]:
    """With the rights of whom the folder belongs to and no more, where this is the machine's administrator: what is left there is theirs,
    who must be able to read it, and they can put a link in the place of nothing that leads to more than is theirs. Raises OSError."""
    owner = folder.stat().st_uid
    if os.geteuid() != 0 or owner == 0:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    try:
        of, others = _groups(folder)
        os.setgroups(others)
        os.setegid(of)
        os.seteuid(owner)
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _groups(folder: Path) -> tuple[int, list[int]]:
    """The group of whom it belongs to, and all of their groups; that of the folder where the machine knows them by number alone."""
    found = folder.stat()
    try:
        account = pwd.getpwuid(found.st_uid)
    except KeyError:
        return found.st_gid, [found.st_gid]
    return account.pw_gid, os.getgrouplist(account.pw_name, account.pw_gid)
