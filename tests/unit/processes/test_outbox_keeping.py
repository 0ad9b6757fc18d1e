"""Events are forgotten after a while, it is told how many deliveries wait, and orders name nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

from adapters.memory_ledger import MemorySubjectKeys
from adapters.sqlite.ledger import SqliteStore
from router.audit.beside import TOLD_BYTES
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.lanes import Lanes
from router.audit.ledger import AuditLedger
from router.audit.outbox import Outbox
from router.processes.outbox_keeping import OutboxKeeping
from router.system import SystemClock
from tests.contract.test_outboxes import Settled, delivery, entry
from tests.unit.audit.ledgers import SIGNER

S = 10**9


class Clock(SystemClock):
    """`ahead` of the real one, in seconds."""

    ahead = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.ahead * S


async def turns(keeping: OutboxKeeping) -> None:
    task = asyncio.create_task(keeping.keep(0.01, 0.01))
    await asyncio.sleep(0.2)
    task.cancel()


async def test_an_event_is_forgotten_when_its_time_is_over_and_not_before(tmp_path: Path) -> None:
    """By the time that is configured now."""
    ledger, clock = AuditLedger(Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER))), Clock()
    await ledger.open()
    outbox, remember = Outbox(ledger, MemorySubjectKeys()), [3600.0]
    keeping = OutboxKeeping(outbox, clock, lambda: remember[0], bytes)
    await ledger.append(entry(arrival=bytes(32)))
    clock.ahead = 3000
    await turns(keeping)
    assert await outbox.answer(bytes(32)) == b"first"
    remember[0] = 2000.0
    await turns(keeping)
    assert await outbox.answer(bytes(32)) is None
    await ledger.close()


async def test_how_many_wait_for_how_long_and_how_many_are_dead(tmp_path: Path) -> None:
    """The age is that of the oldest that lives."""
    ledger, clock = AuditLedger(Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER))), Clock()
    await ledger.open()
    keeping = OutboxKeeping(Outbox(ledger, MemorySubjectKeys()), clock, lambda: 1.0, bytes)
    assert set(keeping.figures().values()) == {0.0}
    await ledger.append_many([entry(deliver=delivery(name)) for name in "abc"])
    await ledger.append(entry(settled=Settled("a", dead=True)))
    await turns(keeping)
    told = keeping.figures()
    assert (told["lockgate.deliveries.pending"], told["lockgate.deliveries.dead"]) == (2, 1)
    assert told["lockgate.deliveries.age"] > 10**9
    await ledger.close()


async def test_orders_that_a_node_of_the_release_before_still_writes_are_renamed_as_well(tmp_path: Path) -> None:
    """It is ended after those of the new release have started, and nobody starts after it."""
    ledger, clock = AuditLedger(Journal(SqliteStore(tmp_path / "ledger.sqlite"), Checkpointing(SIGNER))), Clock()
    await ledger.open()
    outbox, told = Outbox(ledger, MemorySubjectKeys()), b"t" * TOLD_BYTES
    keeping = OutboxKeeping(outbox, clock, lambda: 1.0, Lanes(bytes(32)).lane)
    await turns(keeping)
    await ledger.append(entry(deliver=delivery("a", order=told)))
    await turns(keeping)
    assert [each.delivery.order for each in await outbox.page(-1, 9, dead=None)] == [Lanes(bytes(32)).lane(told)]
    await ledger.close()
