from __future__ import annotations

from base64 import b64encode
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.sqlite.ledger import SqliteStore
from router.audit.checking.verify import Plan, Report, verify
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.rotation import Change, hand_over, lost, vouched
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import Checkpoint, NoteSigner, latest_published, note_checkpoint
from router.audit.tree.merkle import CompactRange, leaf_hash
from router.errors import AuditError
from tests.unit.audit.ledgers import entries, reader, records_of, run

FIRST, SECOND, THIRD, THIEF = (NoteSigner("ledger.test", Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)) for seed in range(1, 5))


def plan(folder: Path, signer: NoteSigner, every: int = 4) -> Checkpointing:
    return Checkpointing(signer, folder / "checkpoints", 3600, every)


def write(folder: Path, signer: NoteSigner, count: int = 10) -> None:
    """So many records more, and checkpoints as they fall due."""
    journal = Journal(SqliteStore(folder / "ledger.sqlite"), plan(folder, signer))
    journal.open()
    for entry in entries(count):
        journal.append([entry])
        if journal.until_checkpoint() == 0.0:
            journal.sign_checkpoint()
    journal.close()


def rotate(folder: Path, change: Change, new: NoteSigner) -> Checkpoint:
    return hand_over(SqliteStore(folder / "ledger.sqlite"), plan(folder, new), change, "scheduled", 1)


def rotated(folder: Path) -> Checkpoint:
    """Ten records by the first key, a hand-over as record 10, ten by the second."""
    write(folder, FIRST)
    handed = rotate(folder, vouched(FIRST, SECOND), SECOND)
    write(folder, SECOND)
    return handed


def verified(folder: Path, *keys: NoteSigner, outside: str | None = None) -> Report:
    first, *more = (key.verifier for key in keys)
    return verify(Plan(partial(reader, folder), first, outside, processes=1, more_keys=tuple(more)))


def kinds(report: Report) -> set[str]:
    return {fault.kind for fault in report.faults}


def note_of(folder: Path, signer: NoteSigner, size: int) -> str:
    """A checkpoint over the records as they are, by whichever key."""
    tree = CompactRange()
    for leaf, _, _ in records_of(folder)[:size]:
        tree.append(leaf_hash(leaf))
    return signer.sign(Checkpoint("ledger.test", size, tree.root()).text())


def put(folder: Path, note: str) -> None:
    run(folder, ("INSERT OR REPLACE INTO checkpoints VALUES (?,?,1)", (note_checkpoint(note).size, note)))


@pytest.mark.parametrize("trusted", [FIRST, SECOND])
def test_either_key_alone_verifies_a_ledger_that_was_handed_over(tmp_path: Path, trusted: NoteSigner) -> None:
    """An auditor may hold the old key or the new one; the records lead from each to the other."""
    handed = rotated(tmp_path)
    report = verified(tmp_path, trusted)
    assert report.ok
    assert report.held_against == [4, 8, 10, 11, 15, 19, 21]
    assert [(term.after, term.until, term.followed) for term in report.terms] == [(0, 10, True), (10, None, True)]
    assert handed.size == 11
    assert not any("vouches" in said for said in report.unproven)


def test_three_keys_are_followed_from_the_middle_one(tmp_path: Path) -> None:
    """Backwards and forwards."""
    rotated(tmp_path)
    rotate(tmp_path, vouched(SECOND, THIRD), THIRD)
    write(tmp_path, THIRD)
    for key in (FIRST, SECOND, THIRD):
        assert verified(tmp_path, key).ok
    assert not verified(tmp_path, THIEF).ok


def test_the_checkpoint_that_hands_over_has_both_signatures_and_those_after_it_one(tmp_path: Path) -> None:
    """The old key's is the last that it gives."""
    rotated(tmp_path)
    notes = {note_checkpoint(note).size: note for note in reader(tmp_path).checkpoints()}
    assert {size: note.count("— ledger.test ") for size, note in notes.items()} == {4: 1, 8: 1, 10: 1, 11: 2, 15: 1, 19: 1, 21: 1}
    for key in (FIRST, SECOND):
        key.continues(note_of(tmp_path, key, 3))
    with pytest.raises(AuditError):
        FIRST.continues(notes[11])
    SECOND.continues(notes[11])


def test_a_checkpoint_kept_outside_may_be_by_either_key(tmp_path: Path) -> None:
    """The key in force at its size had to sign it, whichever of them is trusted."""
    rotated(tmp_path)
    for key in (FIRST, SECOND):
        assert verified(tmp_path, key, outside=note_of(tmp_path, FIRST, 7)).outside == 7
        assert verified(tmp_path, key, outside=note_of(tmp_path, SECOND, 18)).outside == 18
        for wrong in (*(note_of(tmp_path, FIRST, size) for size in (11, 18)), note_of(tmp_path, SECOND, 7), note_of(tmp_path, THIEF, 7)):
            with pytest.raises(AuditError):
                verified(tmp_path, key, outside=wrong)


@pytest.mark.parametrize("trusted", [FIRST, SECOND])
def test_a_retired_key_that_signs_on_is_found(tmp_path: Path, trusted: NoteSigner) -> None:
    """Even where the records are right."""
    rotated(tmp_path)
    put(tmp_path, note_of(tmp_path, FIRST, 20))
    report = verified(tmp_path, trusted)
    assert kinds(report) == {"key_not_in_force"}
    assert "which had handed over after 10 records" in report.faults[0].message


def test_a_key_that_signs_before_its_time_is_found(tmp_path: Path) -> None:
    """The new key has nothing to say about what was before it."""
    rotated(tmp_path)
    put(tmp_path, note_of(tmp_path, SECOND, 6))
    report = verified(tmp_path, FIRST)
    assert kinds(report) == {"key_not_in_force"}
    assert "which was not in force yet" in report.faults[0].message


def test_a_hand_over_whose_checkpoint_is_gone_does_not_count(tmp_path: Path) -> None:
    """Then the new key is one that nobody vouches for, and the sentence says which record names it."""
    rotated(tmp_path)
    run(tmp_path, "DELETE FROM checkpoints WHERE size = 11")
    report = verified(tmp_path, FIRST)
    assert kinds(report) == {"key_not_in_force"}
    assert "which record 10 names, but no checkpoint hands over to it" in report.faults[0].message
    put(tmp_path, note_of(tmp_path, SECOND, 11))  # by the new key alone
    assert not verified(tmp_path, FIRST).ok


def test_a_record_that_no_checkpoint_handed_over_by_has_no_effect(tmp_path: Path) -> None:
    """Who was about to rotate and thought better of it goes on with the old key."""
    write(tmp_path, FIRST)
    journal = Journal(SqliteStore(tmp_path / "ledger.sqlite"), plan(tmp_path, FIRST))
    journal.open()
    journal.append(
        [system_entry("key_rotated", 1, {"old": FIRST.verifier, "new": SECOND.verifier, "vouched": True, "reason": "scheduled"})]
    )
    journal.close()
    write(tmp_path, FIRST)
    report = verified(tmp_path, FIRST)
    assert report.ok
    assert report.terms == []


@pytest.mark.parametrize("noted", [None, FIRST.verifier])
def test_a_lost_key_is_succeeded_by_one_that_nobody_vouches_for(tmp_path: Path, noted: str | None) -> None:
    """Who knows the old key only is told so; who knows the new one, or both, is content, and reads that it was lost."""
    write(tmp_path, FIRST)
    rotate(tmp_path, lost(latest_published(tmp_path / "checkpoints"), SECOND, noted), SECOND)
    write(tmp_path, SECOND)
    old = verified(tmp_path, FIRST)
    assert kinds(old) == {"key_not_vouched"}
    assert old.held_against == [4, 8, 10]
    for keys in ((SECOND,), (FIRST, SECOND), (SECOND, FIRST)):
        report = verified(tmp_path, *keys)
        assert report.ok
        assert report.held_against == [4, 8, 10, 11, 15, 19, 21]
        assert any("no key vouches: record 10 says that the one before it was lost" in said for said in report.unproven)
        unchecked = any("their signatures were not checked" in said for said in report.unproven)
        assert unchecked == (noted is None and FIRST not in keys)


@pytest.mark.parametrize(("claimed", "kind"), [(True, "key_not_in_force"), (False, "key_not_vouched")])
def test_who_can_write_the_file_cannot_make_a_key_the_ledgers(tmp_path: Path, claimed: bool, kind: str) -> None:
    """A hand-over to their own key, called vouched for or lost, is not believed by who trusts the real one."""
    write(tmp_path, FIRST)
    alone = lost(latest_published(tmp_path / "checkpoints"), THIEF, FIRST.verifier)
    rotate(tmp_path, Change(alone.signer, FIRST.verifier, THIEF.verifier, vouched=claimed), THIEF)
    write(tmp_path, THIEF)
    assert kinds(verified(tmp_path, FIRST)) == {kind}


def test_an_unexpected_key_does_not_open_the_ledger(tmp_path: Path) -> None:
    """Neither another one before, nor the old one after the hand-over."""
    write(tmp_path, FIRST)

    def code(signer: NoteSigner) -> str:
        store = SqliteStore(tmp_path / "ledger.sqlite")
        with pytest.raises(AuditError, match=r"audit\.previous_key") as refused:
            Journal(store, plan(tmp_path, signer)).open()
        store.close()
        return refused.value.code

    assert code(SECOND) == "audit_key_changed"
    rotate(tmp_path, vouched(FIRST, SECOND), SECOND)
    assert code(FIRST) == "audit_key_changed"
    assert code(THIRD) == "audit_key_changed"


def test_a_last_checkpoint_with_a_forged_signature_does_not_open(tmp_path: Path) -> None:
    """The key's id alone is no signature."""
    write(tmp_path, FIRST)
    text, _, line = note_of(tmp_path, FIRST, 10).rpartition("\n\n")
    forged = f"{text}\n\n{line[: line.rindex(' ')]} {b64encode(bytes.fromhex(FIRST.verifier.split('+')[1]) + bytes(64)).decode()}\n"
    put(tmp_path, forged)
    store = SqliteStore(tmp_path / "ledger.sqlite")
    with pytest.raises(AuditError, match=r"signature by ledger\.test is wrong"):
        Journal(store, Checkpointing(FIRST)).open()
    store.close()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda: vouched(FIRST, FIRST), "audit_rotation_refused"),
        (lambda: lost(None, SECOND), "audit_rotation_refused"),
        (lambda: lost(FIRST.sign(Checkpoint("ledger.test", 0, bytes(32)).text()), SECOND, THIEF.verifier), "checkpoint_invalid"),
    ],
)
def test_a_hand_over_that_makes_no_sense_is_refused(change, code: str) -> None:
    """To itself, from nothing, or from a key that never signed."""
    with pytest.raises(AuditError) as refused:
        change()
    assert refused.value.code == code


def test_a_reason_is_one_word(tmp_path: Path) -> None:
    """It can never be taken out of the ledger again."""
    write(tmp_path, FIRST)
    with pytest.raises(AuditError, match="stays in the ledger for ever"):
        hand_over(SqliteStore(tmp_path / "ledger.sqlite"), plan(tmp_path, SECOND), vouched(FIRST, SECOND), "Anna has left", 1)
    assert len(records_of(tmp_path)) == 10


def test_a_ledger_may_be_handed_over_before_its_first_record(tmp_path: Path) -> None:
    """Then the old key was in force for nothing, and the first checkpoint is the new key's, with the old one's word."""
    rotate(tmp_path, vouched(FIRST, SECOND), SECOND)
    write(tmp_path, SECOND)
    for key in (FIRST, SECOND):
        assert verified(tmp_path, key).ok
    put(tmp_path, note_of(tmp_path, FIRST, 2))
    assert kinds(verified(tmp_path, SECOND)) == {"key_not_in_force"}


def test_a_key_may_come_back(tmp_path: Path) -> None:
    """As an order in reverse; each term is one of its own."""
    rotated(tmp_path)
    rotate(tmp_path, vouched(SECOND, FIRST), FIRST)
    write(tmp_path, FIRST)
    for key in (FIRST, SECOND):
        assert verified(tmp_path, key).ok
    put(tmp_path, note_of(tmp_path, FIRST, 15))
    assert kinds(verified(tmp_path, SECOND)) == {"key_not_in_force"}


@pytest.mark.parametrize("claimed", [True, False])
@pytest.mark.parametrize(("old", "new"), [(THIEF, FIRST), (FIRST, FIRST), (FIRST, THIEF), (THIEF, THIRD)])
def test_who_can_only_append_records_changes_nothing(tmp_path: Path, old: NoteSigner, new: NoteSigner, claimed: bool) -> None:
    """A worker that was taken over may write such a record just before the next checkpoint."""
    write(tmp_path, FIRST)
    journal = Journal(SqliteStore(tmp_path / "ledger.sqlite"), plan(tmp_path, FIRST))
    journal.open()
    journal.append([system_entry("key_rotated", 1, {"old": old.verifier, "new": new.verifier, "vouched": claimed, "reason": "scheduled"})])
    journal.sign_checkpoint()
    journal.close()
    write(tmp_path, FIRST)
    report = verified(tmp_path, FIRST)
    assert report.ok
    assert report.terms == []
    rotate(tmp_path, vouched(FIRST, SECOND), SECOND)
    write(tmp_path, SECOND)
    for key in (FIRST, SECOND):
        assert verified(tmp_path, key).ok


def test_several_processes_find_the_hand_over_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of them reads the record."""
    monkeypatch.setattr("router.audit.checking.verify.CHUNK", 8)
    monkeypatch.setattr("router.audit.checking.verify.PARALLEL_FROM", 8)
    rotated(tmp_path)
    report = verify(Plan(partial(reader, tmp_path), FIRST.verifier, processes=2))
    assert report.ok
    assert [term.line for term in report.terms] == [FIRST.verifier, SECOND.verifier]
