"""Reports of Envoy's access log in PostgreSQL, between nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from adapters.postgres.connection import Server, connect
from adapters.postgres.envoy_reports import PostgresEnvoyReports
from adapters.postgres.shared import PostgresShared
from router.errors import AuditError
from tests.postgres_server import PostgresServer

GRANT = 'GRANT SELECT, INSERT, DELETE ON "{}".envoy_reports TO {}'
Join = Callable[..., PostgresEnvoyReports]


@pytest.fixture
def server(postgres: PostgresServer) -> Server:
    return postgres.server()


@pytest.fixture
def join(server: Server) -> Iterator[Join]:
    with ExitStack() as stack:

        def joined(node: str, kept: float = 60.0, at: Server = server) -> PostgresEnvoyReports:
            made = PostgresEnvoyReports(at, node, kept)
            stack.callback(made.close)
            made.open()
            return made

        yield joined


def rows(server: Server) -> int:
    with psycopg.connect(server.url, autocommit=True) as session:
        found = session.execute(f'SELECT count(*) FROM "{server.schema}".envoy_reports').fetchone()
    return int(found[0]) if found else 0


def test_what_is_left_for_a_node_comes_to_it_alone_and_in_its_order(server: Server, join: Join) -> None:
    one, two, three = join("one"), join("two"), join("three")
    assert one.exchange([("two", b"a"), ("three", b"c"), ("two", b"b")]) == []
    assert two.exchange([("one", b"d")]) == [b"a", b"b"]
    assert three.exchange([]) == [b"c"]
    assert one.exchange([]) == [b"d"]
    for each in (one, two, three):
        assert each.exchange([]) == []
    assert rows(server) == 0


def test_an_answer_that_was_lost_comes_again(server: Server, join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node took is there until it comes again and says so; so is what a node took that died."""
    one, two = join("one"), join("two")
    one.exchange([("two", b"a")])
    assert join("two").exchange([]) == [b"a"]
    assert two.exchange([]) == [b"a"]
    with psycopg.connect(server.url, autocommit=True) as session:
        session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert two.exchange([("one", b"b")]) == []
    assert one.exchange([]) == [b"b"]


def test_what_nobody_takes_is_forgotten(server: Server, join: Join) -> None:
    one = join("one", kept=0.0)
    one.exchange([("gone", b"a")])
    join("other").prune()
    assert rows(server) == 1
    one.prune()
    assert rows(server) == 0


def test_a_full_post_is_taken_turn_by_turn(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.postgres.envoy_reports.MOST_ROWS", 2)
    one, two = join("one"), join("two")
    one.exchange([("two", bytes([each])) for each in range(5)])
    assert [len(two.exchange([])) for _ in range(4)] == [2, 2, 1, 0]


def test_the_documented_grant_is_enough_and_no_table_is_logged(postgres: PostgresServer, join: Join) -> None:
    """With it a node leaves, takes and forgets, and can change nothing that another left; without the table it is told who makes it."""
    owner = postgres.server()
    postgres.sql("CREATE ROLE reporter LOGIN")
    server = Server(postgres.url(user="reporter"), owner.schema)
    with pytest.raises(AuditError) as refused:
        join("early", at=server)
    assert refused.value.code == "audit_migration_denied"
    PostgresShared(owner).migrate()
    postgres.sql(f'GRANT USAGE ON SCHEMA "{owner.schema}" TO reporter; GRANT SELECT ON "{owner.schema}".meta TO reporter')
    postgres.sql(GRANT.format(owner.schema, "reporter"))
    page = (Path(__file__).parents[2] / "docs/many-nodes.md").read_text()
    assert GRANT.format("lockgate", "lockgate_node").replace('"', "") in page
    one, two = join("one", at=server), join("two", at=server)
    one.exchange([("two", b"a")])
    assert two.exchange([]) == [b"a"]
    two.prune()
    connection = connect(server)
    assert connection.rows("SELECT relpersistence::text FROM pg_class WHERE oid = 'envoy_reports'::regclass") == [("u",)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("UPDATE envoy_reports SET node = 'x'")
    connection.close()


def test_a_server_that_is_away_is_said_and_comes_back(join: Join, server: Server) -> None:
    away = PostgresEnvoyReports(Server("postgresql://nobody@127.0.0.1:1/none", connect_within=1.0), "one")
    with pytest.raises(AuditError) as refused:
        away.exchange([])
    assert refused.value.code == "audit_store_unavailable"
    away.close()
