"""Backups of a node's state while it serves, without taking anything from it: its records in one place, its keys in another.

The order is what makes a backup one: keys before records, for a ledger that is older than its keys is not gone on with; checkpoints before
the ledger, for a ledger that is older than its checkpoints was cut. So the ledger is last, and of the keys those of the subjects are: a
backup without them was broken off. The ledger's copy says that it is one: it may be all that is left, and who went on with it would sign a
second history.
"""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Protocol

from adapters.sqlite.connection import refuse_missing
from adapters.sqlite.copying import CopiedLedger, copied, marked, opened
from adapters.sqlite.place import KEYS_FILE, LEDGER_FILE
from router.audit.tree.checkpoint import Checkpoint, note_checkpoint
from router.audit.tree.proof import tree_root
from router.durable import acting_for, sync_folder
from router.errors import AuditError
from router.wiring.drafts import STREAMED, alone, said
from router.wiring.nodes import API_KEYS_FILE, LEARNING_FILE, NOTICES_FILE, REVIEWS_FILE

FILES = (REVIEWS_FILE, API_KEYS_FILE, LEARNING_FILE, NOTICES_FILE)
FOLDERS = ("policies", "bundles")
CHECKPOINTS, KEYS, BEFORE = "checkpoints", "keys", "predecessors"
UNFINISHED = (".draft", ".part")
Say = Callable[[str], None]


class Target(Protocol):
    """Where a backup goes. Raises OSError."""

    def take(self, name: str, make: Callable[[Path], int]) -> int:
        """`make` writes the file, whose bytes it returns."""


@dataclass(frozen=True, slots=True)
class State:
    """Where a node keeps its files."""

    folder: Path
    checkpoints: Path

    def check(self, name: str) -> None:
        """Raises AuditError where the file is not there."""
        if name == LEDGER_FILE:
            refuse_missing(self.folder / name)
        elif not (self.folder / name).is_file():
            raise AuditError(f"There are no subject keys at {self.folder / name}.", "audit_keys_missing")


def back_up_keys(state: State, to: Target, say: Say) -> None:
    """Raises AuditError."""
    with said():
        count = _take_folder(state.folder / KEYS, KEYS, to)
        size = to.take(KEYS_FILE, partial(copied, state.folder / KEYS_FILE))
    say(f"{KEYS_FILE}: {size:,} bytes" + (f", and {count} key files" if count else ""))


def back_up_records(state: State, to: Target, say: Say) -> None:
    """Raises AuditError."""
    with said():
        count = _take_folder(state.checkpoints, CHECKPOINTS, to)
        count += sum(_take_folder(state.folder / name, name, to) for name in FOLDERS)
        before = state.folder / BEFORE
        for file in (each for each in _files(before) if each.name == LEDGER_FILE and each.parent.parent == before):
            kept = f"{BEFORE}/{file.parent.name}"
            count += 1 + _take_folder(file.parent / CHECKPOINTS, f"{kept}/{CHECKPOINTS}", to)
            to.take(f"{kept}/{LEDGER_FILE}", partial(copied, file, mark=marked))
        for name in FILES:
            if (state.folder / name).is_file():
                say(f"{name}: {to.take(name, partial(copied, state.folder / name)):,} bytes")
        say(f"{count} other files, such as checkpoints")
        published = sorted(state.checkpoints.glob("*.checkpoint"), reverse=True)  # before the copy that has to cover them
        copying = _Ledger(state.folder / LEDGER_FILE, published)
        size = to.take(LEDGER_FILE, copying)
    say(f"{LEDGER_FILE}: {size:,} bytes, {copying.told}")


@dataclass(slots=True)
class _Ledger:
    """Copies it, and holds the copy against its own root and the newest checkpoint of it. `told` is up to where it goes."""

    source: Path
    published: Sequence[Path]
    told: str = ""

    def __call__(self, copy: Path) -> int:
        size = copied(self.source, copy, marked)
        with opened(copy) as connection:
            ledger = CopiedLedger(connection)
            self._check(ledger, Checkpoint(ledger.origin, ledger.size, ledger.root), "its last commit")
            self.told = f"{ledger.size:,} records"
            newest = next((each for each in map(_claimed, self.published) if each is not None and each.origin == ledger.origin), None)
            if newest is not None:
                self._check(ledger, newest, f"the checkpoint over {newest.size:,} records")
                self.told += f", of which the last checkpoint covers {newest.size:,}"
        return size

    def _check(self, ledger: CopiedLedger, wanted: Checkpoint, what: str) -> None:
        if wanted.size > ledger.size or tree_root(ledger, wanted.size) != wanted.root:
            raise AuditError(f"{self.source} does not have what {what} was made for; have it verified.", "backup_unsound")


def _claimed(file: Path) -> Checkpoint | None:
    """None for what is no checkpoint, which a verification tells of."""
    try:
        return note_checkpoint(file.read_text(encoding="utf-8"))
    except (AuditError, UnicodeDecodeError):
        return None


def _take_folder(folder: Path, name: str, to: Target) -> int:
    """Its finished files; links lead out of it. What goes while it is read is none of the backup."""
    count = 0
    for file in _files(folder):
        if file.is_symlink() or not file.is_file() or file.name.endswith(UNFINISHED):
            continue
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            continue
        to.take(f"{name}/{file.relative_to(folder).as_posix()}", partial(_written, content))
        count += 1
    return count


def _files(folder: Path) -> list[Path]:
    """All in it. Raises OSError: of a folder that must not be looked into nothing would be in the backup, and nothing would say so."""
    if not folder.is_dir():
        return []
    return sorted(Path(at, name) for at, _, names in os.walk(folder, onerror=_refused) for name in names)


def _refused(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _written(content: bytes, copy: Path) -> int:
    with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return len(content)


@contextmanager
def in_folder(folder: Path) -> Iterator[Target]:
    """A folder that is there, whole, when the block ends, and not before. Raises AuditError."""
    if folder.exists():
        raise AuditError(f"{folder} is there already; give the backup a folder of its own, which is made.", "backup_exists")
    with said(), alone(folder.with_name(f".{folder.name}.part")) as draft:
        yield _Folder(draft)
        for made in (*(each for each in draft.rglob("*") if each.is_dir()), draft):
            sync_folder(made)
        draft.rename(folder)
        sync_folder(folder.parent)


@contextmanager
def as_tar(stream: IO[bytes], state: Path) -> Iterator[Target]:
    """A tar archive, one file after the other; each lies in the state folder while it is made, as a file of whom that belongs to: they look
    at it at each start, and could put a link in its place. Raises AuditError."""
    with (
        said(),
        acting_for(state),
        alone(state / STREAMED) as draft,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        yield _Tar(archive, draft)


@dataclass(frozen=True, slots=True)
class _Folder:
    folder: Path

    def take(self, name: str, make: Callable[[Path], int]) -> int:
        copy = self.folder / name
        for parent in reversed(copy.relative_to(self.folder).parents):
            (self.folder / parent).mkdir(mode=0o700, exist_ok=True)
        return make(copy)


@dataclass(frozen=True, slots=True)
class _Tar:
    archive: tarfile.TarFile
    folder: Path

    def take(self, name: str, make: Callable[[Path], int]) -> int:
        copy = self.folder / "file"
        copy.unlink(missing_ok=True)
        made = make(copy)
        with copy.open("rb") as file:
            copy.unlink()  # who takes the stream may be slow, and a kill leaves nothing then
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = os.fstat(file.fileno()).st_size, 0o600, int(time.time())
            self.archive.addfile(entry, file)
        return made
