from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite.reader import SqliteReader
from router.audit.checking.bundle import Disclosure
from router.audit.records.canonical import canonical
from router.audit.records.record import SYSTEM
from router.audit.tree.checkpoint import Checkpoint, note_checkpoint
from router.errors import AuditError
from router.ports import Entry
from tests.unit.audit.ledgers import run
from vectors.ledger import ANNA, BERT, ERASED, FIRST, NEW, Ledger, entries, keys, system


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


def bundle(ledger: Ledger, decision_id: str = FIRST, outside: str | None = None, disclosure: Disclosure | None = None) -> dict[str, Any]:
    with ledger.bundles() as bundles:
        return bundles.bundle(decision_id, None if outside is None else note_checkpoint(outside), disclosure)


def refused(ledger: Ledger, decision_id: str = FIRST, outside: str | None = None, disclosure: Disclosure | None = None) -> tuple[str, str]:
    with pytest.raises(AuditError) as caught:
        bundle(ledger, decision_id, outside, disclosure)
    return caught.value.code, str(caught.value)


def test_all_records_of_the_decision_are_in_it_in_order(ledger: Ledger) -> None:
    """Decision, review and outcome, as they were written."""
    made = bundle(ledger)
    assert [record["index"] for record in made["records"]] == [1, 2, 3]
    assert [b64decode(record["leaf"]) for record in made["records"]] == [entry.leaf for entry in entries()[1:4]]
    assert made["decision"] == FIRST


def test_the_newest_cosigned_checkpoint_is_preferred(ledger: Ledger) -> None:
    """It is worth more than a newer one that no witness saw."""
    assert note_checkpoint(bundle(ledger)["checkpoint"]).size == 9


def test_what_no_cosigned_checkpoint_covers_is_proven_in_the_newest(tmp_path: Path) -> None:
    """An erasure at place 9 lies beyond the cosigned one."""
    late = [*entries()[:7], system("config_changed", {}), system("config_changed", {}), entries()[7], system("config_changed", {})]
    made = bundle(Ledger(tmp_path, late), ERASED)
    assert [record["index"] for record in made["erasures"]] == [9]
    assert note_checkpoint(made["checkpoint"]).size == 11


def test_nothing_personal_is_opened_unless_asked(ledger: Ledger) -> None:
    """Neither value nor salt."""
    assert not any("opened" in record for record in bundle(ledger)["records"])


def test_named_fields_are_opened_and_no_others(ledger: Ledger) -> None:
    """By salt and value; the subject's key is nowhere in the bundle."""
    made = bundle(ledger, disclosure=Disclosure(keys, frozenset({"text"})))
    assert [set(record.get("opened", ())) for record in made["records"]] == [{"text"}, set(), set()]
    assert ANNA[1] not in b64decode(made["records"][0]["opened"]["text"]["salt"])
    everything = bundle(ledger, disclosure=Disclosure(keys))
    assert [sorted(record.get("opened", ())) for record in everything["records"]] == [["subject", "text"], ["reviewer"], []]


def test_a_field_that_is_nowhere_is_named(ledger: Ledger) -> None:
    """With those that there are."""
    code, sentence = refused(ledger, disclosure=Disclosure(keys, frozenset({"texts"})))
    assert code == "field_unknown"
    assert "there are: reviewer, subject, text" in sentence


def test_an_erased_record_brings_its_sealed_part_and_the_erasure(ledger: Ledger) -> None:
    """Also where nobody has keys: the ledger itself says that the key was destroyed."""
    made = bundle(ledger, ERASED)
    assert made["records"][0]["erased"]["erasure"] == 7
    assert b64decode(made["records"][0]["erased"]["sealed"]) == entries()[4].sealed
    assert [record["index"] for record in made["erasures"]] == [7]
    assert bundle(ledger)["erasures"] == []


def test_other_peoples_erasures_are_not_read_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a trail that is asked again and again they are read once, however many there are."""
    others = [system("subject_erased", {"key_id": f"{number:032x}", "reason": "gdpr_art_17"}) for number in range(50)]
    ledger, read = Ledger(tmp_path, [*entries(), *others]), list[int]()
    with ledger.bundles() as bundles:
        bundles.indexes(ERASED)
        records = SqliteReader.records

        def counted(self: SqliteReader, start: int, end: int) -> Iterator[Any]:
            read.append(start)
            return records(self, start, end)

        monkeypatch.setattr(SqliteReader, "records", counted)
        made = bundles.bundle(ERASED)
    assert made["records"][0]["erased"]["erasure"] == 7
    assert read
    assert max(read) == 7


def test_what_only_says_so_of_another_ledger_is_no_erasure(tmp_path: Path) -> None:
    """Who checks a bundle wants the record of the erasure itself."""
    carried = system("erasure_carried_over", {"key_id": BERT[0], "reason": "gdpr_art_17", "from": {"keys": 1}})
    made = bundle(Ledger(tmp_path, [*entries()[:7], carried, *entries()[8:]]), ERASED, disclosure=Disclosure(keys))
    assert (made["records"][0]["erased"]["erasure"], made["erasures"]) == (None, [])


def test_a_key_that_is_gone_without_a_record_is_said_to_be(tmp_path: Path) -> None:
    """Without naming an erasure."""
    plain = [*entries()[:7], system("config_changed", {}), *entries()[8:]]
    assert bundle(Ledger(tmp_path, plain), ERASED, disclosure=Disclosure(keys))["records"][0]["erased"]["erasure"] is None


def test_rotations_bring_the_old_keys_word(ledger: Ledger) -> None:
    """The record, and its place in the tree that the old key signed."""
    (rotation,) = bundle(ledger)["rotations"]
    assert rotation["index"] == 5
    assert rotation["handover"].endswith(ledger.notes[6])


def test_a_rotation_that_the_old_key_did_not_sign_is_not_vouched_for(tmp_path: Path) -> None:
    """The old key was lost."""
    (rotation,) = bundle(Ledger(tmp_path, lost=True))["rotations"]
    assert (rotation["index"], rotation["handover"]) == (5, None)


def test_a_record_that_calls_the_key_in_force_a_new_one_is_no_rotation(tmp_path: Path) -> None:
    """Who can only append records cannot make an honest bundle look as if a key had been lost."""
    forged = system("key_rotated", {"old": "ledger.example/vectors+00000000", "new": NEW.verifier, "vouched": False, "reason": "lost"})
    (rotation,) = bundle(Ledger(tmp_path, [*entries()[:8], forged, *entries()[8:10]]))["rotations"]
    assert rotation["index"] == 5


def test_a_rotation_that_no_hand_over_followed_is_left_out(ledger: Ledger, tmp_path: Path) -> None:
    """It had no effect: the checkpoint that ends with it never was."""
    run(tmp_path, "DELETE FROM checkpoints WHERE size = 6")
    assert bundle(ledger)["rotations"] == []


def test_a_record_newer_than_every_checkpoint_is_said(ledger: Ledger, tmp_path: Path) -> None:
    """By its index."""
    run(tmp_path, "DELETE FROM checkpoints WHERE size > 1")
    code, sentence = refused(ledger)
    assert code == "checkpoint_pending"
    assert "Record 1 is newer than the latest checkpoint, which is over 0 records" in sentence


@pytest.mark.parametrize(("size", "sizes"), [(5, (5, 9)), (11, (9, 11)), (9, None)])
def test_the_way_to_the_outside_checkpoint_is_proven(ledger: Ledger, size: int, sizes: tuple[int, int] | None) -> None:
    """Older or newer than the bundle's own; the same needs no proof."""
    path = bundle(ledger, outside=ledger.notes[size])["consistency"]
    assert (None if path is None else (path["old"], path["new"])) == sizes


def test_an_outside_checkpoint_of_another_history_is_refused(ledger: Ledger) -> None:
    """Another root, more records than there are, none at all, another ledger."""
    right = note_checkpoint(ledger.notes[5])
    for wrong in (
        replace(right, root=bytes(32)),
        replace(right, size=12),
        Checkpoint(right.origin, 0, right.root),
        replace(right, origin="other.example"),
    ):
        assert refused(ledger, outside=NEW.sign(wrong.text()))[0] == "checkpoint_other_history"


@pytest.mark.parametrize("decision_id", ["nobody", "", "order-1"])
def test_an_unknown_decision_is_refused(tmp_path: Path, decision_id: str) -> None:
    """Also an id that other records have."""
    order = Entry(
        canonical({"schema": SYSTEM, "time": "2025-11-24T16:00:03.000000000Z", "event": "ordered", "id": "order-1", "details": {}})
    )
    assert refused(Ledger(tmp_path, [*entries()[:6], order, *entries()[7:]]), decision_id)[0] == "decision_unknown"


def test_an_altered_record_is_not_proven(ledger: Ledger, tmp_path: Path) -> None:
    """What is handed out was held to the checkpoint first."""
    run(tmp_path, "UPDATE records SET leaf = replace(CAST(leaf AS TEXT), 'payment.cancel', 'payment.refund') WHERE idx = 1")
    assert refused(ledger)[0] == "audit_tree_broken"


def test_a_key_that_does_not_fit_opens_nothing(ledger: Ledger) -> None:
    """The sealed part says so before any commitment is asked."""
    assert refused(ledger, disclosure=Disclosure(lambda _: bytes(32)))[0] == "sealed_unreadable"


def test_one_records_proof_is_a_tlog_proof(ledger: Ledger) -> None:
    """In the text form of C2SP, of the decision or the record that is named."""
    with ledger.bundles() as bundles:
        assert bundles.proof(FIRST).startswith("c2sp.org/tlog-proof@v1\nindex 1\n")
        assert bundles.proof(FIRST, 3).startswith("c2sp.org/tlog-proof@v1\nindex 3\n")
        with pytest.raises(AuditError, match="Record 4 is none of decision"):
            bundles.proof(FIRST, 4)


def test_a_ledger_without_a_checkpoint_proves_nothing(ledger: Ledger, tmp_path: Path) -> None:
    """Nothing signed speaks for it."""
    run(tmp_path, "DELETE FROM checkpoints")
    assert refused(ledger)[0] == "checkpoint_pending"
