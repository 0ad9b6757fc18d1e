"""A ledger's tiles as files that any static host can serve: the layout of C2SP tlog-tiles below one directory.

1. The latest checkpoint decides what is exported; what is there already from an earlier one must be of the same tree.
2. Tiles: each is written whole and then renamed; full ones that an earlier checkpoint covered are left as they are.
3. All of it is on stable storage before the checkpoint is put in place; a crash before leaves the earlier export, which is whole.
4. Partial tiles that have become full are taken away. Who still follows the earlier checkpoint takes the full ones.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from router.audit.questions.reader import LedgerReader
from router.audit.tree.checkpoint import Checkpoint, note_checkpoint
from router.audit.tree.merkle import leaf_hash
from router.audit.tree.proof import tree_root
from router.audit.tree.tiles import HASH_BYTES, WIDTH, Tile, entries, read_tile, tiles_of
from router.durable import sync_folder
from router.errors import AuditError

CHECKPOINT = "checkpoint"
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Exported:
    size: int
    written: int
    kept: int


def export(reader: LedgerReader, out: Path, progress: Progress = lambda done: None) -> Exported:
    """Raises AuditError. `progress` is told how many tiles are done."""
    note = reader.latest_checkpoint()
    if note is None:
        raise AuditError("No checkpoint has been signed yet, so there is nothing to export.", "checkpoint_missing")
    checkpoint = note_checkpoint(note)
    _check(reader, checkpoint)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _alone(out):
            return _exported(reader, out, checkpoint, note, progress)
    except OSError as error:
        raise AuditError(
            f"{error.filename or out} cannot be written: {(error.strerror or '').lower()}.", "audit_tiles_unwritable"
        ) from error


def _exported(reader: LedgerReader, out: Path, checkpoint: Checkpoint, note: str, progress: Progress) -> Exported:
    before = _before(reader, out, checkpoint)  # 1
    folders, written, done = {out}, 0, 0
    for done, tile in enumerate(tiles_of(checkpoint.size), 1):
        file = out / tile.path
        if not (tile.full and tile.within(before) and _whole(file, tile)):
            _write(file, _content(reader, tile), folders)  # 2
            written += 1
        progress(done)
    for folder in folders:
        sync_folder(folder)  # 3
    _write(out / CHECKPOINT, note.encode(), folders)
    sync_folder(out)
    _tidy(out, checkpoint.size)  # 4
    return Exported(checkpoint.size, written, done - written)


def _check(reader: LedgerReader, checkpoint: Checkpoint) -> None:
    if tree_root(reader, checkpoint.size) != checkpoint.root:
        said = f"The first {checkpoint.size} records are not those that the latest checkpoint was signed for."
        raise AuditError(said, "audit_tree_broken")


def _before(reader: LedgerReader, out: Path, checkpoint: Checkpoint) -> int:
    """How many records the directory has already."""
    file = out / CHECKPOINT
    if not file.exists():
        return 0
    try:
        found = note_checkpoint(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, AuditError) as error:
        raise AuditError(f"{file} is no checkpoint, so these are no tiles.", "audit_tiles_foreign") from error
    if found.size > checkpoint.size and found.origin == checkpoint.origin:
        said = f"{out} has tiles of {found.size} records, but the ledger's latest checkpoint is of {checkpoint.size}: it is an old copy."
        raise AuditError(said, "audit_rolled_back")
    if found.origin != checkpoint.origin or tree_root(reader, found.size) != found.root:
        raise AuditError(f"{out} has the tiles of another ledger, or of another history of this one.", "audit_tiles_foreign")
    return found.size


def _whole(file: Path, tile: Tile) -> bool:
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        return False
    return size == WIDTH * HASH_BYTES if tile.level is not None else size > 0


def _content(reader: LedgerReader, tile: Tile) -> bytes:
    """Entries are compared with their hashes, for nobody could use them otherwise."""
    content = read_tile(reader, tile)
    if tile.level is None:
        hashes = read_tile(reader, Tile(0, tile.index, tile.width))
        if b"".join(map(leaf_hash, entries(content))) != hashes:
            raise AuditError(f"Records of {tile.path} are not those that the tree was made of.", "audit_tree_broken")
    return content


def _write(file: Path, content: bytes, folders: set[Path]) -> None:
    for folder in reversed(file.parents):
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            folders.add(folder.parent)
    draft = file.with_name(f".{file.name}.draft")
    with draft.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    draft.replace(file)
    folders.add(file.parent)


def _tidy(out: Path, size: int) -> None:
    for tile in tiles_of(size):
        partial = (out / tile.path).with_name(f"{tile.index % 1000:03d}.p")
        if tile.full and partial.is_dir():
            shutil.rmtree(partial)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Two exports at once could put the older checkpoint in place last."""
    handle = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise AuditError(f"Another export to {out} is under way.", "audit_tiles_busy") from error
    else:
        yield
    finally:
        os.close(handle)
