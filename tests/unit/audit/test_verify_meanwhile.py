"""A ledger that is verified while its owner prunes and erases: what goes meanwhile is on record, and accuses nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.reader import SqliteReader
from router.audit.checking import meanwhile
from router.audit.checking.verify import Plan, Report, verify
from router.audit.journal import Checkpointing, HandsOver, Journal
from router.audit.keys.rotation import hand_over, vouched
from router.audit.questions.reader import Stored
from router.audit.records.record import system_entry
from router.audit.tree.checkpoint import Checkpoint, NoteSigner, latest_published, note_checkpoint
from tests.unit.audit.ledgers import SIGNER, entries, run, verified, written
from tests.unit.audit.samples import KEY, KEY_ID

COUNT = 60
THIEF = Ed25519PrivateKey.from_private_bytes(bytes([6]) * 32)
PRUNED = {"class": "rest", "keep": "184d", "policy": "p", "from": 0, "until": 5, "ranges": [[2, 4]], "count": 2}
ERASED = {"key_id": KEY_ID, "reason": "gdpr_art_17", "order": COUNT, "records": COUNT, "up_to": COUNT}


def appended(
    folder: Path, event: str, details: dict[str, Any], pruning: tuple[int, ...] = (), *, signed: bool = True, signer: NoteSigner = SIGNER
) -> None:
    journal = Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(signer, folder / "checkpoints"))
    journal.open()
    journal.append([system_entry(event, 1, details)], pruning)
    journal.close() if signed else journal.abandon()


class Disturbed(SqliteReader):
    """Something happens before the first record is read."""

    def __init__(self, folder: Path, happens: list[Callable[[], None]]) -> None:
        super().__init__(folder / "ledger.sqlite", Stored)
        self._happens = happens

    def records(self, start: int, end: int) -> Iterator[Any]:
        while self._happens:
            self._happens.pop()()
        return super().records(start, end)


class Keys:
    """In which the key is until it is destroyed."""

    def __init__(self, gone: list[bool]) -> None:
        self._gone = gone

    def key(self, key_id: str) -> bytes | None:
        return None if self._gone else KEY

    def close(self) -> None: ...


def while_it(folder: Path, happens: Callable[[], None], **named: Any) -> Report:
    return verify(Plan(partial(Disturbed, folder, [happens]), SIGNER.verifier, processes=1, **named))


def kinds(report: Report) -> set[str]:
    return {fault.kind for fault in report.faults}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(meanwhile, "AGAIN_S", 0.0)
    written(tmp_path, entries(COUNT))
    return tmp_path


def test_what_is_pruned_meanwhile_is_no_fault(folder: Path) -> None:
    """The record that says so is not among those that are verified, but under a checkpoint."""
    report = while_it(folder, lambda: appended(folder, "pruned", PRUNED, (2, 3)))
    assert (report.faults, report.size, report.pruned) == ([], COUNT, 2)


def test_a_key_that_is_erased_meanwhile_is_no_fault(folder: Path) -> None:
    gone: list[bool] = []

    def erase() -> None:
        appended(folder, "erasure_ordered", {"key_id": KEY_ID, "reason": "gdpr_art_17"})
        gone.append(True)
        appended(folder, "subject_erased", ERASED)

    assert while_it(folder, erase, open_keys=lambda: Keys(gone)).faults == []


def test_a_checkpoint_over_what_says_so_is_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One comes a minute after a record at the latest."""
    waited: list[float] = []

    def sign(seconds: float) -> None:
        waited.append(seconds)
        appended(folder, "started", {})

    monkeypatch.setattr("time.sleep", sign)
    report = while_it(folder, lambda: appended(folder, "pruned", PRUNED, (2, 3), signed=False))
    assert (report.faults, len(waited)) == ([], 1)


def test_what_no_checkpoint_covers_after_a_while_excuses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can write to the file, and has no key, could add it."""
    monkeypatch.setattr(meanwhile, "WAIT_S", 0.0)
    report = while_it(folder, lambda: appended(folder, "pruned", PRUNED, (2, 3), signed=False))
    assert kinds(report) == {"sealed_missing"}
    assert {"verify again" in fault.message for fault in report.faults} == {True}


def test_a_checkpoint_by_another_key_excuses_nothing(folder: Path) -> None:
    thief = NoteSigner(SIGNER.name, Ed25519PrivateKey.generate())

    def forge() -> None:
        appended(folder, "pruned", PRUNED, (2, 3))
        note = latest_published(folder / "checkpoints") or ""
        forged = thief.sign(note_checkpoint(note).text())
        run(folder, ("UPDATE checkpoints SET note = ? WHERE size = ?", (forged, note_checkpoint(note).size)))

    assert kinds(while_it(folder, forge)) == {"sealed_missing"}


@pytest.mark.parametrize("verified_before", [False, True], ids=["since", "as its last record"])
def test_the_key_that_was_handed_over_to_meanwhile_is_one_of_the_ledgers(folder: Path, *, verified_before: bool) -> None:
    """The checkpoint that hands over is older than the newest one, and the record may be among those that are verified."""
    after = NoteSigner(SIGNER.name, Ed25519PrivateKey.from_private_bytes(bytes([5]) * 32))
    change = vouched(SIGNER, after)
    if verified_before:
        appended(folder, "key_rotated", {"old": change.old, "new": change.new, "vouched": True, "reason": "r"}, signed=False)

    def rotate() -> None:
        store, plan = SqliteStore(folder / "ledger.sqlite"), Checkpointing(after, folder / "checkpoints")
        if verified_before:
            journal = Journal(store, replace(plan, signer=change.signer, hands_over=HandsOver(change.old)))
            journal.open()
            assert journal.sign_checkpoint(wait=True)
            store.close()
        else:
            hand_over(store, plan, change, "scheduled", 1)
        appended(folder, "pruned", PRUNED, (2, 3), signer=after)
        appended(folder, "started", {}, signer=after)

    report = while_it(folder, rotate)
    assert (report.faults, report.size, report.pruned) == ([], COUNT + verified_before, 2)


def test_what_nothing_says_is_a_fault_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much comes meanwhile."""
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waited"))

    def take() -> None:
        appended(folder, "started", {})
        run(folder, "UPDATE records SET sealed = x'' WHERE idx = 7")

    assert [(fault.kind, fault.index) for fault in while_it(folder, take).faults] == [("sealed_missing", 7)]
    assert not verified(folder).ok


def test_what_was_pruned_just_before_is_excused_by_a_checkpoint_of_meanwhile(folder: Path) -> None:
    """Of as many records as are verified."""
    appended(folder, "pruned", PRUNED, (2, 3), signed=False)
    assert kinds(verified(folder)) == {"sealed_missing"}
    report = while_it(folder, lambda: appended(folder, "started", {}))
    assert (report.faults, report.size) == ([], COUNT + 1)


def test_on_a_ledger_that_stands_still_nothing_is_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waited"))
    appended(folder, "pruned", PRUNED, (2, 3), signed=False)
    assert {"verify again" in fault.message for fault in verified(folder).faults} == {True}


@pytest.mark.parametrize("origin", [SIGNER.name, "ledger.old"])
def test_a_wrong_checkpoint_beside_them_does_not_keep_right_ones_from_counting(folder: Path, origin: str) -> None:
    """Else whoever can lay a file there has everything else passed over that is found by what checkpoints cover."""
    appended(folder, "pruned", PRUNED)
    report = verified(folder)
    assert (kinds(report), report.held_against) == ({"pruned_present"}, [20, 40, COUNT, COUNT + 1])
    wrong = Checkpoint(origin, 5, bytes(32)).text()
    report = verified(folder, beside=lambda: [SIGNER.sign(wrong) if origin == SIGNER.name else NoteSigner(origin, THIEF).sign(wrong)])
    assert (kinds(report) - {"root_wrong", "history_forked", "checkpoint_invalid"}) == {"pruned_present"}
    assert kinds(report) != {"pruned_present"}
    assert report.held_against == [20, 40, COUNT, COUNT + 1]


def test_two_histories_under_one_key_are_said_to_be_two(folder: Path) -> None:
    """Where a later checkpoint agrees with the records, an earlier one that does not was signed for others."""
    other = SIGNER.sign(Checkpoint(SIGNER.name, 5, bytes(32)).text())
    assert kinds(verified(folder, beside=lambda: [other])) == {"root_wrong", "history_forked"}
