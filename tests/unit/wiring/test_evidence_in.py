from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.subject_keys import KeyFile
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.caching import CachedSubjectKeys
from router.audit.ledger import AuditLedger
from router.audit.records.record import decision_entry, open_personal
from router.audit.tree.proof import tree_root
from router.control.cloud_events import STRUCTURED, CloudEvent, cloud_events
from router.errors import RefusedError
from router.ports import Entry
from router.system import UuidV7
from router.wiring.evidence_in import MARKS_FILE, EvidenceIntake
from tests.unit.audit.ledgers import SIGNER, reader, run, verified
from tests.unit.audit.samples import DECISION
from tests.unit.identity.parts import HandClock

ANNA = DECISION.request.subject.id
SEALING_KEY = bytes(32)


def event(number: int = 1, decision: str | None = DECISION.id, **attributes: Any) -> CloudEvent:
    told = {"specversion": "1.0", "id": f"refund of anna {number}", "source": "payments-service", "type": "anna.refunded"}
    named = {} if decision is None else {"lockgatedecision": decision}
    (made,) = cloud_events([(b"content-type", STRUCTURED.encode())], json.dumps({**told, **named, **attributes}).encode())
    return made


class Desk:
    """An intake over a real ledger with one decision about anna in it."""

    def __init__(self, folder: Path, ledger: AuditLedger, keys: CachedSubjectKeys) -> None:
        self.folder, self.ledger, self.keys = folder, ledger, keys
        self.intake = EvidenceIntake(
            partial(reader, folder), folder, keys, ledger, HandClock(), UuidV7(), lambda: frozenset({"payments-service"})
        )

    async def take(self, *events: CloudEvent) -> list[dict[str, Any]]:
        return [dict(receipt) for receipt in await self.intake.take(events, "till", "abcd1234")]

    async def refusal(self, *events: CloudEvent) -> tuple[int, str]:
        with pytest.raises(RefusedError) as refused:
            await self.take(*events)
        return refused.value.status, refused.value.code

    async def personal(self, index: int) -> dict[str, str]:
        stored = self.stored(index)
        key = await self.keys.key(stored.key_id)
        assert key is not None
        return open_personal(Entry(stored.leaf, stored.sealed, stored.key_id), key)

    def stored(self, index: int) -> Any:
        source = reader(self.folder)
        try:
            return next(source.records(index, index + 1))
        finally:
            source.close()

    def leaf(self, index: int) -> dict[str, Any]:
        leaf: dict[str, Any] = json.loads(self.stored(index).leaf)
        return leaf


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    ledger = AuditLedger(Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints")))
    keys = CachedSubjectKeys(KeyFile(folder / "keys.sqlite", SEALING_KEY))
    await ledger.open()
    await keys.open()
    if ledger.size == 0:
        await ledger.append(decision_entry(DECISION, b"{}", *await keys.key_for(ANNA)))
    made = Desk(folder, ledger, keys)
    yield made
    await made.intake.close()
    await keys.close()
    await ledger.close()


async def test_evidence_is_kept_under_its_decision_and_its_subjects_key(tmp_path: Path) -> None:
    """The leaf says phase, destination and sender; what the caller wrote is sealed, and can be opened whole."""
    async with desk(tmp_path) as at:
        (receipt,) = await at.take(event(lockgatephase="completed", data={"note": "for anna"}))
        assert receipt == {
            "source": "payments-service",
            "id": "refund of anna 1",
            "record": 1,
            "decision_id": DECISION.id,
            "reference": "decision",
        }
        assert at.leaf(1)["evidence"] == {
            "phase": "completed",
            "reference": "decision",
            "destination": "payments-service",
            "sender": "abcd1234",
        }
        assert at.leaf(1)["id"] == DECISION.id
        assert b"anna" not in at.stored(1).leaf
        assert at.stored(1).key_id == at.stored(0).key_id
        assert json.loads((await at.personal(1))["event"])["data"] == {"note": "for anna"}
    assert verified(tmp_path).ok


async def test_a_repeat_is_answered_the_same_and_recorded_once(tmp_path: Path) -> None:
    """Within a process, within a batch, and after a restart with and without what was derived."""
    async with desk(tmp_path) as at:
        first = await at.take(event(), event(2), event())
        assert [receipt["record"] for receipt in first] == [1, 2, 1]
        assert await at.take(event(2), event()) == [first[1], first[0]]
    async with desk(tmp_path) as at:
        assert await at.take(event(), event(2), event()) == first
        assert at.ledger.size == 3
    (tmp_path / MARKS_FILE).unlink()
    async with desk(tmp_path) as at:
        assert await at.take(event()) == [first[0]]
        assert at.ledger.size == 3


async def test_senders_that_come_at_once_record_it_once(tmp_path: Path) -> None:
    """Looking and writing are one step."""
    async with desk(tmp_path) as at:
        answers = await asyncio.gather(*(at.take(event()) for _ in range(5)))
        assert at.ledger.size == 2
        assert all(answer == answers[0] for answer in answers)


async def test_another_event_under_the_same_id_is_a_conflict(tmp_path: Path) -> None:
    """Nothing of the request is recorded then, and the same id of another source is another event."""
    async with desk(tmp_path) as at:
        await at.take(event())
        assert await at.refusal(event(3), event(data=1)) == (409, "evidence_conflict")
        assert await at.refusal(event(4), event(4, data=1)) == (409, "evidence_conflict")
        assert at.ledger.size == 2
        await at.take(event(source="other"))
        assert at.ledger.size == 3


@pytest.mark.parametrize(
    ("decision", "reference", "told"),
    [
        ("019ab9d0-1111-7000-8000-0000000000ff", "unknown", True),
        ("order of anna", "foreign", False),
        ("019ab9d0-1111-4000-8000-0000000000ff", "foreign", False),
        (None, "none", False),
    ],
)
async def test_work_without_a_decision_is_recorded_as_an_orphan(tmp_path: Path, decision: str | None, reference: str, told: bool) -> None:
    """Under the sender's key; an id that no decision can have is sealed, too."""
    async with desk(tmp_path) as at:
        (receipt,) = await at.take(event(decision=decision))
        assert (receipt["reference"], receipt["decision_id"]) == (reference, decision if told else None)
        assert at.leaf(1)["evidence"]["reference"] == reference
        assert at.stored(1).key_id == (await at.keys.key_for("till"))[0]
        assert b"anna" not in at.stored(1).leaf
        assert (await at.personal(1)).get("decision", "") == (decision if reference == "foreign" else "")
    assert verified(tmp_path).ok


async def test_only_a_destinations_name_is_told(tmp_path: Path) -> None:
    """A source that the catalog does not know may be anything."""
    async with desk(tmp_path) as at:
        await at.take(event(source="anna-service"))
        assert at.leaf(1)["evidence"]["destination"] is None


async def test_after_an_erasure_nothing_personal_is_kept(tmp_path: Path) -> None:
    """Evidence about somebody who was erased says that it came, and what was left out; its predecessor is no longer comparable."""
    async with desk(tmp_path) as at:
        await at.take(event())
        forget(tmp_path, at.stored(0).key_id)
        (receipt,) = await at.take(replace(event(), document="{}"))
        assert receipt["record"] == 2
        assert at.leaf(2)["withheld"] == ["event", "event_id", "event_type", "source"]
        assert at.stored(2).sealed == b""
    assert verified(tmp_path).ok


def forget(folder: Path, key_id: str) -> None:
    with closing(sqlite3.connect(folder / "keys.sqlite", isolation_level=None)) as file:
        file.execute("DELETE FROM keys WHERE key_id = ?", (key_id,))


async def test_a_pruned_event_counts_as_recorded(tmp_path: Path) -> None:
    """Its personal part is gone, so that nobody can tell whether it was the same."""
    async with desk(tmp_path) as at:
        await at.take(event())
        first = await at.take(event())
        run(tmp_path, "UPDATE records SET sealed = x'' WHERE idx = 1")
        assert await at.take(event()) == first
        assert at.ledger.size == 2


async def test_marks_of_a_ledger_that_was_cut_are_made_again(tmp_path: Path) -> None:
    """What is derived follows the ledger, also backwards."""
    async with desk(tmp_path) as at:
        await at.take(event(), event(2))
    run(tmp_path, "DELETE FROM records WHERE idx = 2", "DELETE FROM leaf_hashes WHERE idx = 2", "DELETE FROM commits WHERE size > 1")
    run(tmp_path, "DELETE FROM checkpoints")
    for file in (tmp_path / "checkpoints").iterdir():
        file.unlink()
    source = reader(tmp_path)
    root = tree_root(source, 2)
    source.close()
    run(tmp_path, ("INSERT INTO commits VALUES (2, ?)", (root,)))
    async with desk(tmp_path) as at:
        assert [receipt["record"] for receipt in await at.take(event(), event(2, data="new"))] == [1, 2]
