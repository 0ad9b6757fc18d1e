from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.sqlite.ledger import SqliteStore
from router.audit.journal import Checkpointing, Journal
from router.audit.records.record import system_entry
from router.audit.tree import tile_files
from router.audit.tree.checkpoint import NoteSigner, note_checkpoint
from router.audit.tree.tile_files import Exported, export
from router.audit.tree.tiles import tiles_of
from router.errors import AuditError
from tests.unit.audit.ledgers import SIGNER, reader, run


def grow(folder: Path, count: int, signer: NoteSigner = SIGNER, event: str = "started") -> None:
    folder.mkdir(exist_ok=True)
    journal = Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(signer))
    journal.open()
    journal.append([system_entry(event, number) for number in range(count)])
    journal.close()


def exported(folder: Path, out: Path) -> Exported:
    opened = reader(folder)
    try:
        return export(opened, out)
    finally:
        opened.close()


def refusal(folder: Path, out: Path) -> tuple[str, str]:
    with pytest.raises(AuditError) as refused:
        exported(folder, out)
    return refused.value.code, str(refused.value)


def contents(out: Path) -> dict[str, bytes]:
    return {str(file.relative_to(out)): file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}


def test_an_export_has_the_tiles_of_the_tree_and_its_checkpoint_and_nothing_else(tmp_path: Path) -> None:
    """No drafts, no tile that the tree does not have."""
    grow(tmp_path / "ledger", 600)
    assert exported(tmp_path / "ledger", tmp_path / "a/b/out") == Exported(600, 7, 0)
    assert set(contents(tmp_path / "a/b/out")) == {"checkpoint", *(tile.path for tile in tiles_of(600))}


def test_a_second_export_adds_what_has_come_since(tmp_path: Path) -> None:
    """It is the same as one that was made at once, and full tiles are left alone."""
    grow(tmp_path / "ledger", 300)
    exported(tmp_path / "ledger", tmp_path / "out")
    kept = (tmp_path / "out/tile/0/000").stat().st_ino
    grow(tmp_path / "ledger", 300)
    assert exported(tmp_path / "ledger", tmp_path / "out") == Exported(600, 5, 2)
    assert (tmp_path / "out/tile/0/000").stat().st_ino == kept
    exported(tmp_path / "ledger", tmp_path / "new")
    differing = {name for name, _ in contents(tmp_path / "out").items() ^ contents(tmp_path / "new").items()}
    assert differing == {"tile/1/000.p/1"}  # of the earlier checkpoint, and not full yet


def test_a_full_tile_that_is_gone_or_cut_is_written_again(tmp_path: Path) -> None:
    """Whoever damaged the directory."""
    grow(tmp_path / "ledger", 600)
    exported(tmp_path / "ledger", tmp_path / "out")
    before = contents(tmp_path / "out")
    (tmp_path / "out/tile/0/000").unlink()
    (tmp_path / "out/tile/0/001").write_bytes(b"x")
    exported(tmp_path / "ledger", tmp_path / "out")
    assert contents(tmp_path / "out") == before


class Crash(BaseException):
    """The process is gone."""


@contextmanager
def crashing_at(write: int, monkeypatch: pytest.MonkeyPatch, *, persisted: bool) -> Iterator[None]:
    """In the numbered write, before the file is renamed or after."""
    really, left = tile_files._write, [write]

    def broken(file: Path, content: bytes, folders: set[Path]) -> None:
        left[0] -= 1
        if left[0] == 0:
            if persisted:
                really(file, content, folders)
            raise Crash
        really(file, content, folders)

    with monkeypatch.context() as patched:
        patched.setattr(tile_files, "_write", broken)
        yield


@pytest.mark.parametrize("persisted", [False, True], ids=["failed", "persisted"])
@pytest.mark.parametrize("write", range(1, 9))
def test_a_crash_in_any_write_leaves_an_export_that_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int, persisted: bool
) -> None:
    """Every tile that the checkpoint in place needs is there, or its full one; the next export ends as if nothing had been."""
    grow(tmp_path / "ledger", 200)
    exported(tmp_path / "ledger", tmp_path / "out")
    grow(tmp_path / "ledger", 400)
    with crashing_at(write, monkeypatch, persisted=persisted), pytest.raises(Crash):
        exported(tmp_path / "ledger", tmp_path / "out")
    there = contents(tmp_path / "out")
    size = note_checkpoint(there["checkpoint"].decode()).size
    assert size == (600 if write == 8 and persisted else 200)
    for tile in tiles_of(size):
        assert tile.path in there
    exported(tmp_path / "ledger", tmp_path / "out")
    exported(tmp_path / "ledger", tmp_path / "new")
    assert contents(tmp_path / "out") == contents(tmp_path / "new")


def test_tiles_of_another_ledger_are_not_mixed_with_these(tmp_path: Path) -> None:
    """Neither another origin's nor another history's, and a directory whose checkpoint is none is left alone."""
    grow(tmp_path / "one", 30)
    grow(tmp_path / "fork", 30, event="stopped")
    grow(tmp_path / "other", 30, NoteSigner("other.test", SIGNER._key))
    exported(tmp_path / "one", tmp_path / "out")
    before = contents(tmp_path / "out")
    assert refusal(tmp_path / "fork", tmp_path / "out")[0] == "audit_tiles_foreign"
    assert refusal(tmp_path / "other", tmp_path / "out")[0] == "audit_tiles_foreign"
    assert contents(tmp_path / "out") == before
    (tmp_path / "out/checkpoint").write_text("x")
    assert refusal(tmp_path / "one", tmp_path / "out")[0] == "audit_tiles_foreign"


def test_an_older_copy_of_the_ledger_takes_nothing_back(tmp_path: Path) -> None:
    """Whoever follows the tiles would see two histories."""
    grow(tmp_path / "ledger", 30)
    grow(tmp_path / "longer", 30)
    grow(tmp_path / "longer", 30)
    exported(tmp_path / "longer", tmp_path / "out")
    code, said = refusal(tmp_path / "ledger", tmp_path / "out")
    assert code == "audit_rolled_back"
    assert "tiles of 60 records, but the ledger's latest checkpoint is of 30" in said


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE records SET leaf = replace(leaf, 'started', 'stopped') WHERE idx = 7",
        "UPDATE leaf_hashes SET hash = zeroblob(32) WHERE idx = 7",
        "DELETE FROM records WHERE idx = 7",
        "DELETE FROM leaf_hashes WHERE idx = 7",
    ],
)
def test_records_that_do_not_fit_the_tree_are_not_exported(tmp_path: Path, tampering: str) -> None:
    """The earlier checkpoint stays in place."""
    grow(tmp_path / "ledger", 30)
    run(tmp_path / "ledger", tampering)
    assert refusal(tmp_path / "ledger", tmp_path / "out")[0] == "audit_tree_broken"
    assert not (tmp_path / "out/checkpoint").exists()


def test_without_a_checkpoint_there_is_nothing_to_export(tmp_path: Path) -> None:
    """And no directory is made."""
    grow(tmp_path / "ledger", 0)
    assert refusal(tmp_path / "ledger", tmp_path / "out")[0] == "checkpoint_missing"
    assert not (tmp_path / "out").exists()


def test_two_exports_at_once_are_refused_and_so_is_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    """One sentence each."""
    grow(tmp_path / "ledger", 3)
    exported(tmp_path / "ledger", tmp_path / "out")
    handle = os.open(tmp_path / "out", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert refusal(tmp_path / "ledger", tmp_path / "out")[0] == "audit_tiles_busy"
    os.close(handle)
    (tmp_path / "file").touch()
    code, said = refusal(tmp_path / "ledger", tmp_path / "file/out")
    assert code == "audit_tiles_unwritable"
    assert "cannot be written: not a directory" in said
