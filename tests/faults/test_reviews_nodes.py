"""Approved requests of several nodes: one is killed at every moment while another lives, and every answer of the database is lost once."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any, TypeVar

import psycopg
import pytest

from adapters.kept_reviews import KeptReviews
from adapters.memory_destination import MemoryDestination
from adapters.memory_ledger import MemoryLedger, MemorySubjectKeys
from adapters.postgres.connection import BoundedConnection, Server
from adapters.postgres.members import PostgresMembers
from adapters.postgres.reader import PostgresReader
from adapters.postgres.reviews import ReviewTables
from adapters.postgres.session import Session
from router.audit.checking.verify import Plan, verify
from router.audit.questions.reader import Stored
from router.decision import Subject
from router.errors import ReviewError
from router.ports import Entry
from router.review.attempts import Kind
from tests.faults.review_desk import approve_or_go_on, joined
from tests.faults.test_reviews import MAYBE_SENT, SENT, UNSENT, Bank
from tests.forked import forked
from tests.postgres_server import PostgresServer
from tests.unit.audit.ledgers import SIGNER
from tests.unit.identity.parts import HandClock
from tests.unit.review.conftest import Bank as MemoryBank
from tests.unit.review.parts import RITA, RUBEN, Desk, told, way

T = TypeVar("T")
CARA = Subject("cara", "user", ("manager",))
_names = count(1)


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    name = f"desk{next(_names)}"
    postgres.sql(f"CREATE DATABASE {name}")
    return postgres.url(name)


def recorded(url: str) -> list[Entry]:
    reader = PostgresReader(Server(url), Stored)
    try:
        return [Entry(stored.leaf) for stored in reader.records(0, reader.size())]
    finally:
        reader.close()


class DatabaseBank(Bank):
    def __init__(self, url: str) -> None:
        self._url = url
        self.arrivals: list[str] = []
        self.paid: set[str] = set()
        self.unapproved = 0
        self.port = 0

    def _arrived(self, key: str) -> None:
        self.arrivals.append(key)
        self.paid.add(key)
        leaves = [json.loads(entry.leaf) for entry in recorded(self._url)]
        self.unapproved += not any((leaf.get("event"), leaf["id"]) == ("approved", key) for leaf in leaves)


@pytest.fixture
async def bank(url: str) -> AsyncIterator[DatabaseBank]:
    made = DatabaseBank(url)
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


async def killed_while_another_lives(url: str, bank: DatabaseBank, moment: str, *, deduplicates: bool) -> tuple[str, str]:
    """(id, state) of what one node held and another approved and was killed in the middle of, once the first has gone on with it."""
    async with joined(url, "living", bank.port, deduplicates=deduplicates) as desk:
        review_id = await desk.held()
        with forked(approve_or_go_on, url, bank.port, deduplicates, review_id, moment) as process:
            while process.exitcode is None:  # the living one looks all the time, also while the other lives
                await desk.service.round()
                await asyncio.to_thread(process.join, 0.1)
            assert process.exitcode == -signal.SIGKILL
        async with asyncio.timeout(30):
            while True:
                await desk.service.round()
                await desk.settled()
                review = await desk.store.get(review_id)
                assert review is not None
                if review.state in ("done", "uncertain", "failed") and all(change.recorded for change in review.history):
                    break
                await asyncio.sleep(0.1)
    assert verify(Plan(partial(PostgresReader, Server(url), Stored), SIGNER.verifier, None, processes=1)).ok
    return review_id, review.state


@pytest.mark.parametrize("moment", [*UNSENT, *MAYBE_SENT, *SENT])
async def test_what_a_killed_node_left_another_finishes_once(url: str, bank: DatabaseBank, moment: str) -> None:
    """Where the upstream deduplicates it is done, once, never without its approval; each step is in the ledger, in order."""
    review_id, state = await killed_while_another_lives(url, bank, moment, deduplicates=True)
    assert (state, bank.paid, bank.unapproved) == ("done", {review_id}, 0)
    assert len(bank.arrivals) == (2 if moment in ("after send", "before step done") else 1)
    steps = list(dict.fromkeys(each for each in told(recorded(url)) if each != "redispatched"))
    assert steps == ["held", "approved", "dispatched", "routed 200"]


@pytest.mark.parametrize("moment", MAYBE_SENT)
async def test_what_a_killed_node_may_have_sent_no_other_sends(url: str, bank: DatabaseBank, moment: str) -> None:
    """Without deduplication it is uncertain, and at most one request arrived."""
    _, state = await killed_while_another_lives(url, bank, moment, deduplicates=False)
    assert state == "uncertain"
    assert len(bank.arrivals) == (1 if moment in ("after send", "before step done") else 0)
    assert told(recorded(url)) == ["held", "approved", "dispatched", "failed dispatch_uncertain"]


@pytest.mark.parametrize("moment", ["after step approved", "before step dispatched", "after step done"])
async def test_what_a_killed_node_surely_did_or_did_not_send_is_sent_once(url: str, bank: DatabaseBank, moment: str) -> None:
    """An upstream that does not deduplicate gets it exactly once."""
    review_id, state = await killed_while_another_lives(url, bank, moment, deduplicates=False)
    assert (state, bank.arrivals, bank.unapproved) == ("done", [review_id], 0)


class Losses:
    """Loses the connection at the numbered question, before or after the server has done what was asked."""

    def __init__(self) -> None:
        self.at = 0
        self.after = False
        self.asked = 0

    def plan(self, at: int, *, after: bool) -> None:
        self.at, self.after, self.asked = at, after, 0

    def around(self, job: Callable[[BoundedConnection], T], connection: BoundedConnection) -> T:
        self.asked += 1
        lost = self.asked == self.at
        if lost and not self.after:
            connection.close()
        done = job(connection)
        if lost:
            connection.close()
            raise psycopg.OperationalError("the connection was lost")
        return done


class LossySession(Session):
    def __init__(self, server: Server, losses: Losses) -> None:
        super().__init__(server)
        self._losses = losses

    def run(self, job: Callable[[BoundedConnection], T]) -> T:
        return super().run(lambda connection: self._losses.around(job, connection))


class NodeDesk(Desk):
    members: PostgresMembers


@asynccontextmanager
async def node(server: Server, name: str, losses: Losses, shared: tuple[Any, ...]) -> AsyncIterator[NodeDesk]:
    members = PostgresMembers(server, name, name, lease=60.0)
    members.open({})
    core = ReviewTables(server, members)
    core._session = LossySession(server, losses)
    store = KeptReviews(core)
    await store.open()
    desk = NodeDesk(store, *shared)
    desk.members = members
    try:
        yield desk
    finally:
        await desk.service.close(5)
        await store.close()
        members.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_every_answer_of_the_database_may_be_lost_once(postgres: PostgresServer, after: bool) -> None:
    """Held and endorsed on one node, approved and sent on the other, for as many times as that takes questions: each time another one's
    connection is lost, and each time the upstream gets it once and every step is recorded once, in order."""
    server, losses, bank, ledger = postgres.server(), Losses(), MemoryBank(), MemoryLedger()
    destination = MemoryDestination(bank.handle)
    await ledger.open()
    await destination.open()
    shared = (ledger, MemorySubjectKeys(), HandClock(), way(destination))
    async with node(server, "one", losses, shared) as one, node(server, "two", losses, shared) as two:
        two.policy.verdicts = one.policy.verdicts
        number, questions = 1, 1
        while number <= questions:
            begun = len(ledger.entries)
            losses.plan(number, after=after)
            review_id = await one.held(number, quorum=2)
            await one.approve(review_id, RITA)
            await two.approve(review_id, RUBEN)
            await two.settled()
            questions = max(questions, losses.asked if number == 1 else 0)
            found = await one.service.get(review_id) or {}
            assert (found["state"], len(bank.got)) == ("done", number), (number, found)
            assert told(ledger.entries[begun:]) == ["held", "approved", "approved", "dispatched", "routed 200"], number
            number += 1
        assert number > 20


@pytest.fixture
async def slow(postgres: PostgresServer) -> AsyncIterator[tuple[NodeDesk, NodeDesk, MemoryBank, MemoryLedger, asyncio.Event]]:
    """Two desks, of which the first has just sent what was approved on it, to a bank that answers once the event is set."""
    server, bank, ledger, answers, sent = postgres.server(), MemoryBank(), MemoryLedger(), asyncio.Event(), asyncio.Event()

    async def meanwhile() -> None:
        sent.set()
        await answers.wait()

    bank.meanwhile = meanwhile
    destination = MemoryDestination(bank.handle)
    await ledger.open()
    await destination.open()
    shared = (ledger, MemorySubjectKeys(), HandClock(), way(destination))
    async with node(server, "one", Losses(), shared) as one, node(server, "two", Losses(), shared) as two:
        two.policy.verdicts = one.policy.verdicts
        approving = asyncio.create_task(one.approve(await one.held()))
        await sent.wait()
        yield one, two, bank, ledger, answers
        answers.set()
        await approving
        await one.settled()


async def in_rounds(desk: NodeDesk) -> None:
    """As a node that has been in touch for long enough to judge others."""
    desk.members._in_touch = 0.0
    for _ in range(3):
        await desk.service.round()
        await desk.settled()


async def test_a_node_that_waits_for_its_upstream_is_left_alone(slow) -> None:
    """However often the other looks: one request, one outcome."""
    one, two, bank, ledger, answers = slow
    await in_rounds(two)
    assert (len(bank.got), told(ledger.entries)) == (1, ["held", "approved"])
    answers.set()
    await one.settled()
    assert told(ledger.entries) == ["held", "approved", "dispatched", "routed 200"]


async def test_a_node_that_was_taken_for_gone_ends_nothing_twice(slow) -> None:
    """It was silent too long, and another one settled it as uncertain: its own late end is not kept, and the upstream got one request."""
    one, two, bank, ledger, answers = slow
    await asyncio.to_thread(one.members.close)  # as for the others who see its time run out
    await in_rounds(two)
    answers.set()
    await one.settled()
    ((_, review),) = await two.store.page([], 0, 9)
    assert (review.state, len(bank.got)) == ("uncertain", 1)
    assert told(ledger.entries) == ["held", "approved", "dispatched", "failed dispatch_uncertain"]


async def test_of_two_nodes_that_find_a_request_due_at_once_one_expires_it(postgres: PostgresServer) -> None:
    """Ten times, both looking at the same moment: each is expired once, and recorded once."""
    server, bank, ledger, clock = postgres.server(), MemoryBank(), MemoryLedger(), HandClock()
    destination = MemoryDestination(bank.handle)
    await ledger.open()
    await destination.open()
    shared = (ledger, MemorySubjectKeys(), clock, way(destination))
    async with node(server, "one", Losses(), shared) as one, node(server, "two", Losses(), shared) as two:
        two.policy.verdicts = one.policy.verdicts
        for number in range(1, 11):
            review_id = await one.held(number)
            clock.forward(400 * 86_400)
            await asyncio.gather(one.service.expire_due(), two.service.expire_due())
            found = await two.service.get(review_id) or {}
            assert found["state"] == "expired"
            for desk in (one, two):
                await in_rounds(desk)
            assert told(ledger.entries) == ["held", "expired", "denied review_expired"] * number
    assert bank.got == []


async def test_of_two_reviewers_on_two_nodes_each_step_is_one_persons(postgres: PostgresServer) -> None:
    """Ten times: a second approval and a rejection at the same moment. One of them happened, the other hears so, and what was approved by
    both is sent once."""
    server, bank, ledger, clock = postgres.server(), MemoryBank(), MemoryLedger(), HandClock()
    destination = MemoryDestination(bank.handle)
    await ledger.open()
    await destination.open()
    shared, sent = (ledger, MemorySubjectKeys(), clock, way(destination)), 0
    async with node(server, "one", Losses(), shared) as one, node(server, "two", Losses(), shared) as two:
        two.policy.verdicts = one.policy.verdicts
        for number in range(1, 11):
            review_id = await one.held(number, quorum=2)
            both = await asyncio.gather(one.approve(review_id, RITA), two.approve(review_id, CARA))
            assert max(each["approvals"] for each in both) == 2
            for desk in (one, two):
                await desk.settled()
                await in_rounds(desk)
            assert (await two.service.get(review_id) or {})["state"] == "done"
            sent += 1
            assert len(bank.got) == sent
        for number in range(11, 21):
            review_id = await one.held(number)
            tried = await asyncio.gather(
                one.attempt(review_id, RITA, Kind.APPROVE, version=1),
                two.attempt(review_id, RUBEN, Kind.REJECT, version=1),
                return_exceptions=True,
            )
            refused = [each for each in tried if isinstance(each, ReviewError)]
            assert [each.code for each in refused] in (["review_changed"], ["review_not_pending"])
            for desk in (one, two):
                await desk.settled()
                await in_rounds(desk)
            found = await two.service.get(review_id) or {}
            assert found["state"] in ("done", "rejected")
            sent += found["state"] == "done"
            assert len(bank.got) == sent
        events = [each for each in told(ledger.entries) if each != "refused"]
        assert (events.count("held"), events.count("routed 200")) == (20, sent)
