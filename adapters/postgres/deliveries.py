"""What lies beside a ledger's records in PostgreSQL: events that were decided, and deliveries that are still to be made, by any node.

It is written in the records' transactions, and changed by single statements between them. No proof covers it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from adapters.kept_deliveries import COLUMNS, delivery_from, row_of, tenant_text
from router.audit.beside import BLOCKED_NS, MOST_BYTES, TOLD_BYTES, Extras, Pending, Waiting
from router.ports import Delivery

TABLES = (
    "CREATE TABLE arrivals (key bytea PRIMARY KEY, answer bytea NOT NULL, at_ns bigint NOT NULL)",
    "CREATE INDEX arrivals_at ON arrivals (at_ns)",
    # `ready_ns`: from when on somebody may take it, so when it is due and nobody has it; `BLOCKED_NS` behind another of its lane.
    "CREATE TABLE deliveries (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE, route text NOT NULL,"
    " destination text NOT NULL, due text NOT NULL, key_id text NOT NULL, sealed bytea NOT NULL, created_ns bigint NOT NULL,"
    " due_ns bigint NOT NULL, until_ns bigint NOT NULL, lane bytea NOT NULL, owner text NOT NULL, leased_ns bigint NOT NULL,"
    " attempts bigint NOT NULL, reason text NOT NULL, ready_ns bigint NOT NULL, dead boolean NOT NULL DEFAULT false)",
    "CREATE INDEX deliveries_ready ON deliveries (ready_ns) WHERE NOT dead",
    "CREATE INDEX deliveries_lane ON deliveries (lane, number) WHERE lane <> '' AND NOT dead",
    "CREATE INDEX deliveries_dead ON deliveries (number) WHERE dead",
)
# What a release of before decided has no tenant here, and is no tenant's; nor has what a node of it adds meanwhile.
TENANTS = (
    "ALTER TABLE deliveries ADD COLUMN IF NOT EXISTS tenant text",
    "CREATE INDEX IF NOT EXISTS deliveries_tenant ON deliveries (tenant, number) WHERE tenant IS NOT NULL",
)
_INSERT = f"INSERT INTO deliveries ({COLUMNS}, ready_ns) VALUES ({', '.join(['%b'] * 16)})"  # noqa: S608 - no value in it
# The index of lanes is taken only where it is said again that a lane has a name. Only `write`, in turns, adds to a lane, ends what is in
# it, and lets the next be taken, so that none is left behind nobody.
_LANE = "SELECT 1 FROM deliveries e WHERE e.lane <> '' AND NOT e.dead AND e.lane ="
_HEAD = f"(lane = '' OR NOT EXISTS ({_LANE} d.lane AND e.number < d.number))"
_BEHIND = f"{_LANE} %b LIMIT 1"
_NEXT = (
    "UPDATE deliveries SET ready_ns = greatest(due_ns, leased_ns) WHERE ready_ns = %b AND number IN (SELECT"
    " (SELECT min(number) FROM deliveries WHERE lane = named.lane AND lane <> '' AND NOT dead) FROM unnest(%b::bytea[]) AS named(lane))"
)
_LEASE = (
    "UPDATE deliveries SET owner = %s, leased_ns = %s, ready_ns = %s WHERE number IN (SELECT number FROM (SELECT number,"  # noqa: S608 - names of ours
    " size, sum(size) OVER (ORDER BY ready_ns, number) AS total FROM (SELECT number, ready_ns, length(sealed) AS size FROM deliveries d"
    f" WHERE NOT dead AND ready_ns <= %s AND {_HEAD} ORDER BY ready_ns LIMIT %s FOR UPDATE SKIP LOCKED) AS due) AS summed"
    f" WHERE total = size OR total <= {MOST_BYTES}) RETURNING number, {COLUMNS}"
)
_RENEW = "UPDATE deliveries SET leased_ns = %s, ready_ns = %s WHERE id = ANY(%s) AND owner = %s AND NOT dead RETURNING id"
_POSTPONE = (
    "UPDATE deliveries SET owner = '', leased_ns = 0, attempts = %s, due_ns = %s, ready_ns = %s, reason = %s"
    " WHERE id = %s AND owner = %s AND NOT dead RETURNING 1"
)
_DEAD = (
    "UPDATE deliveries d SET dead = true, owner = '', leased_ns = 0, attempts = s.attempts, reason = s.reason"
    " FROM unnest(%b::text[], %b::bigint[], %b::text[], %b::text[]) AS s(id, attempts, reason, owner)"
    " WHERE d.id = s.id AND (s.owner = '' OR d.owner = s.owner) RETURNING d.lane"
)
_DONE = (
    "DELETE FROM deliveries d USING unnest(%b::text[], %b::text[]) AS s(id, owner)"
    " WHERE d.id = s.id AND (s.owner = '' OR d.owner = s.owner) RETURNING d.lane"
)
_REVIVE = "UPDATE deliveries SET dead = false, attempts = 0, due_ns = %s, ready_ns = %s, until_ns = %s WHERE id = %s AND dead RETURNING 1"
_TOLD_LANES = (
    f"SELECT lane FROM deliveries WHERE lane <> '' AND NOT dead AND octet_length(lane) = {TOLD_BYTES}"  # noqa: S608 - no value in it
    f" UNION SELECT lane FROM deliveries WHERE dead AND octet_length(lane) = {TOLD_BYTES}"
)
_RENAME = (
    "UPDATE deliveries d SET lane = s.lane FROM unnest(%b::bytea[], %b::bytea[]) AS s(told, lane)"
    " WHERE d.lane = s.told AND d.lane <> '' AND {dead} RETURNING 1"
)
_RENAMES = [_RENAME.format(dead=dead) for dead in ("NOT d.dead", "d.dead")]  # each by its index
_FORGET = "DELETE FROM arrivals WHERE key IN (SELECT key FROM arrivals WHERE at_ns < %s ORDER BY at_ns LIMIT %s) RETURNING 1"

Rows = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


def write(execute: Callable[[str, Sequence[Any]], Any], extras: Extras) -> None:
    """In the records' transaction."""
    if extras.arrivals:
        keys, answers = zip(*((each.key, each.answer) for each in extras.arrivals), strict=True)
        sql = "INSERT INTO arrivals SELECT key, answer, %b FROM unnest(%b::bytea[], %b::bytea[]) AS batch(key, answer)"
        execute(sql, (extras.at_ns, list(keys), list(answers)))
    for delivery in extras.deliveries:
        behind = bool(delivery.order) and execute(_BEHIND, (delivery.order,)).fetchone() is not None
        execute(_INSERT, (*row_of(delivery), BLOCKED_NS if behind else max(delivery.due_ns, delivery.leased_ns)))
    done = [each for each in extras.settled if not each.dead]
    dead = {each.id: each for each in extras.settled if each.dead}
    ended = list[tuple[bytes]]()
    if done:
        ended += execute(_DONE, ([each.id for each in done], [each.owner for each in done])).fetchall()
    if dead:
        told = [(each.attempts, each.reason, each.owner) for each in dead.values()]
        ended += execute(_DEAD, (list(dead), *(list(column) for column in zip(*told, strict=True)))).fetchall()
    lanes = {bytes(lane) for (lane,) in ended if lane}
    if lanes:
        execute(_NEXT, (BLOCKED_NS, list(lanes)))


def known(rows: Rows, keys: Sequence[bytes]) -> set[bytes]:
    return {bytes(key) for (key,) in rows("SELECT key FROM arrivals WHERE key = ANY(%s)", (list(keys),))}


def answer(rows: Rows, key: bytes) -> bytes | None:
    found = rows("SELECT answer FROM arrivals WHERE key = %s", (key,))
    return bytes(found[0][0]) if found else None


def lease(rows: Rows, owner: str, now_ns: int, until_ns: int, limit: int) -> list[Delivery]:
    taken = rows(_LEASE, (owner, until_ns, until_ns, now_ns, limit))
    return [delivery_from(row) for _, *row in sorted(taken, key=lambda each: each[0])]


def renew(rows: Rows, owner: str, ids: Sequence[str], until_ns: int) -> list[str]:
    return [each for (each,) in rows(_RENEW, (until_ns, until_ns, list(ids), owner))]


def postpone(rows: Rows, owner: str, delivery_id: str, attempts: int, due_ns: int, reason: str) -> bool:
    return bool(rows(_POSTPONE, (attempts, due_ns, due_ns, reason, delivery_id, owner)))


def done(rows: Rows, owner: str, delivery_id: str) -> bool:
    return bool(rows("DELETE FROM deliveries WHERE id = %s AND owner = %s AND NOT dead RETURNING 1", (delivery_id, owner)))


def pending(rows: Rows) -> Pending:
    ((waiting, oldest),) = rows("SELECT count(*), coalesce(min(created_ns), 0) FROM deliveries WHERE NOT dead", ())
    ((dead,),) = rows("SELECT count(*) FROM deliveries WHERE dead", ())
    return Pending(waiting, oldest, dead)


def page(rows: Rows, after: int, limit: int, *, dead: bool | None, tenant: str | None) -> list[Waiting]:
    whose, named = ("", ()) if tenant is None else (" AND tenant = %s", (tenant_text(tenant),))
    chosen = "" if dead is None else " AND dead" if dead else " AND NOT dead"  # written out, so that the index of these fits
    sql = f"SELECT number, dead, {COLUMNS} FROM deliveries WHERE number > %s{whose}{chosen} ORDER BY number LIMIT %s"  # noqa: S608 - names of ours
    found = rows(sql, (after, *named, limit))
    return [Waiting(number, gone, delivery_from(row)) for number, gone, *row in found]


def one(rows: Rows, delivery_id: str) -> Waiting | None:
    found = rows(f"SELECT number, dead, {COLUMNS} FROM deliveries WHERE id = %s", (delivery_id,))  # noqa: S608 - names only
    return next((Waiting(number, gone, delivery_from(row)) for number, gone, *row in found), None)


def revive(rows: Rows, delivery_id: str, now_ns: int, until_ns: int) -> bool:
    return bool(rows(_REVIVE, (now_ns, now_ns, until_ns, delivery_id)))


def drop(rows: Rows, delivery_id: str) -> bool:
    return bool(rows("DELETE FROM deliveries WHERE id = %s AND dead RETURNING 1", (delivery_id,)))


def drop_sealed(rows: Rows, key_id: str) -> int:
    return len(rows("DELETE FROM deliveries WHERE dead AND key_id = %s RETURNING 1", (key_id,)))


def told_lanes(rows: Rows) -> list[bytes]:
    """Each once, of the orders that are kept as they were told."""
    return [bytes(lane) for (lane,) in rows(_TOLD_LANES, ())]


def rename(rows: Rows, told: Sequence[bytes], lanes: Sequence[bytes]) -> int:
    """In a turn. Of so many deliveries."""
    return sum(len(rows(sql, (list(told), list(lanes)))) for sql in _RENAMES)


def forget(rows: Rows, before_ns: int, limit: int) -> int:
    return len(rows(_FORGET, (before_ns, limit)))
