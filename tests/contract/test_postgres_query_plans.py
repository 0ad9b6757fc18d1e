"""What pages and figures ask of a server's tables that grow for years: bounded by what is shown, whatever the tables have gathered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import pytest

from adapters.kept_deliveries import tenant_text
from adapters.kept_reviews import terms_of
from adapters.postgres import deliveries
from adapters.postgres.connection import BoundedConnection, Server, connect
from adapters.postgres.kept_tables import KeptTables
from adapters.postgres.ledger import PostgresStore
from adapters.postgres.lessons import LessonTables
from adapters.postgres.members import PostgresMembers
from adapters.postgres.reviews import ReviewTables
from router.review.state import OPEN
from router.wiring.deciding import DECISIONS
from tests.contract.test_review_stores import held
from tests.postgres_server import PostgresServer
from tests.unit.audit.ledgers import SIGNER

T = TypeVar("T")
MANY = 20_000
FEW = 400
Looked = dict[str, int]


@dataclass
class Planned:
    """Passes questions on, and notes how many rows the server looked at for each."""

    connection: BoundedConnection
    looked: Looked = field(default_factory=dict)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if re.match(r"\s*SELECT\b", sql):
            ((plan,),) = self.connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters).fetchall()
            self.looked[sql] = _rows_of(plan[0]["Plan"])
        return self.connection.rows(sql, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


def _rows_of(node: dict[str, Any]) -> int:
    own = 0
    if "Scan" in node["Node Type"] and node["Node Type"] not in ("Bitmap Index Scan", "Subquery Scan"):
        own = round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
    return own + sum(_rows_of(each) for each in node.get("Plans", ()))


def planned(tables: KeptTables, looked: Looked) -> None:
    """Has these tables ask through `Planned`."""
    run: Callable[[Callable[[BoundedConnection], Any]], Any] = tables._run  # what is between the tables and the server

    def through(job: Callable[[BoundedConnection], Any]) -> Any:
        return run(lambda connection: job(cast(BoundedConnection, Planned(connection, looked))))

    tables._run = through  # type: ignore[method-assign]


@pytest.fixture
def server(postgres: PostgresServer) -> Server:
    return postgres.server()


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def session(server: Server) -> Iterator[BoundedConnection]:
    """For filling tables that are there."""
    made = connect(server)
    yield made
    made.close()


def test_rows_that_are_looked_at_in_vain_are_counted(session: BoundedConnection) -> None:
    """Else the tests below could not fail."""
    session.execute("CREATE TEMPORARY TABLE plain AS SELECT n, n % 2 = 0 AS even FROM generate_series(1, 1000) AS n")
    asked = Planned(session)
    assert len(asked.rows("SELECT n FROM plain WHERE even AND n > %s LIMIT 3", (990,))) == 3
    assert list(asked.looked.values()) == [996]


def test_held_requests_and_decisions_of_a_time_are_found_behind_all_others(
    server: Server, session: BoundedConnection, closing: ExitStack
) -> None:
    """The inbox and what is due, behind those that have ended; who decided last week, behind those of years; for a tenant, too."""
    members, looked = PostgresMembers(server, "one", "one"), Looked()
    closing.callback(members.close)
    members.open({})
    tables = ReviewTables(server, members)
    closing.callback(tables.close)
    tables.open()
    planned(tables, looked)
    session.execute(
        "INSERT INTO reviews (id, state, version, expires_ns, due_ns, terms, sealed) SELECT 'd' || n,"
        " CASE WHEN n %% 200 = 0 THEN 'pending' ELSE 'done' END, 2, n, n, %s, '' FROM generate_series(1, %s) AS n",
        (terms_of(replace(held(), tenant="lund")), MANY),
    )
    session.execute(
        "INSERT INTO review_steps SELECT 'd' || n, part, CASE part WHEN 0 THEN 'held' ELSE 'approved' END, '', '', n, true, 'one'"
        " FROM generate_series(1, %s) AS n, generate_series(0, 1) AS part",
        (MANY,),
    )
    session.execute(
        "INSERT INTO review_entries SELECT 'd' || n, part, 0, '', '', 'k' FROM generate_series(1, %s) AS n, generate_series(0, 1) AS part",
        (MANY,),
    )
    session.execute("ANALYZE")
    for tenant in (None, "lund"):
        assert len(tables.stepped(DECISIONS, MANY - 49, "", MANY + 1, 100, tenant)) == 50
    assert tables.count(OPEN) == len(tables.due(MANY, OPEN)) == 100
    tables.versions(["d1", "d2"])
    assert len(tables.page(OPEN, 0, 50, None)) == len(tables.page(OPEN, 0, 50, "lund")) == 50
    assert len(looked) >= 6
    assert {sql: rows for sql, rows in looked.items() if rows > FEW} == {}


def test_lessons_that_were_touched_are_found_behind_all_others(server: Server, session: BoundedConnection, closing: ExitStack) -> None:
    """Those of last week behind those of years and behind those of which nobody said anything; the first and the last page as well."""
    tables, looked = LessonTables(server), Looked()
    closing.callback(tables.close)
    tables.open()
    planned(tables, looked)
    session.execute(
        "INSERT INTO lessons (kind, id, about, state, version, at_ns, terms, touched_ns) SELECT 'label_task', 't' || n, '', 'open', 1, n,"
        " '{}', CASE WHEN n %% 2 = 0 THEN n ELSE 0 END FROM generate_series(1, %s) AS n",
        (MANY,),
    )
    session.execute("ANALYZE")
    assert len(tables.touched("label_task", MANY - 99, 0, 100)) == 50
    assert len(tables.touched("label_task", 1, 0, 100)) == 100
    assert len(tables.newest("label_task", None, 100)) == 100
    assert {sql: rows for sql, rows in looked.items() if rows > FEW} == {}


def test_deliveries_are_shown_page_by_page_behind_all_others(server: Server, session: BoundedConnection, closing: ExitStack) -> None:
    """All of them, those that were given up behind those that wait, a tenant's own behind everybody's, and one; told orders, of none."""
    store = PostgresStore(server, SIGNER.verifier)
    closing.callback(store.close)
    store.open("ledger.test")
    session.execute(
        "INSERT INTO deliveries (id, route, destination, due, key_id, sealed, created_ns, due_ns, until_ns, lane, owner, leased_ns,"
        " attempts, reason, ready_ns, dead, tenant) SELECT 'd' || n, 'r', 'd', 'dispatch', 'k', '', n, n, n, '', '', 0, 0, '', n,"
        " n %% 400 = 0, CASE WHEN n %% 400 = 1 THEN %s END FROM generate_series(1, %s) AS n",
        (tenant_text("lund"), MANY),
    )
    session.execute("ANALYZE")
    asked = Planned(session)
    rows = cast(deliveries.Rows, asked.rows)
    found = {dead: deliveries.page(rows, 0, 40, dead=dead, tenant=None) for dead in (None, True, False)}
    assert [len(each) for each in found.values()] == [40, 40, 40]
    assert all(each.dead for each in found[True])
    assert not any(each.dead for each in found[False])
    assert len(deliveries.page(rows, 0, 40, dead=None, tenant="lund")) == 40
    assert deliveries.page(rows, 0, 40, dead=True, tenant="lund") == []
    assert deliveries.one(rows, "d7") is not None
    assert deliveries.told_lanes(rows) == []
    assert len(asked.looked) == 7
    assert {sql: count for sql, count in asked.looked.items() if count > FEW} == {}
