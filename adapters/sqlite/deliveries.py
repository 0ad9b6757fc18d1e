"""What lies beside a ledger's records in its file: events that were decided, and deliveries that are still to be made.

It is written in the records' transactions and changed between them, all by the ledger's one thread. No proof covers it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.kept_deliveries import COLUMNS, delivery_from, row_of, tenant_text
from adapters.sqlite.connection import DISK_FULL, StandardConnection
from router.audit.beside import BLOCKED_NS, TOLD_BYTES, Extras, Pending, Waiting, bounded
from router.errors import AuditError
from router.ports import Delivery

log = logging.getLogger("lockgate.audit")
TABLES = (
    "CREATE TABLE arrivals (key BLOB PRIMARY KEY, answer BLOB NOT NULL, at_ns INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX arrivals_at ON arrivals (at_ns)",
    # `ready_ns`: from when on somebody may take it, so when it is due and nobody has it; `BLOCKED_NS` behind another of its lane.
    "CREATE TABLE deliveries (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, route TEXT NOT NULL,"
    " destination TEXT NOT NULL, due TEXT NOT NULL, key_id TEXT NOT NULL, sealed BLOB NOT NULL, created_ns INTEGER NOT NULL,"
    " due_ns INTEGER NOT NULL, until_ns INTEGER NOT NULL, lane BLOB NOT NULL, owner TEXT NOT NULL, leased_ns INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL, reason TEXT NOT NULL, ready_ns INTEGER NOT NULL, dead INTEGER NOT NULL DEFAULT 0)",
    "CREATE INDEX deliveries_ready ON deliveries (dead, ready_ns)",
    "CREATE INDEX deliveries_lane ON deliveries (lane, number) WHERE lane <> x'' AND dead = 0",
)
# What a release of before decided has no tenant here, and is no tenant's.
TENANTS = (
    "ALTER TABLE deliveries ADD COLUMN tenant TEXT",
    "CREATE INDEX deliveries_tenant ON deliveries (tenant, number) WHERE tenant IS NOT NULL",
)
_INSERT = f"INSERT INTO deliveries ({COLUMNS}, ready_ns) VALUES ({','.join('?' * 16)})"  # noqa: S608 - no value in it
# SQLite takes the index of lanes only where it is said again that a lane has a name.
_LANE = "SELECT 1 FROM deliveries e WHERE e.lane <> x'' AND e.dead = 0 AND e.lane ="
_HEAD = f"(lane = x'' OR NOT EXISTS ({_LANE} d.lane AND e.number < d.number))"
_NEXT = (
    "UPDATE deliveries SET ready_ns = max(due_ns, leased_ns) WHERE ready_ns = ? AND number ="
    " (SELECT min(number) FROM deliveries WHERE lane = ? AND lane <> x'' AND dead = 0)"
)
_THEIRS = "WHERE id = ? AND ? IN ('', owner)"
_DEAD = f"UPDATE deliveries SET dead = 1, owner = '', leased_ns = 0, attempts = ?, reason = ? {_THEIRS} RETURNING lane"  # noqa: S608 - no value
_DONE = f"DELETE FROM deliveries {_THEIRS} RETURNING lane"  # noqa: S608 - no value in it
# Each by its index, which for the first SQLite would not choose; of a value's length it need not read what is sealed before it.
_TOLD = f"typeof(lane) = 'blob' AND length(lane) = {TOLD_BYTES}"
_TOLD_LANES = (
    f"SELECT number, lane FROM deliveries INDEXED BY deliveries_lane WHERE lane <> x'' AND dead = 0 AND {_TOLD}"  # noqa: S608 - no value in it
    f" UNION ALL SELECT number, lane FROM deliveries WHERE dead = 1 AND {_TOLD}"
)
_CHUNK = 256


def known(run: Any, keys: Sequence[bytes]) -> set[bytes]:
    found = set[bytes]()
    for start in range(0, len(keys), _CHUNK):
        some = keys[start : start + _CHUNK]
        marks = ",".join("?" * len(some))
        found.update(key for (key,) in run(f"SELECT key FROM arrivals WHERE key IN ({marks})", some))  # noqa: S608 - marks only
    return found


def write(run: Any, extras: Extras) -> None:
    """In the records' transaction."""
    for arrival in extras.arrivals:
        run("INSERT INTO arrivals VALUES (?,?,?)", (arrival.key, arrival.answer, extras.at_ns))
    for delivery in extras.deliveries:
        behind = delivery.order and run(f"{_LANE} ? LIMIT 1", (delivery.order,))
        run(_INSERT, (*row_of(delivery), BLOCKED_NS if behind else max(delivery.due_ns, delivery.leased_ns)))
    for settled in extras.settled:
        whose = (settled.id, settled.owner)
        ended = run(_DEAD, (settled.attempts, settled.reason, *whose)) if settled.dead else run(_DONE, whose)
        for (lane,) in ended:
            if lane:
                run(_NEXT, (BLOCKED_NS, lane))


def answer(run: Any, key: bytes) -> bytes | None:
    found = run("SELECT answer FROM arrivals WHERE key = ?", (key,))
    return found[0][0] if found else None


def lease(run: Any, owner: str, now_ns: int, until_ns: int, limit: int) -> list[Delivery]:
    """In a transaction of its own."""
    due = run(
        f"SELECT number, length(sealed) FROM deliveries d WHERE dead = 0 AND ready_ns <= ? AND {_HEAD} ORDER BY ready_ns LIMIT ?",  # noqa: S608 - names of ours
        (now_ns, limit),
    )
    numbers = bounded(due)
    marks = ",".join("?" * len(numbers))
    taken = run(f"SELECT {COLUMNS} FROM deliveries WHERE number IN ({marks}) ORDER BY number", numbers)  # noqa: S608 - marks only
    for row in taken:
        run("UPDATE deliveries SET owner = ?, leased_ns = ?, ready_ns = ? WHERE id = ?", (owner, until_ns, until_ns, row[0]))
    return [delivery_from((*row[:10], owner, until_ns, *row[12:])) for row in taken]


def renew(run: Any, owner: str, ids: Sequence[str], until_ns: int) -> list[str]:
    sql = "UPDATE deliveries SET leased_ns = ?, ready_ns = ? WHERE id = ? AND owner = ? AND dead = 0 RETURNING id"
    return [each for (each,) in (row for one in ids for row in run(sql, (until_ns, until_ns, one, owner)))]


def postpone(run: Any, owner: str, delivery_id: str, attempts: int, due_ns: int, reason: str) -> bool:
    sql = (
        "UPDATE deliveries SET owner = '', leased_ns = 0, attempts = ?, due_ns = ?, ready_ns = ?, reason = ?"
        " WHERE id = ? AND owner = ? AND dead = 0 RETURNING 1"
    )
    return bool(run(sql, (attempts, due_ns, due_ns, reason, delivery_id, owner)))


def done(run: Any, owner: str, delivery_id: str) -> bool:
    return bool(run("DELETE FROM deliveries WHERE id = ? AND owner = ? AND dead = 0 RETURNING 1", (delivery_id, owner)))


def pending(run: Any) -> Pending:
    """Counted over an index; rows are large, and only the first one's time is read."""
    ((waiting,),) = run("SELECT count(*) FROM deliveries WHERE dead = 0")
    ((dead,),) = run("SELECT count(*) FROM deliveries WHERE dead = 1")
    oldest = run("SELECT created_ns FROM deliveries WHERE dead = 0 ORDER BY number LIMIT 1") if waiting else []
    return Pending(waiting, oldest[0][0] if oldest else 0, dead)


def page(run: Any, after: int, limit: int, *, dead: bool | None, tenant: str | None) -> list[Waiting]:
    chosen = "" if dead is None else f" AND dead = {int(dead)}"
    whose, named = ("", ()) if tenant is None else (" AND tenant = ?", (tenant_text(tenant),))
    found = run(
        f"SELECT number, dead, {COLUMNS} FROM deliveries WHERE number > ?{whose}{chosen} ORDER BY number LIMIT ?",  # noqa: S608 - names only
        (after, *named, limit),
    )
    return [Waiting(number, bool(gone), delivery_from(row)) for number, gone, *row in found]


def one(run: Any, delivery_id: str) -> Waiting | None:
    found = run(f"SELECT number, dead, {COLUMNS} FROM deliveries WHERE id = ?", (delivery_id,))  # noqa: S608 - names only
    return next((Waiting(number, bool(gone), delivery_from(row)) for number, gone, *row in found), None)


def revive(run: Any, delivery_id: str, now_ns: int, until_ns: int) -> bool:
    sql = "UPDATE deliveries SET dead = 0, attempts = 0, due_ns = ?, ready_ns = ?, until_ns = ? WHERE id = ? AND dead = 1 RETURNING 1"
    return bool(run(sql, (now_ns, now_ns, until_ns, delivery_id)))


def drop(run: Any, delivery_id: str) -> bool:
    return bool(run("DELETE FROM deliveries WHERE id = ? AND dead = 1 RETURNING 1", (delivery_id,)))


def drop_sealed(run: Any, key_id: str) -> int:
    return len(run("DELETE FROM deliveries WHERE dead = 1 AND key_id = ? RETURNING 1", (key_id,)))


def told_lanes(run: Any) -> list[tuple[int, bytes]]:
    """Number and lane of those whose order is kept as it was told."""
    found: list[tuple[int, bytes]] = run(_TOLD_LANES)
    return found


def forget(run: Any, before_ns: int, limit: int) -> int:
    sql = "DELETE FROM arrivals WHERE key IN (SELECT key FROM arrivals WHERE at_ns < ? ORDER BY at_ns LIMIT ?) RETURNING 1"
    return len(run(sql, (before_ns, limit)))


def carry_over(before: Path, after: Path) -> bool:
    """Into the ledger that comes in the place of another one, which nobody has open: what was decided is not decided again, and what waits
    still goes out. False where it cannot be read; a ledger is also left because it is damaged. Raises AuditError `audit_disk_full` where
    there is no room for it."""
    connection = StandardConnection(after)
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("ATTACH ? AS former", (f"{before.absolute().as_uri()}?mode=ro",))
        if not connection.execute("SELECT 1 FROM former.sqlite_master WHERE name = 'arrivals'"):
            return True  # its format is of before there were any
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO arrivals SELECT * FROM former.arrivals")
        there = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('deliveries', 'former')")}
        every = ("number", *COLUMNS.split(", "), "ready_ns", "dead")
        kept = ", ".join(name for name in every if name in there)  # it may be of an earlier format
        connection.execute(f"INSERT INTO deliveries ({kept}) SELECT {kept} FROM former.deliveries")  # noqa: S608 - names only
        connection.execute("COMMIT")
    except AuditError as error:
        if error.code == DISK_FULL:
            raise
        log.warning("what lay beside the former ledger's records is not carried over: %s", error)
        return False
    finally:
        connection.close()
    return True
