"""What held requests in PostgreSQL promise to several nodes beyond every store of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from adapters.kept_reviews import terms_of
from adapters.postgres.api_keys import PostgresApiKeys
from adapters.postgres.connection import Server, connect
from adapters.postgres.members import PostgresMembers
from adapters.postgres.notices import PostgresNotices
from adapters.postgres.reviews import PostgresReviews
from adapters.postgres.schema import SHARED, SHARED_STEPS, migrate
from adapters.postgres.shared import PostgresShared
from router.errors import AuditError, ReviewError
from tests.contract.test_notice_stores import NOTICE
from tests.contract.test_review_stores import HELD_STEP, held, step
from tests.postgres_server import PostgresServer, running
from tests.unit.identity.parts import NOW, new_key

LEASE_S = 0.4
"""Short, so that nobody waits; nothing here depends on how long it is."""
Join = Callable[..., PostgresMembers]


@pytest.fixture
def server(postgres: PostgresServer) -> Server:
    return postgres.server()


@pytest.fixture
def join(server: Server) -> Iterator[Join]:
    """A node that says that it is there, once; `lease` is for how long others believe it."""
    with ExitStack() as stack:

        def joined(name: str, lease: float = 60.0, in_touch: float = 0.0) -> PostgresMembers:
            members = PostgresMembers(server, name, name, lease, in_touch)
            stack.callback(members.close)
            members.open({})
            return members

        yield joined


@asynccontextmanager
async def store(server: Server, members: PostgresMembers):
    made = PostgresReviews(server, members)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def test_what_one_node_holds_every_node_sees_and_decides(server: Server, join: Join) -> None:
    """One truth: held on one, listed and approved on the other, and of two approvals at once one counts."""
    async with store(server, join("a")) as one, store(server, join("b")) as two:
        await one.add(held(), HELD_STEP)
        assert [review.held.decision_id for _, review in await two.page(["pending"], 0, 9)] == ["d1"]
        won = await asyncio.gather(*(each.change("d1", 1, step("approved", at_ns=at)) for at, each in enumerate((one, two) * 5)))
        assert sorted(won) == [False] * 9 + [True]
        assert (await one.get("d1")).history == (await two.get("d1")).history
        assert [await each.count(["approved"]) for each in (one, two)] == [1, 1]


async def test_who_took_the_last_step_goes_on_for_as_long_as_it_lives(server: Server, join: Join) -> None:
    """To the others it is elsewhere, and its records are not theirs to append."""
    a, b = join("a"), join("b")
    async with store(server, a) as one, store(server, b) as two:
        await one.add(held(), HELD_STEP)
        await two.change("d1", 1, step("endorsed", after="pending"))
        await one.change("d1", 2, step("approved"))
        assert [(await each.get("d1")).elsewhere for each in (one, two)] == [False, True]
        assert [[number for _, number, _ in await each.unrecorded()] for each in (one, two)] == [[2], [1]]
        assert [await each.elsewhere("d1") for each in (one, two)] == [True, True]
        await two.recorded("d1", 1)
        assert [await each.elsewhere("d1") for each in (one, two)] == [False, True]


async def test_what_a_lost_node_had_to_do_one_other_takes_over(server: Server, join: Join) -> None:
    """Once its time is over, and by one of those that look at the same time."""
    a, others = join("a", LEASE_S), [join("b"), join("c")]
    async with store(server, a) as one:
        await one.add(held(), HELD_STEP)
        await one.change("d1", 1, step("approved"))
    await asyncio.to_thread(_wait_for, others[0], "a")
    async with store(server, others[0]) as two, store(server, others[1]) as three:
        assert not (await two.get("d1")).elsewhere
        found = await asyncio.gather(two.unrecorded(), three.unrecorded())
        assert sorted(len(steps) for steps in found) == [0, 1]
        won = await asyncio.gather(*(each.change("d1", 2, step("dispatched", "approved", "dispatching")) for each in (two, three)))
        assert sorted(won) == [False, True]
        assert {(await each.get("d1")).elsewhere for each in (two, three)} == {True, False}


async def test_a_node_that_stops_leaves_what_it_had_to_do_at_once(server: Server, join: Join) -> None:
    """Nobody waits for its time to be over."""
    a, b = join("a"), join("b")
    async with store(server, a) as one, store(server, b) as two:
        await one.add(held(), HELD_STEP)
        await one.change("d1", 1, step("approved"))
        assert (await two.get("d1")).elsewhere
        a.close()
        assert not (await two.get("d1")).elsewhere
        assert len(await two.unrecorded()) == 1


async def test_a_node_that_was_out_of_touch_takes_nobody_for_gone(server: Server, join: Join) -> None:
    """After an outage nobody has said that it is there, and who is quickest must not take everything."""
    a, b = join("a", LEASE_S), join("b")
    async with store(server, a) as one, store(server, b) as two:
        await one.add(held(), HELD_STEP)
        await one.change("d1", 1, step("approved"))
        await asyncio.to_thread(_wait_for, b, "a")
        c = join("c", in_touch=60.0)
        async with store(server, c) as three:
            assert (await three.get("d1")).elsewhere
            assert await three.unrecorded() == []
        assert not (await two.get("d1")).elsewhere
        assert len(await two.unrecorded()) == 1


async def test_the_same_step_asked_for_again_is_the_same_step(server: Server, join: Join) -> None:
    """Who lost the answer asks again, and learns that it was taken; another node that asks for the like did not take it."""
    a, b = join("a"), join("b")
    async with store(server, a) as one, store(server, b) as two:
        await one.add(held(), HELD_STEP)
        wanted = step("approved")
        assert await one.change("d1", 1, wanted)
        assert await one.change("d1", 1, wanted)
        assert not await two.change("d1", 1, wanted)
        assert (await one.get("d1")).version == 2


async def test_a_lost_session_is_made_anew(server: Server, join: Join) -> None:
    """The server ends all sessions between two questions: no caller notices."""
    members = join("a")
    async with store(server, members) as one:
        await one.add(held(), HELD_STEP)
        with psycopg.connect(server.url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert await one.change("d1", 1, step("approved"))
        members.beat({})
        assert (await one.get("d1")).version == 2


async def test_a_server_that_is_away_is_a_review_error_and_comes_back() -> None:
    """Named, after no longer than the patience; then it goes on by itself."""
    with running() as postgres:
        server = postgres.server()
        members = PostgresMembers(server, "a", "a")
        members.open({})
        made = PostgresReviews(server, members, patience=0.2)
        await made.open()
        await made.add(held(), HELD_STEP)
        postgres.stop(at_once=True)
        with pytest.raises(ReviewError) as refused:
            await made.get("d1")
        assert refused.value.code == "review_store_unavailable"
        with pytest.raises(AuditError):
            members.beat({})
        postgres.start()
        found = await made.get("d1")
        assert found is not None
        assert found.held == held()
        await made.close()
        members.close()


def test_nodes_that_were_gone_for_a_day_are_forgotten(server: Server, join: Join) -> None:
    """The list does not grow with every restart. Not before it is on record that they are lost: no ledger may have taken that."""
    a, b = join("a"), join("b")
    with psycopg.connect(server.url, autocommit=True) as other:
        other.execute(f"UPDATE \"{server.schema}\".members SET seen = seen - interval '25 hours' WHERE node = 'a'")
    b.beat({})
    assert [each.node for each in b.all()] == ["a", "b"]
    b.told_lost(a.node)
    b.beat({})
    assert [each.node for each in b.all()] == ["b"]


GRANTS = """
GRANT USAGE ON SCHEMA "{schema}" TO {role};
GRANT SELECT ON "{schema}".meta TO {role};
GRANT SELECT, INSERT, UPDATE (state, version, sealed, reply, terms, expires_ns, due_ns) ON "{schema}".reviews TO {role};
GRANT SELECT, INSERT, UPDATE (recorded, node) ON "{schema}".review_steps TO {role};
GRANT SELECT, INSERT ON "{schema}".review_entries TO {role};
GRANT SELECT, INSERT, UPDATE (revoked_ns, change) ON "{schema}".api_keys TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON "{schema}".members TO {role};
GRANT SELECT, INSERT, DELETE, UPDATE (owner, leased_ns, attempts, due_ns, until_ns, made_ns, result, reason)
 ON "{schema}".review_notices TO {role};
"""


async def test_a_node_needs_the_documented_grants_and_no_more(postgres: PostgresServer) -> None:
    """With them it does everything, and can alter neither what was held, nor a step, nor whose an API key is; without, it is told."""
    owner = postgres.server()
    PostgresShared(owner).migrate()
    postgres.sql("CREATE ROLE sharer LOGIN")
    server = Server(postgres.url(user="sharer"), owner.schema)
    members = PostgresMembers(server, "a", "a", in_touch=0.0)
    with pytest.raises(AuditError) as refused:
        members.open({})
    assert refused.value.code == "audit_migration_denied"
    postgres.sql(GRANTS.format(schema=owner.schema, role="sharer"))
    members.open({})
    async with store(server, members) as one:
        await one.add(held(), HELD_STEP)
        assert await one.change("d1", 1, step("approved"), forget=True, reply=b"x")
        await one.recorded("d1", (await one.unrecorded())[0][1])
        assert await one.due(0, ["pending"]) == []
    notices = PostgresNotices(server)
    await notices.open()
    await notices.add([NOTICE, replace(NOTICE, id="ntc_2"), replace(NOTICE, id="rsm_1", due_ns=99)])
    assert await notices.hasten("rsm_1", 99, 10)
    assert len(await notices.lease("a", 10, 20, 9)) == 3
    assert await notices.postpone("a", "ntc_1", 1, 30, "x")
    assert await notices.end("a", "ntc_2", "sent", "")
    assert await notices.forget(NOTICE.keep_ns) == 3
    await notices.close()
    keys = PostgresApiKeys(server)
    keys.open()
    key_id, _ = new_key(keys)
    assert keys.revoke(key_id, NOW)
    keys.close()
    members.close()
    for sql in (
        "UPDATE reviews SET id = ''",
        "DELETE FROM reviews",
        "UPDATE review_steps SET event = ''",
        "UPDATE review_entries SET sealed = ''",
        "UPDATE api_keys SET subject = ''",
        "UPDATE review_notices SET route = ''",
        "UPDATE review_notices SET sealed = ''",
        "DELETE FROM api_keys",
    ):
        with psycopg.connect(server.url, autocommit=True) as session:
            session.execute(f'SET search_path = "{server.schema}"')
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(sql)


def test_the_grants_are_the_documented_ones() -> None:
    """What is tried here stands in the guide."""
    page = " ".join((Path(__file__).parents[2] / "docs/many-nodes.md").read_text().split())
    for statement in filter(None, (each.strip() for each in GRANTS.split(";"))):
        assert " ".join(statement.format(schema="lockgate", role="lockgate_node").replace('"', "").split()) in page


def _wait_for(members: PostgresMembers, node: str) -> None:
    deadline = time.monotonic() + 30
    while any(each.node == node and each.alive for each in members.all()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def test_tables_of_the_release_before_are_brought_along(server: Server, join: Join) -> None:
    """What waits is due at its end, as before; today's steps go on from it, and a node of before may still add what waits."""
    connection = connect(server)
    try:
        migrate(connection, server, SHARED, {1: SHARED_STEPS[1]})
        insert = "INSERT INTO reviews (id, state, version, expires_ns, terms, sealed) VALUES (%s, 'pending', 1, %s, %s, %b)"
        note = "INSERT INTO review_steps VALUES (%s, 0, 'held', '', 'pending', 10, true, 'old')"
        connection.execute(insert, ("d1", held().expires_ns, terms_of(held()), held().sealed))
        connection.execute(note, ("d1",))
        async with store(server, join("a")) as one:
            assert await one.due(99, ["pending"]) == []
            assert await one.due(100, ["pending"]) == ["d1"]
            found = await one.get("d1")
            assert (found.held, found.version) == (held(), 1)
            assert await one.change("d1", 1, step("claimed", after="assigned"), due_ns=40)
            assert await one.due(40, ["assigned"]) == ["d1"]
            connection.execute(insert, ("d2", 100, terms_of(held("d2")), b"x"))
            connection.execute(note, ("d2",))
            assert await one.due(50, ["pending"]) == ["d2"]
    finally:
        connection.close()
