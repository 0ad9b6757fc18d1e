"""Every write of a hand-over broken twice, before it and after it took effect: the ledger opens again, by the right key, and verifies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.sqlite.ledger import SqliteStore
from router.audit.journal import Journal
from router.audit.keys.rotation import hand_over, is_in_force, vouched
from router.audit.tree.checkpoint import NoteSigner, latest_published, note_checkpoint, publish
from router.errors import AuditError
from tests.unit.audit.ledgers import entries, records_of
from tests.unit.audit.test_rotation import FIRST, SECOND, plan, verified, write


class Crash(BaseException):
    """The process is gone."""


class Broken(SqliteStore):
    """Fails in the named write, before or after it took effect: with an error, or with the process's end."""

    def __init__(self, folder: Path, write: str, *, persisted: bool, fault: BaseException) -> None:
        super().__init__(folder / "ledger.sqlite")
        self._broken, self._persisted, self._fault = write, persisted, fault

    def write(self, *arguments: Any) -> None:
        self._do("write", super().write, arguments)

    def write_checkpoint(self, *arguments: Any) -> None:
        self._do("write_checkpoint", super().write_checkpoint, arguments)

    def _do(self, name: str, really: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if name != self._broken:
            really(*arguments)
            return
        if self._persisted:
            really(*arguments)
        raise self._fault


def broken_rotation(folder: Path, store: SqliteStore) -> None:
    with pytest.raises((AuditError, Crash)):
        hand_over(store, plan(folder, SECOND), vouched(FIRST, SECOND), "scheduled", 1)


FAULTS = [AuditError("the disk failed", "audit_io_failed"), AuditError("the disk is full", "audit_disk_full"), Crash()]


@pytest.mark.parametrize("fault", FAULTS, ids=["io", "full", "crash"])
@pytest.mark.parametrize("persisted", [False, True], ids=["failed", "persisted"])
@pytest.mark.parametrize("write_", ["write", "write_checkpoint"])
def test_a_broken_hand_over_is_done_again_or_was_done(tmp_path: Path, write_: str, persisted: bool, fault: BaseException) -> None:
    """The next start with both keys ends up with the new one in force, whatever was written; either key verifies all of it."""
    write(tmp_path, FIRST)
    broken_rotation(tmp_path, Broken(tmp_path, write_, persisted=persisted, fault=fault))
    done = write_ == "write_checkpoint" and persisted
    store = SqliteStore(tmp_path / "ledger.sqlite")
    assert is_in_force(store, plan(tmp_path, SECOND)) == done
    if not done:
        hand_over(store, plan(tmp_path, SECOND), vouched(FIRST, SECOND), "scheduled", 1)
    write(tmp_path, SECOND)
    for key in (FIRST, SECOND):
        assert verified(tmp_path, key).ok
    with pytest.raises(AuditError, match="is signed by the key"):
        write(tmp_path, FIRST)


@pytest.mark.parametrize("persisted", [False, True], ids=["failed", "persisted"])
@pytest.mark.parametrize("write_", ["write", "write_checkpoint"])
def test_after_a_broken_hand_over_the_old_key_goes_on_only_where_it_is_in_force(tmp_path: Path, write_: str, persisted: bool) -> None:
    """Who takes the change back may, until the checkpoint that hands over is stored."""
    write(tmp_path, FIRST)
    broken_rotation(tmp_path, Broken(tmp_path, write_, persisted=persisted, fault=Crash()))
    if write_ == "write_checkpoint" and persisted:
        with pytest.raises(AuditError, match="is signed by the key"):
            write(tmp_path, FIRST)
        return
    write(tmp_path, FIRST)
    assert verified(tmp_path, FIRST).ok
    assert len(records_of(tmp_path)) == 20 + (write_ == "write_checkpoint" or persisted)


@pytest.mark.parametrize("persisted", [False, True], ids=["failed", "persisted"])
def test_a_hand_over_that_was_not_published_is_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, persisted: bool) -> None:
    """Who only follows the published checkpoints sees both signatures, too."""
    write(tmp_path, FIRST)

    def crash(*arguments: Any) -> None:
        if persisted:
            publish(*arguments)
        raise Crash

    with monkeypatch.context() as broken:
        broken.setattr("router.audit.journal.publish", crash)
        broken_rotation(tmp_path, SqliteStore(tmp_path / "ledger.sqlite"))
    journal = Journal(SqliteStore(tmp_path / "ledger.sqlite"), plan(tmp_path, SECOND))
    journal.open()
    published = latest_published(tmp_path / "checkpoints") or ""
    assert note_checkpoint(published).size == 11
    assert published.count("— ledger.test ") == 2
    journal.append(entries(1))
    journal.close()
    assert verified(tmp_path, FIRST).ok


class Failing:
    """A key whose keeper has gone."""

    remote = True

    def __init__(self, public: bytes) -> None:
        self.public = public

    def sign(self, message: bytes) -> bytes:
        raise AuditError("The vault is down.", "audit_key_unreachable")


@pytest.mark.parametrize("which", ["old", "new"])
def test_a_hand_over_that_one_of_the_keys_does_not_sign_does_not_happen(tmp_path: Path, which: str) -> None:
    """The old key stays in force; half a hand-over is never stored."""
    write(tmp_path, FIRST)
    signers = {"old": FIRST, "new": SECOND}
    seed = {"old": b"\x01", "new": b"\x02"}[which] * 32
    failing = Failing(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())
    change = vouched(**{**signers, which: NoteSigner("ledger.test", failing)})
    with pytest.raises(AuditError) as refused:
        hand_over(SqliteStore(tmp_path / "ledger.sqlite"), plan(tmp_path, SECOND), change, "scheduled", 1)
    assert refused.value.code == "audit_rotation_failed"
    assert is_in_force(SqliteStore(tmp_path / "ledger.sqlite"), plan(tmp_path, FIRST))
    assert verified(tmp_path, FIRST).ok
