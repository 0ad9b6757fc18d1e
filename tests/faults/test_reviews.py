"""Approved requests across `kill -9` at every moment, with real files, real processes and a real upstream."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from router.errors import ReviewError
from router.ports import Entry
from tests.faults.review_desk import approve_or_go_on, opened
from tests.forked import forked
from tests.unit.audit.ledgers import records_of, verified
from tests.unit.review.parts import RITA, RUBEN, told

UNSENT = ("after step approved", "after record approved", "after mark approved", "before step dispatched")
MAYBE_SENT = ("after step dispatched", "before send", "after send", "before step done")
SENT = ("after step done", "after record dispatched", "after record routed 200", "after mark done")


class Bank:
    """Pays once for each idempotency key, and looks at every arrival whether the approval is in the ledger."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.arrivals: list[str] = []
        self.paid: set[str] = set()
        self.unapproved = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                await reader.readexactly(int(fields.get("content-length", "0")))
                self._arrived(fields["idempotency-key"])
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\npaid")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _arrived(self, key: str) -> None:
        self.arrivals.append(key)
        self.paid.add(key)
        with closing(sqlite3.connect(f"{(self._folder / 'ledger.sqlite').as_uri()}?mode=ro", uri=True)) as ledger:
            leaves = [json.loads(leaf) for (leaf,) in ledger.execute("SELECT leaf FROM records")]
        self.unapproved += not any((leaf.get("event"), leaf["id"]) == ("approved", key) for leaf in leaves)


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Bank]:
    made = Bank(tmp_path)
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


def in_ledger(folder: Path) -> list[str]:
    return told([Entry(*record) for record in records_of(folder)])


async def approve_and_die(folder: Path, bank: Bank, moment: str, *, deduplicates: bool) -> str:
    """The id of a request whose approving process was killed at that moment."""
    async with opened(folder, bank.port, deduplicates=deduplicates) as desk:
        review_id = await desk.held()
    await go_on_and_die(folder, bank, review_id, moment, deduplicates=deduplicates)
    return review_id


async def go_on_and_die(folder: Path, bank: Bank, review_id: str, moment: str, *, deduplicates: bool) -> None:
    with forked(approve_or_go_on, str(folder), bank.port, deduplicates, review_id, moment) as process:
        await asyncio.to_thread(process.join, 60)
        assert process.exitcode == -signal.SIGKILL


async def resumed(folder: Path, bank: Bank, review_id: str, *, deduplicates: bool) -> tuple[str, bool]:
    """(the state after going on, whether the content is still kept)"""
    async with opened(folder, bank.port, deduplicates=deduplicates) as desk:
        await desk.service.resume()
        await desk.settled()
        await desk.service.round()
        review = await desk.store.get(review_id)
        assert review is not None
        assert all(change.recorded for change in review.history)
    return review.state, bool(review.held.sealed)


@pytest.mark.parametrize("moment", [*UNSENT, *MAYBE_SENT, *SENT])
async def test_what_was_approved_happens_once_where_the_upstream_deduplicates(tmp_path: Path, bank: Bank, moment: str) -> None:
    """Killed at any moment, it is done after the next start, once, never without its approval in a ledger that verifies."""
    review_id = await approve_and_die(tmp_path, bank, moment, deduplicates=True)
    assert await resumed(tmp_path, bank, review_id, deduplicates=True) == ("done", False)
    assert (bank.paid, bank.unapproved) == ({review_id}, 0)
    assert len(bank.arrivals) == (2 if moment in ("after send", "before step done") else 1)
    assert verified(tmp_path).ok
    assert list(dict.fromkeys(each for each in in_ledger(tmp_path) if each != "redispatched")) == [
        "held",
        "approved",
        "dispatched",
        "routed 200",
    ]


@pytest.mark.parametrize("moment", [*UNSENT, *SENT])
async def test_what_was_surely_not_or_surely_sent_is_done_once_anywhere(tmp_path: Path, bank: Bank, moment: str) -> None:
    """An upstream that does not deduplicate gets it exactly once."""
    review_id = await approve_and_die(tmp_path, bank, moment, deduplicates=False)
    assert await resumed(tmp_path, bank, review_id, deduplicates=False) == ("done", False)
    assert (bank.arrivals, bank.unapproved) == ([review_id], 0)
    assert verified(tmp_path).ok


@pytest.mark.parametrize("moment", MAYBE_SENT)
async def test_what_may_have_been_sent_is_never_sent_twice(tmp_path: Path, bank: Bank, moment: str) -> None:
    """Without deduplication it becomes uncertain, visibly, with its content kept for whoever settles it."""
    review_id = await approve_and_die(tmp_path, bank, moment, deduplicates=False)
    assert await resumed(tmp_path, bank, review_id, deduplicates=False) == ("uncertain", True)
    assert len(bank.arrivals) == (1 if moment in ("after send", "before step done") else 0)
    assert in_ledger(tmp_path) == ["held", "approved", "dispatched", "failed dispatch_uncertain"]
    assert verified(tmp_path).ok


async def test_killed_before_the_approval_is_durable_nothing_was_approved(tmp_path: Path, bank: Bank) -> None:
    """The request waits as before, and can be approved."""
    review_id = await approve_and_die(tmp_path, bank, "before step approved", deduplicates=False)
    assert await resumed(tmp_path, bank, review_id, deduplicates=False) == ("pending", True)
    assert (bank.arrivals, in_ledger(tmp_path)) == ([], ["held"])
    async with opened(tmp_path, bank.port, deduplicates=False) as desk:
        assert (await desk.approve(review_id))["state"] == "done"
    assert bank.arrivals == [review_id]


async def test_killed_twice_it_still_happens_once(tmp_path: Path, bank: Bank) -> None:
    """Going on after a crash may itself crash."""
    review_id = await approve_and_die(tmp_path, bank, "after send", deduplicates=True)
    await go_on_and_die(tmp_path, bank, review_id, "before step done", deduplicates=True)
    for _ in range(2):
        assert await resumed(tmp_path, bank, review_id, deduplicates=True) == ("done", False)
    assert (bank.paid, len(bank.arrivals)) == ({review_id}, 3)


async def test_what_may_have_been_sent_cannot_be_approved_again(tmp_path: Path, bank: Bank) -> None:
    """Nor rejected: it waits for the next round, not for a person."""
    review_id = await approve_and_die(tmp_path, bank, "after send", deduplicates=False)
    async with opened(tmp_path, bank.port, deduplicates=False) as desk:
        with pytest.raises(ReviewError, match="being sent"):
            await desk.approve(review_id, RUBEN)
    assert bank.arrivals == [review_id]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE reviews SET sealed = zeroblob(length(sealed))",
        "UPDATE reviews SET terms = json_set(terms, '$.content_digest', hex(zeroblob(32)))",
        "UPDATE reviews SET terms = json_set(terms, '$.summary.quorum', 1)",
        "UPDATE reviews SET terms = json_set(terms, '$.route', 'other.ask')",
    ],
)
async def test_a_row_that_was_altered_on_disk_is_not_sent(tmp_path: Path, bank: Bank, damage: str) -> None:
    """Between approval and dispatch somebody edits the file: it fails as `content_changed`, and the ledger says so."""
    async with opened(tmp_path, bank.port, deduplicates=True) as desk:
        review_id = await desk.held(quorum=2)
        await desk.approve(review_id)
    with closing(sqlite3.connect(tmp_path / "reviews.sqlite", isolation_level=None)) as file:
        file.execute(damage)
        file.execute("UPDATE reviews SET state = 'approved'")
    state, _ = await resumed(tmp_path, bank, review_id, deduplicates=True)
    assert (state, bank.arrivals) == ("failed", [])
    assert in_ledger(tmp_path)[-1] == "failed content_changed"


async def test_a_state_that_was_written_on_disk_is_no_approval(tmp_path: Path, bank: Bank) -> None:
    """One approval of two, and the rest by hand: nothing is sent."""
    async with opened(tmp_path, bank.port, deduplicates=True) as desk:
        review_id = await desk.held(quorum=2)
        await desk.approve(review_id, RITA)
    with closing(sqlite3.connect(tmp_path / "reviews.sqlite", isolation_level=None)) as file:
        file.execute("UPDATE reviews SET state = 'approved'")
        file.execute("UPDATE history SET event = 'approved', after = 'approved' WHERE event = 'endorsed'")
    state, _ = await resumed(tmp_path, bank, review_id, deduplicates=True)
    assert (state, bank.arrivals) == ("failed", [])
    assert in_ledger(tmp_path)[-1] == "failed approval_unproven"


async def test_what_is_forgotten_is_not_in_the_file(tmp_path: Path, bank: Bank) -> None:
    """Removed content is overwritten, not only unlinked."""
    async with opened(tmp_path, bank.port, deduplicates=True) as desk:
        review_id = await desk.held()
        review = await desk.store.get(review_id)
        assert review is not None
        await desk.approve(review_id)
    assert review.held.sealed[20:60] not in (tmp_path / "reviews.sqlite").read_bytes()
