"""The machinery of formats, with made-up next steps after today's."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite import connection
from adapters.sqlite.connection import StandardConnection, connect, translated
from adapters.sqlite.index import SqliteIndex
from adapters.sqlite.ledger import STEPS as LEDGER_STEPS
from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.migrations import migrate, stored_format
from adapters.sqlite.place import SqlitePlace
from adapters.sqlite.reader import SqliteReader
from adapters.sqlite.subject_keys import STEPS as KEY_STEPS
from adapters.sqlite.subject_keys import KeyFile
from router.audit.questions.reader import Stored
from router.errors import AuditError
from tests.unit.audit.ledgers import entries, verified, written

TODAY = max(LEDGER_STEPS)
NEXT = {
    **LEDGER_STEPS,
    TODAY + 1: ("ALTER TABLE records ADD COLUMN made TEXT NOT NULL DEFAULT ''", "CREATE TABLE extra (idx INTEGER PRIMARY KEY)"),
}
LATER = {**NEXT, TODAY + 2: ("INSERT INTO extra SELECT idx FROM records",)}


def asked(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as file:
        return file.execute(sql).fetchall()


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(AuditError) as refused:
        action()
    return refused.value.code


def opened(path: Path, steps: Any, connect: Any = connect) -> int:
    store = SqliteStore(path, connect, steps)
    try:
        return store.open("ledger.test")[0]
    finally:
        store.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    written(tmp_path, entries(7))
    return tmp_path / "ledger.sqlite"


def test_a_file_takes_the_steps_that_it_lacks_once(ledger: Path) -> None:
    """Two at one opening, and nothing at the next; what was in it stays."""
    assert [opened(ledger, LATER), opened(ledger, LATER)] == [7, 7]
    assert asked(ledger, "SELECT value FROM meta WHERE name = 'format'") == [(str(TODAY + 2),)]
    assert asked(ledger, "SELECT count(*) FROM extra") == [(7,)]


def test_steps_may_be_taken_one_release_after_the_other(ledger: Path) -> None:
    """By way of the one between as well."""
    opened(ledger, NEXT)
    opened(ledger, LATER)
    assert asked(ledger, "SELECT count(*) FROM extra") == [(7,)]


def test_a_newer_format_is_refused_and_left_alone(ledger: Path) -> None:
    """By whoever writes, and by whoever reads."""
    opened(ledger, LATER)
    before = ledger.read_bytes()
    assert code_of(lambda: opened(ledger, NEXT)) == "audit_format_unknown"
    assert code_of(lambda: SqliteReader(ledger, Stored)) == "audit_format_unknown"
    assert ledger.read_bytes() == before


def test_an_older_format_is_not_read_by_guessing(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader changes nothing; it says who may."""
    monkeypatch.setattr("adapters.sqlite.reader.FORMAT", TODAY + 1)
    with pytest.raises(AuditError, match="lockgate audit migrate") as refused:
        SqliteReader(ledger, Stored)
    assert refused.value.code == "audit_format_old"


class Interrupted:
    """A connection that fails at its n-th statement, as a killed process would stop there."""

    def __init__(self, path: Path, left: int) -> None:
        self._raw = StandardConnection(path)
        self._left = left

    def execute(self, sql: str, parameters: Any = ()) -> list[Any]:
        if sql != "ROLLBACK":
            self._left -= 1
        if self._left < 0:
            raise AuditError("killed", "audit_io_failed")
        return self._raw.execute(sql, parameters)

    def close(self) -> None:
        self._raw.close()


@pytest.mark.parametrize("statements", range(1, 14))
def test_an_interrupted_migration_has_not_happened(ledger: Path, statements: int) -> None:
    """Wherever it stops: the file has the former format and all of it, or the new one and all of that. The next opening succeeds."""
    store = SqliteStore(ledger, lambda path: Interrupted(path, statements), LATER)
    try:
        store.migrate()
    except AuditError:
        done = False
    else:
        done = True
    finally:
        store.close()
    extra = asked(ledger, "SELECT name FROM sqlite_master WHERE name = 'extra'")
    assert asked(ledger, "SELECT value FROM meta WHERE name = 'format'") == [(str(TODAY + 2 if extra else TODAY),)]
    assert bool(extra) or not done
    assert opened(ledger, LATER) == 7
    assert asked(ledger, "SELECT count(*) FROM extra") == [(7,)]


def test_a_killed_first_opening_leaves_a_file_that_opens(tmp_path: Path) -> None:
    """A new file that is half made is made again."""
    path = tmp_path / "ledger.sqlite"
    for statements in range(1, 20):
        store = SqliteStore(path, lambda path, left=statements: Interrupted(path, left))
        try:
            store.open("ledger.test")
        except AuditError:
            continue
        finally:
            store.close()
    assert opened(path, LEDGER_STEPS) == 0


def test_keys_take_their_steps_and_stay_readable(tmp_path: Path) -> None:
    """A file from before keys had a number counts as format 1."""
    path = tmp_path / "keys.sqlite"
    keys = KeyFile(path, bytes(32))
    keys.open()
    made = keys.ensure(["anna"])
    keys.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("DELETE FROM meta WHERE name = 'format'")
        file.execute("DROP TABLE destroyed")
        file.execute("DROP TABLE compared")
    newest = max(KEY_STEPS) + 1
    steps = {**KEY_STEPS, newest: ("ALTER TABLE keys ADD COLUMN erased_ns INTEGER",)}
    again = KeyFile(path, bytes(32), steps=steps)
    again.open()
    assert again.ensure(["anna"]) == made
    again.close()
    assert asked(path, "SELECT value FROM meta WHERE name = 'format'") == [(str(newest),)]
    assert code_of(KeyFile(path, bytes(32)).open) == "audit_format_unknown"


def test_an_index_of_another_version_is_made_anew(tmp_path: Path) -> None:
    """It is derived, so it has no steps; columns that it lacks are no obstacle."""
    path = tmp_path / "index.sqlite"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID")
        file.execute("CREATE TABLE entries (idx INTEGER PRIMARY KEY)")
        file.execute("INSERT INTO meta VALUES ('version', '0')")
        file.commit()
    index = SqliteIndex(path)
    assert index.complete() == (0, b"")
    assert index.find([("intent", "=", "x")], None, True, 1) == []
    index.close()


def test_a_copy_is_migrated_where_nobody_has_it_open(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `lockgate audit migrate` does: (part, format before, format now)."""
    KeyFile(ledger.parent / "keys.sqlite", bytes(32)).open()
    assert SqlitePlace(ledger.parent).migrate() == [("ledger", TODAY, TODAY), ("keys", max(KEY_STEPS), max(KEY_STEPS))]
    running = SqliteStore(ledger)
    running.open("ledger.test")
    assert code_of(SqlitePlace(ledger.parent).migrate) == "audit_locked"
    running.close()
    assert code_of(SqlitePlace(ledger.parent / "nowhere").migrate) == "audit_missing"
    assert verified(ledger.parent).ok


def test_two_that_open_at_once_take_each_step_once(tmp_path: Path) -> None:
    """The second finds the number that the first has written."""
    path = tmp_path / "some.sqlite"
    one, two = connect(path), connect(path)
    steps = {1: ("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",), 2: ("CREATE TABLE once (a)",)}
    assert [migrate(one, path, steps), migrate(two, path, steps)] == [0, 2]
    assert stored_format(two) == 2
    one.close()
    two.close()


def test_a_ledger_that_cannot_be_looked_at_is_not_said_to_be_missing(tmp_path: Path) -> None:
    """Such as one in another user's folder: who is told that there is none begins another."""
    ledger = tmp_path / "ledger.sqlite"
    ledger.symlink_to(ledger)
    assert code_of(SqlitePlace(tmp_path).migrate) == "audit_io_failed"
    assert code_of(lambda: SqliteReader(ledger, Stored)) == "audit_io_failed"


def test_a_disk_without_room_for_what_connections_share_is_said_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite says that input or output failed, which sends whoever is on call to look at the hardware."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    file = tmp_path / "keys.sqlite"
    assert str(translated(file, error)) == f"{file} cannot be used: disk I/O error."
    monkeypatch.setattr(connection, "_LITTLE", 1 << 60)
    assert re.fullmatch(
        rf"{file} cannot be used: disk I/O error, and the disk under it is full \(\d+ bytes are left\)\.", str(translated(file, error))
    )
    assert translated(file, error).code == "audit_io_failed"
