"""Cosigned checkpoints in a ledger: how they are kept, and what a verification makes of them."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from adapters.sqlite.ledger import SqliteStore
from router.audit.checking.verify import Report
from router.audit.journal import Checkpointing, Journal
from router.audit.ledger import AuditLedger
from router.audit.tree.checkpoint import Checkpoint, latest_published, latest_witnessed, note_checkpoint, split_note
from router.audit.witnesses.policy import WitnessPolicy
from router.errors import AuditError
from tests.unit.audit.ledgers import SIGNER, entries, reader, records_of, rehash, replace_records, resign, run, verified, written
from tests.unit.audit.witnesses import START_S, cosigner, policy_of

PAIR = policy_of("all", 1, 2)


def cosigned(note: str, *numbers: int) -> str:
    return note + "".join(cosigner(number).cosign(split_note(note)[0], START_S + number) for number in numbers)


def keep(folder: Path, note: str) -> None:
    journal = Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints"))
    journal.open()
    journal.keep_cosigned(note)
    journal.publish_cosigned(note, witnessed=True)
    journal.close()


def notes(folder: Path) -> list[str]:
    source = reader(folder)
    found = source.checkpoints()
    source.close()
    return found


def ledger(folder: Path, *numbers: int) -> str:
    """Forty records; the checkpoint over the first twenty has these witnesses' cosignatures."""
    written(folder, entries(40))
    note = next(note for note in notes(folder) if note_checkpoint(note).size == 20)
    keep(folder, cosigned(note, *numbers))
    return cosigned(note, *numbers)


def held(folder: Path, policy: WitnessPolicy | None = PAIR) -> Report:
    return verified(folder, policy=policy)


def test_a_quorum_is_told_with_its_records_and_time(tmp_path: Path) -> None:
    """The older of the two times, at which both had confirmed; and what lies behind it is said to be open."""
    ledger(tmp_path, 1, 2)
    report = held(tmp_path)
    assert report.ok
    assert [(each.size, each.by.as_of, each.by.names) for each in report.witnessed] == [(20, START_S + 1, ("w1", "w2"))]
    assert any("Witnesses confirmed the first 20 records" in said for said in report.unproven)
    assert "Records 20 to 39 are under checkpoints that too few witnesses cosigned." in report.unproven


def test_the_beginning_of_the_witnessing_is_told(tmp_path: Path) -> None:
    """Two checkpoints were confirmed; the first says since when."""
    ledger(tmp_path, 1, 2)
    keep(tmp_path, cosigned(notes(tmp_path)[-1], 1, 2))
    assert [each.size for each in held(tmp_path).witnessed] == [20, 40]


def test_a_quorum_that_could_be_had_twice_is_said_to_prove_less(tmp_path: Path) -> None:
    """One of two confirmed these records; the other one may have confirmed others."""
    ledger(tmp_path, 1)
    assert any("another history could have one too" in said for said in held(tmp_path, policy_of("any", 1, 2)).unproven)
    assert not any("another history could have one too" in said for said in held(tmp_path, policy_of("all", 1)).unproven)


def test_fewer_than_the_quorum_is_a_fault(tmp_path: Path) -> None:
    """One of two has cosigned, so nothing is witnessed, and the verification does not end well."""
    ledger(tmp_path, 1)
    report = held(tmp_path)
    assert [fault.kind for fault in report.faults] == ["not_witnessed"]


def test_without_a_policy_cosignatures_are_said_to_be_unchecked(tmp_path: Path) -> None:
    """They are no fault, and no proof either."""
    ledger(tmp_path, 1, 2)
    report = held(tmp_path, None)
    assert report.ok
    assert "Cosignatures were not checked, for no witness policy was given." in report.unproven
    assert any("cannot be excluded that whoever holds the ledger's signing key rewrote" in said for said in report.unproven)


def test_who_holds_the_key_cannot_rewrite_what_was_witnessed(tmp_path: Path) -> None:
    """Records, tree and checkpoints are all made anew and signed: without the policy it verifies, with it nothing is witnessed."""
    ledger(tmp_path, 1, 2)
    records = records_of(tmp_path)
    replace_records(tmp_path, [records[1], records[0], *records[2:]])
    rehash(tmp_path)
    resign(tmp_path)
    assert held(tmp_path, None).ok
    assert [fault.kind for fault in held(tmp_path).faults] == ["not_witnessed"]


def test_old_cosignatures_do_not_fit_a_rewritten_ledger(tmp_path: Path) -> None:
    """The cosigned checkpoint is put back beside the new history: it does not agree with the records, and does not count."""
    note = ledger(tmp_path, 1, 2)
    records = records_of(tmp_path)
    replace_records(tmp_path, [records[1], records[0], *records[2:]])
    rehash(tmp_path)
    resign(tmp_path)
    run(tmp_path, ("INSERT INTO checkpoints VALUES (20, ?, 0)", (note,)))
    assert {"root_wrong", "not_witnessed"} <= {fault.kind for fault in held(tmp_path).faults}


def test_a_wrong_cosignature_by_a_known_witness_is_a_fault(tmp_path: Path) -> None:
    """One that was moved under another checkpoint."""
    ledger(tmp_path, 1, 2)
    last = notes(tmp_path)[-1]
    stolen = cosigner(1).cosign(split_note(notes(tmp_path)[0])[0], START_S)
    run(tmp_path, ("UPDATE checkpoints SET note = ? WHERE size = 40", (last + stolen,)))
    assert "checkpoint_invalid" in {fault.kind for fault in held(tmp_path).faults}


def test_a_cosigned_checkpoint_from_elsewhere_counts(tmp_path: Path) -> None:
    """The one that an auditor kept has the cosignatures, the ledger's own has not."""
    written(tmp_path, entries(40))
    outside = cosigned(next(note for note in notes(tmp_path) if note_checkpoint(note).size == 20), 1, 2)
    report = verified(tmp_path, outside, policy=PAIR)
    assert report.ok
    assert [each.size for each in report.witnessed] == [20]
    assert report.outside == 20


def test_a_cosigned_note_takes_the_place_of_the_plain_one(tmp_path: Path) -> None:
    """In the ledger and in the directory, and beside them as the latest that was witnessed."""
    note = ledger(tmp_path, 1, 2)
    assert [each for each in notes(tmp_path) if note_checkpoint(each).size == 20] == [note]
    assert latest_witnessed(tmp_path / "checkpoints") == note
    assert note_checkpoint(latest_published(tmp_path / "checkpoints") or "").size == 40


def test_a_ledger_behind_its_own_witnessed_checkpoint_does_not_open(tmp_path: Path) -> None:
    """The file `latest.witnessed` alone is enough to tell, when ledger and checkpoints were put back."""
    written(tmp_path, entries(20))
    old = (tmp_path / "ledger.sqlite").read_bytes()
    ledger(tmp_path / "longer", 1, 2)
    checkpoint = Checkpoint(SIGNER.name, 21, bytes(32))
    (tmp_path / "checkpoints" / "latest.witnessed").write_text(cosigned(SIGNER.sign(checkpoint.text()), 1, 2))
    (tmp_path / "ledger.sqlite").write_bytes(old)
    journal = Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER, tmp_path / "checkpoints"))
    with pytest.raises(AuditError) as caught:
        journal.open()
    assert caught.value.code == "audit_rolled_back"


async def test_cosigned_checkpoints_are_kept_between_commits(tmp_path: Path) -> None:
    """While records are appended, on the ledger's own thread; every one of both is there afterwards."""
    signed = threading.Event()
    plan = Checkpointing(SIGNER, tmp_path / "checkpoints", 3600, 10, signed.set)
    opened = AuditLedger(Journal(SqliteStore(tmp_path / "ledger.sqlite"), plan))
    await opened.open()
    await opened.append_many(entries(10))
    assert await asyncio.to_thread(signed.wait, 10)
    note = cosigned(notes(tmp_path)[-1], 1, 2)
    await asyncio.gather(*(opened.append(entry) for entry in entries(30)), opened.keep_cosigned(note, witnessed=True))
    await opened.close()
    assert note in notes(tmp_path)
    assert held(tmp_path).ok


async def test_a_closed_ledger_keeps_nothing_more(tmp_path: Path) -> None:
    """Who asks is told so and does not wait."""
    opened = AuditLedger(Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER)))
    await opened.open()
    await opened.close()
    with pytest.raises(AuditError) as caught:
        await opened.keep_cosigned(SIGNER.sign(Checkpoint(SIGNER.name, 1, bytes(32)).text()), witnessed=True)
    assert caught.value.code == "audit_closed"


async def test_without_agreement_nothing_is_written_or_signed(tmp_path: Path) -> None:
    """A ledger with records that no checkpoint covers, whose witnesses contradict it: it closes as it was, and another may open it."""

    async def contradicted() -> None:
        raise AuditError("no", "audit_forked")

    store = Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER, None, 0.001, 1))
    store.open()
    store.append(entries(3))
    store.abandon()
    opened = AuditLedger(Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER, None, 0.001, 1)))
    with pytest.raises(AuditError, match="no"):
        await opened.open(contradicted)
    assert notes(tmp_path) == []
    await opened.open()
    await opened.close()
    assert len(notes(tmp_path)) == 1


async def test_a_directory_that_fails_does_not_keep_a_note_from_the_ledger(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; the note is in the ledger."""
    note = written(tmp_path, entries(3))
    plan = Checkpointing(SIGNER, tmp_path / "checkpoints")
    opened = AuditLedger(Journal(SqliteStore(tmp_path / "ledger.sqlite"), plan))
    await opened.open()
    (tmp_path / "checkpoints").rename(tmp_path / "moved")
    (tmp_path / "checkpoints").write_text("a file")
    await opened.keep_cosigned(cosigned(note, 1), witnessed=True)
    await opened.close()
    assert cosigned(note, 1) in notes(tmp_path)
    assert "cosigned checkpoint not written" in caplog.text
