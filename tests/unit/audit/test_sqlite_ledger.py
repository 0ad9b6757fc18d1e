from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.subject_keys import KeyFile
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.caching import CachedSubjectKeys
from router.audit.ledger import AuditLedger
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import Checkpoint, NoteSigner, NoteVerifier, latest_published, publish, split_note
from router.audit.tree.merkle import leaf_hash, verify_consistency, verify_inclusion
from router.audit.tree.proof import prove_consistency, prove_inclusion, tree_root
from router.errors import AuditError
from tests.unit.audit import ledgers
from tests.unit.audit.witnesses import START_S, cosigner

SIGNER = NoteSigner("ledger.test", Ed25519PrivateKey.generate())


def journal(folder: Path, signer: NoteSigner = SIGNER, records: int = 1000, every: float = 60.0) -> Journal:
    return Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(signer, folder / "checkpoints", every, records))


def filled(folder: Path, count: int) -> Journal:
    made = journal(folder)
    made.open()
    for start in range(0, count, 97):
        made.append([system_entry("started", number) for number in range(start, min(count, start + 97))])
    return made


def tamper(folder: Path, sql: str) -> None:
    with sqlite3.connect(folder / "ledger.sqlite") as file:
        file.execute(sql)
    file.close()


def contents(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


def appears(file: Path) -> bool:
    for _ in range(1000):
        if file.exists():
            return True
        time.sleep(0.01)
    return False


def code_of_opening(made: Journal) -> str:
    with pytest.raises(AuditError) as refused:
        made.open()
    return refused.value.code


def test_proofs_from_stored_hashes_verify(tmp_path: Path) -> None:
    """Every eighth level is kept, the rest computed; proofs across both verify."""
    made = filled(tmp_path, 700)
    made.close()
    store = SqliteStore(tmp_path / "ledger.sqlite")
    size, root = store.open("ledger.test")
    for index in (0, 1, 255, 256, 511, 512, 600, 699):
        assert verify_inclusion(leaf_hash(system_entry("started", index).leaf), index, size, prove_inclusion(store, index, size), root)
    for old in (1, 255, 256, 257, 699, 700):
        assert verify_consistency(old, size, tree_root(store, old), root, prove_consistency(store, old, size))
    store.close()


def test_checkpoints_are_signed_by_count_by_time_and_on_close(tmp_path: Path) -> None:
    """Each leads to the root of its size and lies outside the database too."""
    made = journal(tmp_path, records=3)
    made.open()
    assert made.until_checkpoint() is None
    made.append([system_entry("started", 1)])
    assert 50 < (made.until_checkpoint() or 0) <= 60
    made.append([system_entry("started", 2), system_entry("started", 3)])
    assert made.until_checkpoint() == 0.0
    made.sign_checkpoint()
    made.append([system_entry("stopped", 4)])
    made.close()
    checkpoint = NoteVerifier(SIGNER.verifier).open_checkpoint(latest_published(tmp_path / "checkpoints") or "")
    assert (checkpoint.size, checkpoint.root) == (4, made.root())
    assert sorted(file.name for file in (tmp_path / "checkpoints").iterdir()) == [
        "0000000000000003.checkpoint",
        "0000000000000004.checkpoint",
    ]


def cosigned(note: str, *numbers: int) -> str:
    return note + "".join(cosigner(number).cosign(split_note(note)[0], START_S + number) for number in numbers)


def kept(made: Journal, folder: Path) -> list[str | None]:
    """The last checkpoint in the ledger, and in its directory."""
    return [made._store.latest_checkpoint(), latest_published(folder / "checkpoints")]


def test_what_witnesses_have_signed_stays(tmp_path: Path) -> None:
    """Whoever asks for a checkpoint where nothing is unsigned gets none, and what is there is not replaced by one that says less."""
    made = filled(tmp_path, 3)
    made.sign_checkpoint()
    full = cosigned(kept(made, tmp_path)[0] or "", 1, 2)
    made.keep_cosigned(full)
    made.publish_cosigned(full, witnessed=True)
    assert not made.sign_checkpoint()
    assert made.sign_up_to(3) is None
    assert kept(made, tmp_path) == [full, full]
    made.close()
    again = journal(tmp_path)
    again.open()
    again.sign_checkpoint()
    assert kept(again, tmp_path) == [full, full]
    again.close()


def test_of_two_notes_of_one_tree_the_one_with_more_signatures_is_kept(tmp_path: Path) -> None:
    """In the ledger and in the directory, in whichever order they come; of two with as many the last one, which is newer."""
    made = filled(tmp_path, 3)
    checkpoint = Checkpoint("ledger.test", 3, made.root())
    plain = SIGNER.sign(checkpoint.text())
    one, two, other = cosigned(plain, 1), cosigned(plain, 1, 2), cosigned(plain, 2, 3)
    for note, expected in ((plain, plain), (one, one), (two, two), (one, two), (plain, two), (other, other)):
        made._store.write_checkpoint(3, note, 1)
        publish(tmp_path / "checkpoints", checkpoint, note)
        assert kept(made, tmp_path) == [expected, expected]
    made._store.write_cosigned(3, plain, 1)
    assert kept(made, tmp_path)[0] == other
    made.close()


def test_another_tree_of_the_same_size_is_refused(tmp_path: Path) -> None:
    """In the ledger as in the directory, with whatever signatures; what is there stays, and nothing is written any more."""
    made = filled(tmp_path, 3)
    made.sign_checkpoint()
    before, checkpoint = kept(made, tmp_path), Checkpoint("ledger.test", 3, bytes(32))
    note = cosigned(SIGNER.sign(checkpoint.text()), 1, 2)
    for attempt in (
        lambda: made._store.write_checkpoint(3, note, 1),
        lambda: made._store.write_cosigned(3, note, 1),
        lambda: publish(tmp_path / "checkpoints", checkpoint, note),
        lambda: made.keep_cosigned(note),
        lambda: made.append([system_entry("started", 4)]),
    ):
        with pytest.raises(AuditError) as refused:
            attempt()
        assert refused.value.code == "audit_tree_broken"
    assert kept(made, tmp_path) == before
    made.close()


def test_another_tree_of_the_same_size_in_the_directory_ends_the_ledger(tmp_path: Path) -> None:
    """Somebody signed another history with this key: that note is the proof of it, and stays."""
    made = filled(tmp_path, 3)
    checkpoint = Checkpoint("ledger.test", 3, bytes(32))
    note = SIGNER.sign(checkpoint.text())
    publish(tmp_path / "checkpoints", checkpoint, note)
    made.sign_checkpoint()
    assert made.fault is not None
    assert made.fault.code == "audit_tree_broken"
    assert latest_published(tmp_path / "checkpoints") == note
    made.close()


async def test_the_writer_signs_when_time_is_up(tmp_path: Path) -> None:
    """An idle ledger does not leave its last records unsigned."""
    ledger = AuditLedger(journal(tmp_path, every=0.01))
    await ledger.open()
    await ledger.append(system_entry("started", 1))
    expected = tmp_path / "checkpoints" / "0000000000000001.checkpoint"
    assert await asyncio.to_thread(appears, expected)
    await ledger.close()


async def test_what_is_called_runs_between_commits(tmp_path: Path) -> None:
    """After everything that was submitted before it, on the writer's thread; its failure is its caller's, and the writer goes on."""
    ledger = AuditLedger(journal(tmp_path))
    await ledger.open()
    appending = [asyncio.ensure_future(ledger.append(system_entry("started", number))) for number in range(5)]
    await asyncio.sleep(0)
    assert await ledger.call(lambda made: (made.size, threading.current_thread().name)) == (5, "audit-ledger")
    await asyncio.gather(*appending)
    with pytest.raises(ZeroDivisionError):
        await ledger.call(lambda _: 1 // 0)
    assert await ledger.append(system_entry("stopped", 6)) == 5
    waiting = asyncio.ensure_future(ledger.call(lambda made: made.size))
    await asyncio.sleep(0)
    await ledger.close()
    assert await waiting == 6
    with pytest.raises(AuditError, match="not open"):
        await ledger.call(lambda made: made.size)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """One process owns the ledger."""
    made = filled(tmp_path, 1)
    assert code_of_opening(journal(tmp_path)) == "audit_locked"
    made.close()
    again = journal(tmp_path)
    again.open()
    again.close()


def test_a_ledger_of_another_origin_is_refused(tmp_path: Path) -> None:
    """Checkpoints of two names must never cover one file. What can be done is told."""
    filled(tmp_path, 1).close()
    with pytest.raises(AuditError, match="run `lockgate audit recover`") as caught:
        journal(tmp_path, NoteSigner("other.test", Ed25519PrivateKey.generate())).open()
    assert caught.value.code == "audit_origin_changed"


def test_a_ledger_that_is_behind_its_checkpoints_is_not_continued(tmp_path: Path) -> None:
    """An old copy put back in place would fork the log."""
    made = filled(tmp_path, 5)
    made.close()
    for table, column in (("records", "idx >= 4"), ("commits", "size > 4"), ("checkpoints", "size > 4")):
        tamper(tmp_path, f"DELETE FROM {table} WHERE {column}")
    assert code_of_opening(journal(tmp_path)) == "audit_tree_broken"
    tamper(tmp_path, "INSERT INTO commits SELECT 4, x'00'")
    assert code_of_opening(journal(tmp_path)) == "audit_tree_broken"


def test_a_ledger_cut_at_a_commit_is_recognised_by_its_checkpoint(tmp_path: Path) -> None:
    """Cut cleanly, the file agrees with itself; the checkpoint outside does not agree with it."""
    made = journal(tmp_path)
    made.open()
    for number in range(4):
        made.append([system_entry("started", number)])
    made.close()
    for table, column in (("records", "idx >= 3"), ("commits", "size > 3"), ("checkpoints", "size > 3")):
        tamper(tmp_path, f"DELETE FROM {table} WHERE {column}")
    assert code_of_opening(journal(tmp_path)) == "audit_rolled_back"


def test_an_edited_hash_is_noticed_when_opening(tmp_path: Path) -> None:
    """The tree's edge is recomputed and compared with what was committed."""
    filled(tmp_path, 300).close()
    tamper(tmp_path, "UPDATE leaf_hashes SET hash = zeroblob(32) WHERE idx = 299")
    assert code_of_opening(journal(tmp_path)) == "audit_tree_broken"


def test_missing_hashes_are_noticed_when_opening(tmp_path: Path) -> None:
    """A hole is a fault with a name, not a crash."""
    filled(tmp_path, 300).close()
    tamper(tmp_path, "DELETE FROM nodes")
    assert code_of_opening(journal(tmp_path)) == "audit_tree_broken"


def test_a_checkpoint_directory_that_fails_does_not_stop_the_ledger(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Records are safe without it; the log says what is wrong."""
    (tmp_path / "checkpoints").write_text("a file where a directory should be")
    made = journal(tmp_path, records=1)
    made.open()
    made.append([system_entry("started", 1)])
    made.sign_checkpoint()
    assert made.append([system_entry("started", 2)]) == 1
    made.close()
    assert "audit checkpoint not written" in caplog.text


def test_a_checkpoint_that_cannot_be_read_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may say more than there is: the ledger is not gone on with, and a folder that must not be looked into is not an empty one."""
    ledgers.written(tmp_path, ledgers.entries(3))
    file = tmp_path / "checkpoints" / f"{5:016d}.checkpoint"
    file.symlink_to("nowhere")
    assert code_of_opening(journal(tmp_path, ledgers.SIGNER)) == "checkpoint_invalid"
    file.unlink()

    def refuse(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("router.audit.tree.checkpoint.os.listdir", refuse)
    with pytest.raises(AuditError, match="is not held against them: Permission denied"):
        journal(tmp_path, ledgers.SIGNER).open()


def test_a_checkpoint_file_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    """Found at the start; where it stands in the place of one that is signed the ledger refuses, for somebody wrote there."""
    ledgers.written(tmp_path, ledgers.entries(3))
    (tmp_path / "checkpoints" / f"{5:016d}.checkpoint").write_bytes(b"\xff")
    with pytest.raises(AuditError, match="is no text") as error:
        Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(ledgers.SIGNER, tmp_path / "checkpoints")).open()
    assert error.value.code == "checkpoint_invalid"
    (tmp_path / "checkpoints" / f"{5:016d}.checkpoint").unlink()
    journal = Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(ledgers.SIGNER, tmp_path / "checkpoints"))
    journal.open()
    (tmp_path / "checkpoints" / f"{5:016d}.checkpoint").write_bytes(b"\xff")
    journal.append(ledgers.entries(2))
    journal.sign_checkpoint()
    assert journal.fault is not None
    assert journal.fault.code == "checkpoint_invalid"
    journal.close()


async def test_a_full_queue_refuses_at_once(tmp_path: Path) -> None:
    """Load beyond the disk's speed is shed with its own code instead of growing without bound."""
    entered, gate = threading.Event(), threading.Event()

    class Slow(SqliteStore):
        def write(self, *arguments: object) -> None:
            entered.set()
            gate.wait(10)
            super().write(*arguments)  # type: ignore[arg-type]  # passed on as they came

    ledger = AuditLedger(Journal(Slow(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER)), waiting=4)
    await ledger.open()
    first = asyncio.ensure_future(ledger.append(system_entry("started", 0)))
    await asyncio.sleep(0)
    assert await asyncio.to_thread(entered.wait, 10)
    waiting = [asyncio.ensure_future(ledger.append(system_entry("started", number))) for number in range(1, 5)]
    await asyncio.sleep(0)
    with pytest.raises(AuditError) as refused:
        await ledger.append(system_entry("started", 9))
    assert refused.value.code == "audit_overloaded"
    gate.set()
    assert await asyncio.gather(first, *waiting) == [0, 1, 2, 3, 4]
    await ledger.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_writer_that_breaks_leaves_nobody_waiting(tmp_path: Path) -> None:
    """A bug in the writer refuses records; it does not hang requests."""

    class Broken(SqliteStore):
        def write_checkpoint(self, size: int, note: str, at_ns: int) -> None:
            raise RuntimeError("a bug")

    ledger = AuditLedger(Journal(Broken(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER, None, 60, 1)))
    await ledger.open()
    assert await ledger.append(system_entry("started", 1)) == 0
    async with asyncio.timeout(30):
        with pytest.raises(AuditError):
            await forever(ledger)
    await ledger.close()


async def forever(ledger: AuditLedger) -> None:
    while True:
        await ledger.append(system_entry("started", 1))


async def test_keys_survive_and_name_nobody(tmp_path: Path) -> None:
    """The file holds neither a subject's name nor a key in clear."""
    keys = CachedSubjectKeys(KeyFile(tmp_path / "keys.sqlite", bytes(32)))
    await keys.open()
    key_id, key = await keys.key_for("anna.berg@halden.example")
    await keys.close()
    again = CachedSubjectKeys(KeyFile(tmp_path / "keys.sqlite", bytes(32)))
    await again.open()
    assert await again.key_for("anna.berg@halden.example") == (key_id, key)
    await again.close()
    raw = contents(tmp_path)
    assert b"anna" not in raw
    assert key not in raw
    assert (tmp_path / "keys.sqlite").stat().st_mode & 0o777 == 0o600


async def test_another_sealing_key_is_refused(tmp_path: Path) -> None:
    """Otherwise every subject would get a second key and lose the first."""
    keys = CachedSubjectKeys(KeyFile(tmp_path / "keys.sqlite", bytes(32)))
    await keys.open()
    await keys.close()
    with pytest.raises(AuditError) as refused:
        await CachedSubjectKeys(KeyFile(tmp_path / "keys.sqlite", bytes(31) + b"x")).open()
    assert refused.value.code == "audit_sealing_key_wrong"


async def test_a_small_cache_forgets_and_reads_again(tmp_path: Path) -> None:
    """The cache is bounded and never wrong."""
    keys = CachedSubjectKeys(KeyFile(tmp_path / "keys.sqlite", bytes(32)), cache=2)
    await keys.open()
    first = [await keys.key_for(f"s{number}") for number in range(5)]
    assert [await keys.key_for(f"s{number}") for number in range(5)] == first
    await keys.close()
