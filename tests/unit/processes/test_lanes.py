"""What the control process keeps of the order that a door told of a delivery: nobody can try on it who that is about."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from router.audit.beside import TOLD_BYTES
from router.audit.keys.lanes import Lanes
from router.audit.records.record import system_entry
from router.cli.main import run
from router.config.events import EventSource
from router.doors.events.event import Event
from router.doors.events.plan import SourcePlan
from router.ports import Delivery, Due, Entry
from router.processes.evidence import Evidence, open_evidence
from router.processes.outbox import packed_entry
from router.secret import Secret
from router.system import SystemClock
from router.workspace import Workspace, parse, read

SHOP = {
    "signature": {"scheme": "github", "secrets": [Secret("x")]},
    "speaks_for": {"subject": "shop"},
    "order": "{{ body.customer }}",
}


def told(customer: str) -> bytes:
    """As the door for events tells it, which anybody can make."""
    event = Event({}, b'{"customer":"%s"}' % customer.encode(), "application/json")
    return SourcePlan("shop", EventSource.model_validate(SHOP)).order(event, b"")


def ordered(name: str, order: bytes, key_id: str = "k") -> Entry:
    made = Delivery(name, "orders", "billing", Due.DISPATCH, key_id, b"sealed", 1, 2, 2**62, order)
    return Entry(system_entry("started", 1).leaf, delivery=made)


async def appended(evidence: Evidence, *entries: Entry) -> None:
    """As a worker has them appended."""
    await evidence.append([packed_entry(each) for each in entries])


async def kept(evidence: Evidence) -> list[bytes]:
    return [each.delivery.order for each in await evidence.outbox.page(-1, 99, dead=None)]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return made(tmp_path / "bank")


def made(folder: Path) -> Workspace:
    assert run(["init", str(folder)]) == 0
    return parse(read(folder / "lockgate.yaml", {}), {})


def test_a_lane_is_the_same_under_one_sealing_key_and_another_under_another() -> None:
    """On every node of a ledger. It is not as long as what is told, which may so be known; what has no order gets none."""
    order = told("ann@halden.example")
    assert len(order) == TOLD_BYTES
    lanes = [Lanes(bytes(32)).lane(order), Lanes(bytes(32)).lane(order), Lanes(b"x" * 32).lane(order)]
    assert lanes[0] == lanes[1] != lanes[2]
    assert len(lanes[0]) != TOLD_BYTES
    assert Lanes(bytes(32)).lane(b"") == b""


async def test_who_tries_addresses_on_the_ledgers_file_finds_nobody(workspace: Workspace) -> None:
    """But what is ordered alike is kept alike, by any node with the same key."""
    evidence = await open_evidence(workspace, SystemClock())
    ann, bob = told("ann@halden.example"), told("bob@halden.example")
    await appended(evidence, ordered("d1", ann), ordered("d2", bob), ordered("d3", ann), ordered("d4", b""))
    lanes = await kept(evidence)
    assert lanes[0] == lanes[2] != lanes[1]
    assert lanes[3] == b""
    taken = await evidence.outbox.lease("me", 10, 20, 9)
    assert sorted(each.id for each, _ in taken) == ["d1", "d2", "d4"]
    await evidence.close()
    content = b"".join(each.read_bytes() for each in workspace.path(workspace.config.state).glob("ledger.sqlite*"))
    assert lanes[0] in content
    assert [guess for guess in (ann, bob) if guess in content or hashlib.sha256(guess).digest() in content] == []


async def test_a_start_renames_what_a_release_of_before_kept(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """What comes then goes behind what waits, and what was told is in no file any more."""
    evidence = await open_evidence(workspace, SystemClock())
    await appended(evidence, ordered("d1", told("ann")), ordered("d2", told("ann")))
    await evidence.close()
    with closing(sqlite3.connect(workspace.path(workspace.config.state) / "ledger.sqlite", isolation_level=None)) as file:
        file.execute("UPDATE deliveries SET lane = ?", (told("ann"),))
    evidence = await open_evidence(workspace, SystemClock())
    assert [each.getMessage() for each in caplog.records if "orders of 2 deliveries" in each.getMessage()] != []
    await appended(evidence, ordered("d3", told("ann")))
    assert len(set(await kept(evidence))) == 1
    assert [each.id for each, _ in await evidence.outbox.lease("me", 10, 20, 9)] == ["d1"]
    await evidence.close()
    content = b"".join(each.read_bytes() for each in workspace.path(workspace.config.state).glob("ledger.sqlite*"))
    assert told("ann") not in content
