"""Held requests in one SQLite file: WAL, `synchronous=FULL`, every step one transaction with its history row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters.kept_deliveries import tenant_text
from adapters.kept_reviews import KeptReviews, held_from, stepped_from, terms_of
from adapters.sqlite.connection import Connect, Connection, connect, private_file
from adapters.sqlite.migrations import Steps, migrate
from router.errors import AuditError, ReviewError
from router.ports import Change, Entry, Held, Review, Stepped

PRAGMAS = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA secure_delete=ON", "PRAGMA busy_timeout=10000")
FIRST = (
    # `terms` is the held request without its sealed part; `place` counts up in the order of arrival.
    "CREATE TABLE IF NOT EXISTS reviews (place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL,"
    " version INTEGER NOT NULL, expires_ns INTEGER NOT NULL, terms TEXT NOT NULL, sealed BLOB NOT NULL, reply BLOB NOT NULL DEFAULT x'')"
    " STRICT",
    "CREATE INDEX IF NOT EXISTS reviews_state ON reviews (state, expires_ns)",
    "CREATE TABLE IF NOT EXISTS history (id TEXT NOT NULL, number INTEGER NOT NULL, event TEXT NOT NULL, before TEXT NOT NULL,"
    " after TEXT NOT NULL, at_ns INTEGER NOT NULL, recorded INTEGER NOT NULL, PRIMARY KEY (id, number)) STRICT",
    "CREATE INDEX IF NOT EXISTS history_unrecorded ON history (at_ns) WHERE recorded = 0",
    "CREATE TABLE IF NOT EXISTS entries (id TEXT NOT NULL, number INTEGER NOT NULL, part INTEGER NOT NULL, leaf BLOB NOT NULL,"
    " sealed BLOB NOT NULL, key_id TEXT NOT NULL, PRIMARY KEY (id, number, part)) STRICT",
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
)
STEPS: Steps = {
    1: FIRST,
    2: (
        # When time makes a step due; until then it was the request's end alone.
        "ALTER TABLE reviews ADD COLUMN due_ns INTEGER NOT NULL DEFAULT 0",
        "UPDATE reviews SET due_ns = expires_ns",
        "DROP INDEX IF EXISTS reviews_state",
        "CREATE INDEX reviews_due ON reviews (state, due_ns)",
    ),
}
# What only makes questions quick, whatever has been decided so far. An older release does not mind them.
INDEXES = (
    "CREATE INDEX IF NOT EXISTS reviews_place ON reviews (state, place)",
    "CREATE INDEX IF NOT EXISTS history_taken ON history (at_ns, id, event)",
    "CREATE INDEX IF NOT EXISTS reviews_answered ON reviews (place) WHERE length(reply) > 0",
)
ASKED_AT_ONCE = 500
STEPPED = (
    "SELECT history.id, event, at_ns, entries.key_id FROM history LEFT JOIN entries"
    " ON entries.id = history.id AND entries.number = history.number AND part = 0"
)
STEP = "id, number, event, before, after, at_ns, recorded"


class ReviewFile:
    """The blocking core; one thread at a time."""

    def __init__(self, path: Path, connect: Connect = connect) -> None:
        self._path = path
        self._connect = connect
        self._connection: Connection | None = None
        self._usable = False

    def open(self) -> None:
        private_file(self._path)
        self._connected()
        self._usable = True

    def close(self) -> None:
        self._usable = False
        self._disconnect()

    def add(self, held: Held, change: Change, due_ns: int) -> None:
        with self._transaction() as run:
            known = run("SELECT terms FROM reviews WHERE id = ?", (held.decision_id,))
            if known:
                if json.loads(known[0][0])["content_digest"] != held.content_digest:
                    raise ReviewError("Another request is already held under this decision.", "review_conflict")
                return
            row = (held.decision_id, change.after, held.expires_ns, due_ns, terms_of(held), held.sealed)
            run("INSERT INTO reviews (id, state, version, expires_ns, due_ns, terms, sealed) VALUES (?,?,1,?,?,?,?)", row)
            self._note(run, held.decision_id, 0, change)

    def get(self, decision_id: str) -> Review | None:
        found = self._open.execute("SELECT place, id, state, terms, sealed, reply FROM reviews WHERE id = ?", (decision_id,))
        return self._review(found[0]) if found else None

    def page(self, states: Sequence[str], after: int, limit: int, tenant: str | None) -> list[tuple[int, Review]]:
        """Of each state its first ones, by its index: what waits is found at once behind any number of those that have ended."""
        own = " AND terms -> '$.tenant' = ?" if tenant is not None else ""
        asked = (after, *([] if tenant is None else [tenant_text(tenant)]), limit)
        each = f"place > ?{own} ORDER BY place LIMIT ?"
        some = " UNION ALL ".join(f"SELECT place FROM (SELECT place FROM reviews WHERE state = ? AND {each})" for _ in states)  # noqa: S608  # marks only
        wanted = f"place IN ({some}) ORDER BY place LIMIT ?" if states else each
        found = self._open.execute(
            f"SELECT place, id, state, terms, x'', x'' FROM reviews WHERE {wanted}",  # noqa: S608  # marks only
            (*(value for state in states for value in (state, *asked)), limit) if states else asked,
        )
        return [(row[0], self._review(row)) for row in found]

    def change(self, decision_id: str, version: int, change: Change, forget: bool, reply: bytes, held: Held | None, due_ns: int) -> bool:
        with self._transaction() as run:
            changed = run(
                "UPDATE reviews SET state = ?, version = version + 1, due_ns = ?, sealed = CASE WHEN ? THEN x'' ELSE sealed END,"
                " reply = CASE WHEN length(?) THEN ? ELSE reply END WHERE id = ? AND version = ? AND state = ? RETURNING place",
                (change.after, due_ns, forget, reply, reply, decision_id, version, change.before),
            )
            if changed and held is not None:
                following = (held.expires_ns, terms_of(held), b"" if forget else held.sealed, decision_id)
                run("UPDATE reviews SET expires_ns = ?, terms = ?, sealed = ? WHERE id = ?", following)
            if changed:
                self._note(run, decision_id, version, change)
        return bool(changed)

    def unrecorded(self) -> list[tuple[str, int, Change]]:
        found = self._open.execute(f"SELECT {STEP} FROM history WHERE recorded = 0 ORDER BY at_ns, id, number")  # noqa: S608  # a constant
        return [(row[0], row[1], self._step(row)) for row in found]

    def elsewhere(self, decision_id: str) -> bool:
        return False

    def recorded(self, decision_id: str, number: int) -> None:
        self._open.execute("UPDATE history SET recorded = 1 WHERE id = ? AND number = ?", (decision_id, number))

    def due(self, now_ns: int, states: Sequence[str]) -> list[str]:
        wanted = f"SELECT id FROM reviews WHERE state IN ({_marks(states)}) AND due_ns <= ?"  # noqa: S608  # marks only
        return [row[0] for row in self._open.execute(wanted, (*states, now_ns))]

    def count(self, states: Sequence[str]) -> int:
        count: int = self._open.execute(f"SELECT count(*) FROM reviews WHERE state IN ({_marks(states)})", tuple(states))[0][0]  # noqa: S608  # as above
        return count

    def versions(self, decision_ids: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for some in (decision_ids[at : at + ASKED_AT_ONCE] for at in range(0, len(decision_ids), ASKED_AT_ONCE)):
            marks = ",".join("?" * len(some))
            found |= dict(self._open.execute(f"SELECT id, version FROM reviews WHERE id IN ({marks})", tuple(some)))  # noqa: S608  # marks only
        return found

    def stepped(self, events: Sequence[str], since_ns: int, after: str, until_ns: int, limit: int, tenant: str | None) -> list[Stepped]:
        own = " AND EXISTS (SELECT 1 FROM reviews WHERE reviews.id = history.id AND terms -> '$.tenant' = ?)" if tenant is not None else ""
        within = f"at_ns >= ? AND (at_ns, id) > (?, ?) AND at_ns < ? AND event IN ({_marks(events)}){own}"
        asked = (since_ns, since_ns, after, until_ns, *events, *([] if tenant is None else [tenant_text(tenant)]), limit)
        places = self._open.execute(f"SELECT at_ns, id FROM history WHERE {within} ORDER BY at_ns, id LIMIT ?", asked)  # noqa: S608 - names of ours
        ids = [row[1] for row in places]
        return stepped_from(
            places, self._open.execute(f"{STEPPED} WHERE history.id IN ({_marks(ids)}) ORDER BY history.id, history.number", ids)
        )

    def forget_replies(self, event: str, before_ns: int) -> int:
        statement = (
            "UPDATE reviews SET reply = x'' WHERE length(reply) > 0 AND EXISTS"
            " (SELECT 1 FROM history WHERE history.id = reviews.id AND event = ? AND at_ns < ?) RETURNING place"
        )
        return len(self._open.execute(statement, (event, before_ns)))

    @property
    def _open(self) -> Connection:
        if not self._usable:
            raise ReviewError(f"The review store {self._path} is not open.", "review_store_closed")
        return self._connection or self._connected()

    def _connected(self) -> Connection:
        self._connection = self._connect(self._path)
        try:
            for statement in PRAGMAS:
                self._connection.execute(statement)
            migrate(self._connection, self._path, STEPS)
            for statement in INDEXES:
                self._connection.execute(statement)
        except AuditError:
            self._disconnect()
            raise
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., list[Any]]]:
        run = self._open.execute
        run("BEGIN IMMEDIATE")
        try:
            yield run
            run("COMMIT")
        except BaseException:
            self._disconnect()  # which rolls back, whatever state it is in; the next call connects anew
            raise

    def _note(self, run: Callable[..., list[Any]], decision_id: str, number: int, change: Change) -> None:
        step = (decision_id, number, change.event, change.before, change.after, change.at_ns, int(change.recorded))
        run(f"INSERT INTO history ({STEP}) VALUES (?,?,?,?,?,?,?)", step)  # noqa: S608  # a constant
        for part, entry in enumerate(change.entries):
            run("INSERT INTO entries VALUES (?,?,?,?,?,?)", (decision_id, number, part, entry.leaf, entry.sealed, entry.key_id))

    def _review(self, row: Any) -> Review:
        _, decision_id, state, terms, sealed, reply = row
        steps = self._open.execute(f"SELECT {STEP} FROM history WHERE id = ? ORDER BY number", (decision_id,))  # noqa: S608  # a constant
        return Review(held_from(terms, sealed, decision_id, self._path), state, tuple(self._step(step) for step in steps), reply)

    def _step(self, row: Any) -> Change:
        decision_id, number, event, before, after, at_ns, recorded = row
        found = self._open.execute(
            "SELECT leaf, sealed, key_id FROM entries WHERE id = ? AND number = ? ORDER BY part", (decision_id, number)
        )
        return Change(event, before, after, at_ns, tuple(Entry(*parts) for parts in found), bool(recorded))


def _marks(values: Sequence[str]) -> str:
    return ",".join("?" * len(values))


class SqliteReviews(KeptReviews):
    """Of one node, which goes on with everything itself."""

    def __init__(self, file: ReviewFile) -> None:
        super().__init__(file)
