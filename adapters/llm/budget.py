"""How many tokens of a day are used, by destination and caller, in a file that all processes of a node share and that outlives them.

Callers stand in it under a keyed hash; the key goes with the day. Every method blocks for as long as others write.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

ALL = "*"
BUSY_S = 2.0
_TABLES = (
    "CREATE TABLE IF NOT EXISTS day (day INTEGER NOT NULL, key BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS used (who TEXT PRIMARY KEY, tokens INTEGER NOT NULL) WITHOUT ROWID",
)


class DayBudget:
    """Raises sqlite3.Error or OSError where the file cannot be used; then nothing was taken."""

    def __init__(self, path: Path, per_day: int | None, per_subject: int | None) -> None:
        self._path, self._per_day, self._per_subject = path, per_day, per_subject

    def take(self, day: int, subject: str, tokens: int) -> bool:
        """False, and nothing taken, where either of the two would be overdrawn."""
        with self._written(day) as (rows, key):
            who = _who(key, subject)
            for name, most in ((ALL, self._per_day), (who, self._per_subject)):
                if most is not None and _used(rows, name) + tokens > most:
                    return False
            _add(rows, who, tokens)
        return True

    def settle(self, day: int, subject: str, more: int) -> None:
        """`more` than was taken, or less, was used. Of a day that is over nothing is counted."""
        with self._written(day) as (rows, key):
            _add(rows, _who(key, subject), more)

    @contextmanager
    def _written(self, day: int) -> Iterator[tuple[sqlite3.Connection, bytes]]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)) as rows:
            rows.execute("PRAGMA synchronous = OFF")  # a lost machine may forget some tokens; nothing is evidence here
            rows.execute("BEGIN IMMEDIATE")
            try:
                yield rows, _key(rows, day)
                rows.execute("COMMIT")
            except BaseException:
                rows.execute("ROLLBACK")
                raise


def _key(rows: sqlite3.Connection, day: int) -> bytes:
    """A later day begins with nothing used. An earlier one than is known (a clock that was set back) is counted with the later."""
    for table in _TABLES:
        rows.execute(table)
    known = rows.execute("SELECT day, key FROM day").fetchone()
    if known is not None and known[0] >= day:
        key: bytes = known[1]
        return key
    made = os.urandom(32)
    rows.execute("DELETE FROM used")
    rows.execute("DELETE FROM day")
    rows.execute("INSERT INTO day VALUES (?, ?)", (day, made))
    return made


def _used(rows: sqlite3.Connection, who: str) -> int:
    found = rows.execute("SELECT tokens FROM used WHERE who = ?", (who,)).fetchone()
    return int(found[0]) if found is not None else 0


def _add(rows: sqlite3.Connection, who: str, tokens: int) -> None:
    for name in (ALL, who):
        rows.execute(
            "INSERT INTO used VALUES (?, max(0, ?)) ON CONFLICT (who) DO UPDATE SET tokens = max(0, tokens + ?)", (name, tokens, tokens)
        )


def _who(key: bytes, subject: str) -> str:
    return hmac.new(key, subject.encode(), hashlib.sha256).hexdigest()
