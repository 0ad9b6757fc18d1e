"""A node that says nothing any more is on record: by one of the others, in one PostgreSQL, once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import pytest

from adapters.postgres.connection import Server
from adapters.postgres.members import PostgresMembers
from router.errors import AuditError
from router.wiring import membership as module
from router.wiring.membership import NAME, Membership
from tests.postgres_server import PostgresServer

LEASE_S, LOST_S, BEAT_S = 0.5, 1.0, 0.05


class Place:
    def __init__(self, server: Server) -> None:
        self.server = server

    def members(self, node: str, name: str) -> PostgresMembers:
        return PostgresMembers(self.server, node, name, LEASE_S, 0.0)


class Evidence:
    def __init__(self, name: str, nodes: Nodes) -> None:
        self._name = name
        self._nodes = nodes

    async def system(self, event: str, details: Mapping[str, Any]) -> None:
        if self._nodes.hangs is not None:
            self._nodes.hangs.set()
            await asyncio.Event().wait()
        if self._nodes.away:
            self._nodes.away -= 1
            raise AuditError("The ledger is away.")
        self._nodes.told.append((self._name, event, details))


class Nodes:
    """`told`: what each has recorded. A ledger that is `away` takes nothing."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = Place(server)
        self._monkeypatch = monkeypatch
        self.told: list[tuple[str, str, Mapping[str, Any]]] = []
        self.living: list[Membership] = []
        self.away = 0
        self.hangs: asyncio.Event | None = None

    async def start(self, name: str) -> Membership:
        self._monkeypatch.setenv(NAME, name)

        made = Membership(self.place, Evidence(name, self))  # type: ignore[arg-type]  # a place for members and nothing else
        self.living.append(made)
        await made.open(dict)
        return made

    async def heard(self, times: int) -> list[tuple[str, str, str]]:
        """(who told, what, of whom)"""
        async with asyncio.timeout(30):
            while len(self.told) < times:  # noqa: ASYNC110  # what is waited for wakes nobody
                await asyncio.sleep(0.02)
        return [(by, event, details["name"]) for by, event, details in self.told]


async def vanish(node: Membership) -> None:
    """As if it had been killed: nothing of it is heard, and it says no goodbye."""
    beating = node._beating
    assert beating is not None
    beating.cancel()
    with suppress(asyncio.CancelledError):
        await beating


@pytest.fixture
async def nodes(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Nodes]:
    monkeypatch.setattr(module, "BEAT_S", BEAT_S)
    monkeypatch.setattr(module, "LOST_S", LOST_S)
    made = Nodes(postgres.server(), monkeypatch)
    yield made
    for each in made.living:
        await each.close()


async def test_one_of_the_others_says_so_once(nodes: Nodes) -> None:
    """The one that has been there for longest, and the next where it is that one that was lost."""
    a, b, c = [await nodes.start(name) for name in "abc"]
    await vanish(c)
    assert await nodes.heard(1) == [("a", "node_lost", "c")]
    (_, _, details) = nodes.told[0]
    assert (details["node"], details["started"] <= details["seen"]) == (c.members.node, True)
    await vanish(a)
    assert await nodes.heard(2) == [("a", "node_lost", "c"), ("b", "node_lost", "a")]
    await asyncio.sleep(10 * BEAT_S)
    assert len(nodes.told) == 2
    assert b.known


async def test_one_that_only_stood_still_says_that_it_is_back(nodes: Nodes) -> None:
    """And may be lost again."""
    await nodes.start("a")
    b = await nodes.start("b")
    for turn in range(2):
        await vanish(b)
        assert (await nodes.heard(2 * turn + 1))[-1] == ("a", "node_lost", "b")
        b._beating = asyncio.create_task(b._keep_beating())
        assert (await nodes.heard(2 * turn + 2))[-1] == ("b", "node_back", "b")


async def test_that_it_is_back_is_told_until_it_is_on_record(nodes: Nodes) -> None:
    await nodes.start("a")
    b = await nodes.start("b")
    await vanish(b)
    await nodes.heard(1)
    nodes.away = 3
    b._beating = asyncio.create_task(b._keep_beating())
    assert (await nodes.heard(2))[1] == ("b", "node_back", "b")
    assert nodes.away == 0
    await asyncio.sleep(10 * BEAT_S)
    assert len(nodes.told) == 2


async def test_one_that_goes_on_before_it_is_marked_says_that_it_is_back(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database was away between the record and the mark: the node is looked for in vain by then, and would never learn of it."""
    a, b = await nodes.start("a"), await nodes.start("b")
    mark, tries, heard = a.members.told_lost, list[str](), asyncio.Event()

    def failing_first(node: str) -> None:
        tries.append(node)
        if len(tries) == 1:
            asyncio.run_coroutine_threadsafe(goes_on(), loop).result()
            raise AuditError("The database is away.")
        mark(node)

    async def goes_on() -> None:
        b._beating = asyncio.create_task(b._keep_beating())
        while not all(each.alive for each in await asyncio.to_thread(b.members.all)):  # noqa: ASYNC110  # what is waited for wakes nobody
            await asyncio.sleep(0.02)
        heard.set()

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(a.members, "told_lost", failing_first)
    await vanish(b)
    assert await nodes.heard(2) == [("a", "node_lost", "b"), ("b", "node_back", "b")]
    assert heard.is_set()


def test_one_that_is_heard_of_while_it_is_said_to_be_lost_learns_of_it(postgres: PostgresServer) -> None:
    """Between two of its beats, or since the other looked for it: the record is there, and it has to say that it is back."""
    place = Place(postgres.server())
    a, b = [place.members(2 * name, name) for name in "ab"]
    a.open({})
    b.open({})
    b.told_back()  # nothing was said of it
    assert not b.beat({})
    a.told_lost(b.node)
    assert b.beat({"state": "serving"})
    assert b.beat({"state": "serving"})
    assert {each.name: each.told.get("state") for each in a.all()} == {"a": None, "b": "serving"}
    b.told_back()
    assert not b.beat({})
    a.close()
    b.close()


async def test_of_one_that_stopped_or_was_started_again_nobody_says_so(nodes: Nodes) -> None:
    """Its own records tell of it."""
    await nodes.start("a")
    b, c = await nodes.start("b"), await nodes.start("c")
    await b.close()
    await vanish(c)
    await nodes.start("c")
    d = await nodes.start("d")
    await vanish(d)
    assert await nodes.heard(1) == [("a", "node_lost", "d")]


async def test_one_that_was_lost_days_ago_is_told_of_where_nobody_was_there(nodes: Nodes, postgres: PostgresServer) -> None:
    """All nodes were without power over the weekend, and those that come now have other names."""
    gone, before, again = await nodes.start("gone"), await nodes.start("crashed"), await nodes.start("crashed")
    for each in (gone, before, again):
        await vanish(each)
    days = "interval '3 days'"
    schema = nodes.place.server.schema
    postgres.sql(f'UPDATE "{schema}".members SET started = started - {days}, seen = seen - {days}, until = until - {days}')
    await nodes.start("new")
    assert sorted(await nodes.heard(2)) == [("new", "node_lost", "crashed"), ("new", "node_lost", "gone")]
    assert {details["node"] for _, _, details in nodes.told} == {gone.members.node, again.members.node}


async def test_what_could_not_be_recorded_is_told_again(nodes: Nodes) -> None:
    await nodes.start("a")
    nodes.away = 3
    await vanish(await nodes.start("b"))
    assert await nodes.heard(1) == [("a", "node_lost", "b")]
    assert nodes.away == 0


async def test_a_ledger_that_takes_its_time_keeps_no_beat_waiting(nodes: Nodes) -> None:
    """Who waits for it would be taken for lost itself, and its work taken over."""
    nodes.hangs = asyncio.Event()
    a, b = await nodes.start("a"), await nodes.start("b")
    await vanish(b)
    async with asyncio.timeout(30):
        await nodes.hangs.wait()
        for _ in range(3):
            before = own_seen(a)
            while own_seen(a) == before:  # noqa: ASYNC110  # what is waited for wakes nobody
                await asyncio.sleep(0.02)
    assert nodes.told == []


def own_seen(node: Membership) -> float:
    (seen,) = (each.seen for each in node.known if each.node == node.members.node)
    return seen


def live(seconds: float, *nodes: PostgresMembers) -> None:
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        time.sleep(BEAT_S)
        for each in nodes:
            each.beat({})


def until_lost(node: PostgresMembers) -> list[str]:
    """Whom it finds lost while it lives."""
    while not (found := node.lost(LOST_S)):
        live(BEAT_S, node)
    return [each.node for each in found]


def test_after_an_outage_of_the_database_the_others_have_as_long_to_be_heard_of(postgres: PostgresServer) -> None:
    """Nobody was heard of meanwhile, and who finds it again first is not to say that all others were lost."""
    place = Place(postgres.server())
    a, b = place.members("a", "a"), place.members("b", "b")
    a.open({})
    b.open({})
    time.sleep(LOST_S + LEASE_S)
    a.beat({})
    assert a.lost(LOST_S) == []
    b.beat({})
    live(LOST_S, a)
    b._session.close()
    assert until_lost(a) == ["b"]
    a.close()


def test_where_the_databases_clock_jumps_who_lives_has_time_to_say_so(postgres: PostgresServer) -> None:
    """As at a failover to a server whose clock is ahead: whoever beats first there has heard of nobody for that long."""
    place = Place(postgres.server())
    a, b = place.members("a", "a"), place.members("b", "b")
    a.open({})
    b.open({})
    live(LOST_S + LEASE_S, a, b)
    jump = "interval '1 hour'"
    postgres.sql(f'UPDATE "{place.server.schema}".members SET seen = seen - {jump}, until = until - {jump}')
    a.beat({})
    assert a.lost(LOST_S) == []
    b.beat({})
    b._session.close()
    assert until_lost(a) == ["b"]
    a.close()


@pytest.mark.parametrize("ended", ["in order", "by a crash"])
def test_of_a_crash_that_its_next_start_told_of_nobody_says_so_later(postgres: PostgresServer, ended: str) -> None:
    """Not when that one stops, as all do in an upgrade, nor beside it when it is lost: it would seem to have been away all the time."""
    place = Place(postgres.server())
    a, crashed = place.members("a", "a"), place.members("b1", "b")
    a.open({})
    crashed.open({})
    crashed._session.close()
    again = place.members("b2", "b")
    again.open({})
    live(LOST_S + LEASE_S, a, again)
    assert a.lost(LOST_S) == []
    if ended == "in order":
        again.close()
        assert {each.node for each in a.all()} == {"a", "b1"}
        assert a.lost(LOST_S) == []
    else:
        again._session.close()
        assert until_lost(a) == ["b2"]
    a.close()
