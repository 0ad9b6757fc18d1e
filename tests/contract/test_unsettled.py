"""Records whose commit was not answered, tried again: each is there once, and its index is the one at which it stands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest

from adapters.postgres.connection import Server
from adapters.postgres.ledger import PostgresStore
from adapters.postgres.reader import PostgresReader
from router.audit.journal import UNSETTLED, Checkpointing, Journal
from router.audit.ledger import AuditLedger
from router.audit.questions.reader import Stored
from router.audit.records.record import withheld
from router.errors import AuditError
from router.ports import Arrival, Entry
from tests.postgres_server import PostgresServer
from tests.unit.audit.ledgers import SIGNER, entries
from tests.unit.audit.samples import KEY_ID


class Silent(PostgresStore):
    """A server that goes away around the next commit and is not back within any patience: `before` it, or `after`."""

    silent = ""

    def write(self, *batch: Any) -> None:
        now, self.silent = self.silent, ""
        if now != "before":
            super().write(*batch)
        if now:
            raise AuditError("Records may or may not have been written.", UNSETTLED)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two nodes of one ledger; `ours` knows what the test keeps from it."""

    server: Server
    store: Silent
    ours: AuditLedger
    other: AuditLedger

    def leaves(self) -> list[bytes]:
        reader = PostgresReader(self.server, Stored)
        try:
            return [stored.leaf for stored in reader.records(0, 99)]
        finally:
            reader.close()

    async def unsettled(self, when: str, batch: Sequence[Entry]) -> None:
        self.store.silent = when
        with pytest.raises(AuditError) as raised:
            await self.ours.append_many(batch)
        assert raised.value.code == UNSETTLED


@pytest.fixture
async def pair(postgres: PostgresServer) -> AsyncIterator[Pair]:
    server = postgres.server()
    store = Silent(server, SIGNER.verifier)
    async with AsyncExitStack() as stack:
        made = []
        for each in (store, PostgresStore(server, SIGNER.verifier)):
            ledger = AuditLedger(Journal(each, Checkpointing(SIGNER)))
            await ledger.open()
            stack.push_async_callback(ledger.close)
            made.append(ledger)
        yield Pair(server, store, *made)


def leaves(made: Sequence[Entry]) -> list[bytes]:
    return [entry.leaf for entry in made]


async def test_what_was_written_is_found_where_it_stands(pair: Pair) -> None:
    """Though another node went on meanwhile, and whatever is tried beside it: alone, with others, or once more."""
    made = entries(12)
    await pair.ours.append_many(made[:2])
    await pair.unsettled("after", made[2:5])
    await pair.other.append_many(made[5:7])
    assert await pair.ours.append(made[3]) == 3
    tried = asyncio.gather(*(pair.ours.append(each) for each in (made[7], made[4], made[8], made[2])))
    assert await tried == [7, 4, 8, 2]
    assert await pair.ours.append_many([made[2], made[9], made[3]]) == [2, 9, 3]
    assert await pair.other.append(made[10]) == 10
    assert pair.leaves() == leaves(made[:11])
    assert (pair.ours.size, pair.ours.fault) == (10, None)


async def test_what_was_not_written_is_written_once(pair: Pair) -> None:
    """Though another node's records stand where these were to stand, as many of them or fewer."""
    made = entries(8)
    await pair.unsettled("before", made[:3])
    await pair.other.append_many(made[3:5])
    assert await pair.ours.append_many(made[:3]) == [2, 3, 4]
    await pair.unsettled("before", made[5:6])
    assert await pair.ours.append(made[5]) == 5
    assert pair.leaves() == leaves([*made[3:5], *made[:3], made[5]])


async def test_several_may_be_unsettled(pair: Pair) -> None:
    """Each is settled by the first turn after it, and stays so."""
    made = entries(6)
    await pair.unsettled("after", made[:2])
    await pair.unsettled("before", made[2:4])
    await pair.unsettled("after", made[:1] + made[4:5])
    assert await asyncio.gather(*(pair.ours.append(each) for each in made[:5])) == [0, 1, 3, 4, 2]
    assert pair.leaves() == leaves([*made[:2], made[4], *made[2:4]])


async def test_one_that_was_written_without_its_personal_part_is_known_as_well(pair: Pair) -> None:
    """Its key was destroyed before it was written, so that another leaf stands there than was given."""
    made = entries(2)
    await pair.other.bar(KEY_ID)
    await pair.unsettled("after", made)
    assert await pair.ours.append(made[1]) == 1
    assert pair.leaves() == [withheld(leaf) for leaf in leaves(made)]


async def test_what_is_there_is_as_durable_as_what_is_written(pair: Pair) -> None:
    """Where nothing is left to write, an empty commit is made before anybody is told."""
    made = entries(1)
    await pair.unsettled("after", made)
    pair.store.silent = "before"
    with pytest.raises(AuditError) as raised:
        await pair.ours.append(made[0])
    assert raised.value.code == UNSETTLED
    assert await pair.ours.append(made[0]) == 0
    assert pair.leaves() == leaves(made)


async def test_what_a_server_that_took_over_does_not_have_is_written_there(pair: Pair) -> None:
    """It was seen on the first server, whose next commit was cut as well; nobody was told of it, so it is neither lost nor in the way."""
    made = entries(5)
    await pair.ours.append(made[0])
    await pair.unsettled("after", made[1:3])
    await pair.unsettled("before", made[1:2])
    with psycopg.connect(pair.server.url, autocommit=True) as session:
        for table, of in (("records", "idx"), ("leaf_hashes", "idx"), ("nodes", "idx"), ("commits", "size - 1")):
            session.execute(f"DELETE FROM {pair.server.schema}.{table} WHERE {of} >= 1")
    assert await pair.ours.append_many([made[3], made[2]]) == [1, 2]
    assert await pair.ours.append(made[1]) == 3
    assert pair.leaves() == leaves([made[0], made[3], made[2], made[1]])


async def test_an_event_is_found_as_any_other_and_another_of_it_is_refused(pair: Pair) -> None:
    """The very entry that decided it is no second decision of the event."""
    made = [replace(each, arrival=Arrival(bytes([place]) * 32, b"")) for place, each in enumerate(entries(4))]
    again = replace(entries(6)[5], arrival=made[1].arrival)
    await pair.unsettled("after", made[:2])
    assert await pair.ours.append_many([again, made[1], made[2], made[0]]) == [-1, 1, 2, 0]
    assert pair.leaves() == leaves(made[:3])


async def test_that_an_event_is_known_is_told_once_it_stays_so(pair: Pair) -> None:
    """Who sends it again is told that it is decided only after the turn that saw so has committed."""
    first, second = (replace(each, arrival=Arrival(b"k" * 32, b"")) for each in entries(2))
    await pair.unsettled("after", [first])
    await pair.unsettled("before", [second])
    assert await pair.ours.append_many([second]) == [-1]
    assert pair.leaves() == leaves([first])


async def test_entries_are_known_for_some_minutes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tries one again does so within one or two."""
    made = entries(2)
    await pair.unsettled("after", made)
    assert await pair.ours.append(made[0]) == 0
    monkeypatch.setattr("router.audit.unsettled.KEPT_S", 0.0)
    assert await pair.ours.append(made[0]) == 2
