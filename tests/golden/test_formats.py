"""Files of every format that was ever released: each is opened, migrated, continued and verified by what is here now."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapters.postgres.connection import Server
from adapters.postgres.place import PostgresPlace
from adapters.postgres.schema import KEY_STEPS, LEDGER_STEPS
from adapters.sqlite.ledger import STEPS as SQLITE_LEDGER_STEPS
from adapters.sqlite.place import SqlitePlace
from adapters.sqlite.subject_keys import STEPS as SQLITE_KEY_STEPS
from router.audit.checking.verify import Plan, verify
from router.audit.journal import Checkpointing, Journal
from router.audit.questions.reader import Stored
from router.wiring.ledger_place import LedgerPlace
from tests.postgres_server import PostgresServer
from tests.unit.audit.ledgers import SIGNER, entries
from tests.unit.audit.samples import SUBJECT

FORMATS = Path(__file__).parent / "formats"
RECORDS = 12
SEALING_KEY = bytes(32)


def assert_goes_on(place: LedgerPlace, note: str) -> None:
    """What was there verifies against the checkpoint that was kept, personal parts included, and what comes after it as well."""
    journal = Journal(place.store(SIGNER.verifier), Checkpointing(SIGNER))
    journal.open()
    assert journal.append(entries(5)) == RECORDS
    journal.close()
    keys = place.keys(SEALING_KEY)
    keys.open()
    assert keys.find(SUBJECT.id) is not None
    assert len(keys.ensure([SUBJECT.id, "somebody.new@halden.example"])) == 2
    keys.close()
    report = verify(Plan(lambda: place.reader(Stored), SIGNER.verifier, note, lambda: place.kept_keys(lambda: SEALING_KEY), processes=1))
    assert (report.size, report.outside) == (RECORDS + 5, RECORDS)
    assert [(fault.kind, fault.index) for fault in report.faults] == [("key_missing", RECORDS)]  # the new samples' key is not in the file
    assert (report.opened, report.erased) == (10, 5)


@pytest.mark.parametrize("folder", sorted(FORMATS.glob("sqlite-*")), ids=lambda folder: folder.name)
def test_files_of_every_format_go_on(folder: Path, tmp_path: Path) -> None:
    """The ledger and the subjects' keys of a single node."""
    state = shutil.copytree(folder, tmp_path / "state")
    assert_goes_on(SqlitePlace(state), (state / "checkpoint").read_text())


@pytest.mark.parametrize("dump", sorted(FORMATS.glob("postgres-*.sql")), ids=lambda dump: dump.stem)
def test_databases_of_every_format_go_on(dump: Path, postgres: PostgresServer) -> None:
    """The tables that several nodes share, as `pg_dump` wrote them."""
    database = dump.stem.replace("-", "_")
    postgres.sql(f"CREATE DATABASE {database}")
    postgres.sql(dump.read_text(), database=database)
    server = Server(postgres.url(database))
    assert_goes_on(PostgresPlace(server, server), dump.with_suffix(".checkpoint").read_text())


FORMER = (
    "INSERT INTO deliveries (id, route, destination, due, key_id, sealed, created_ns, due_ns, until_ns, lane, owner, leased_ns, attempts,"
    " reason, ready_ns) VALUES ('d1', 'orders', 'billing', 'dispatch', 'k', %b, 1, 2, 3, %b, '', 0, 0, '', 2)"
)
"""As format 2 has a delivery."""


def assert_nobodys(place: LedgerPlace) -> None:
    """What was decided before deliveries said whose they are: it goes out, and is in no tenant's list."""
    store = place.store(SIGNER.verifier)
    store.open("ledger.test")
    assert [(each.delivery.id, each.delivery.tenant) for each in store.waiting(-1, 9, None)] == [("d1", None)]
    assert store.waiting(-1, 9, None, "lund") == []
    assert [each.id for each in store.lease("me", 10, 20, 9)] == ["d1"]
    store.close()


def test_deliveries_of_before_are_no_tenants_in_a_file(tmp_path: Path) -> None:
    state = shutil.copytree(FORMATS / "sqlite-2", tmp_path / "state")
    with closing(sqlite3.connect(state / "ledger.sqlite", isolation_level=None)) as file:
        file.execute(FORMER.replace("%b", "x''"))
    assert_nobodys(SqlitePlace(state))


def test_deliveries_of_before_are_no_tenants_in_a_database(postgres: PostgresServer) -> None:
    postgres.sql("CREATE DATABASE deliveries_of_before")
    postgres.sql((FORMATS / "postgres-2.sql").read_text(), database="deliveries_of_before")
    postgres.sql(FORMER.replace("INTO deliveries", "INTO lockgate.deliveries").replace("%b", "''"), database="deliveries_of_before")
    server = Server(postgres.url("deliveries_of_before"))
    assert_nobodys(PostgresPlace(server, server))


def test_there_is_a_golden_file_of_every_format() -> None:
    """Who adds a step adds what the former release wrote."""
    assert len(list(FORMATS.glob("sqlite-*"))) >= max(*SQLITE_LEDGER_STEPS, *SQLITE_KEY_STEPS)
    assert len(list(FORMATS.glob("postgres-*.sql"))) >= max(*LEDGER_STEPS, *KEY_STEPS)
