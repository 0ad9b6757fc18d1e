"""A ledger's bytes in one PostgreSQL schema, to which several nodes append. Whoever has locked the row of `turn` has its turn.

1. `turn` locks the row and then reads how far the ledger is. A node that dies anywhere before 3 leaves nothing: the server rolls back.
2. `write` inserts the batch under a fresh random id, and
3. commits. An answer that is lost here may mean either. The lock tells: once another transaction gets it, the lost one has ended, and its
   id is among the commits or never will be. That other transaction commits as well, so that what it saw is as durable as its own commit.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from adapters.postgres import deliveries
from adapters.postgres.connection import (
    UNAVAILABLE,
    UNSETTLED,
    BoundedConnection,
    Server,
    certain,
    connect,
    is_lost,
    may_succeed_again,
    translated,
)
from adapters.postgres.schema import LEDGER, LEDGER_STEPS, Steps, migrate
from router.audit.beside import Extras, Pending, Waiting
from router.audit.tree.checkpoint import check_same, fuller, note_checkpoint
from router.errors import AuditError
from router.ports import Delivery

log = logging.getLogger("lockgate.audit")
AGAIN = "audit_write_again"
_LOCK = "SELECT 1 FROM turn FOR UPDATE"
# One journey, with a statement for each: only what begins after the lock was got sees the last commit. No pipeline, for the server's limit
# on an idle transaction does not run after one.
_HEAD, _BARRED = "SELECT size, root FROM commits ORDER BY size DESC LIMIT 1", "SELECT coalesce(max(number), 0) FROM barred"
_TURN = f"BEGIN; {_LOCK}; {_HEAD}; {_BARRED}"
EMPTY = (0, bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))
"""(size, root) of a ledger without a commit."""
_RECORDS = (
    "INSERT INTO records SELECT %b::bigint + n - 1, leaf, sealed, key_id"
    " FROM unnest(%b::bytea[], %b::bytea[], %b::text[]) WITH ORDINALITY AS batch(leaf, sealed, key_id, n)"
)
_HASHES = "INSERT INTO leaf_hashes SELECT %b::bigint + n - 1, hash FROM unnest(%b::bytea[]) WITH ORDINALITY AS batch(hash, n)"
_NODES = "INSERT INTO nodes SELECT * FROM unnest(%b::smallint[], %b::bigint[], %b::bytea[])"
_PRUNE = "UPDATE records SET sealed = ''::bytea WHERE idx = ANY(%b::bigint[])"
NOTES = "SELECT coalesce((SELECT c.note FROM cosigned c WHERE c.size = k.size ORDER BY number DESC LIMIT 1), k.note) FROM checkpoints k"
"""Checkpoints, with what witnesses added last."""
LANES_AT_ONCE = 1000  # others wait for their turn meanwhile
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0

Row = tuple[bytes, bytes, str]
Node = tuple[int, int, bytes]


@dataclass(slots=True)
class _Absence:
    """The server is away: why, and when it is worth asking again."""

    error: AuditError
    until: float
    pause: float


class PostgresStore:
    """Implements the store that `router.audit.journal` describes. Blocking; used from one thread at a time. `verifier` is the public key
    that this node signs with, and must be every node's. `patience` is how long, in seconds, a write waits for a server that went away."""

    def __init__(self, server: Server, verifier: str, patience: float = 5.0, steps: Steps = LEDGER_STEPS) -> None:
        self._server = server
        self._verifier = verifier
        self._patience = patience
        self._steps = steps
        self._connection: BoundedConnection | None = None
        self._absence: _Absence | None = None
        self._barred = set[str]()
        self._barred_known = self._barred_now = 0
        self._is_open = False

    def open(self, origin: str, *, successor: bool = False) -> tuple[int, bytes]:
        self._is_open = True
        try:
            with self._said():
                connection = self._connected(time.monotonic() + self._patience)
                migrate(connection, self._server, LEDGER, self._steps)
                self._check_meta(connection, origin, successor)
                committed = self._committed()
            self._refuse_warned(connection)
            return committed
        except BaseException:
            self.close()
            raise

    @contextmanager
    def turn(self) -> Iterator[tuple[int, bytes]]:
        head = self._locked()
        try:
            yield head
        finally:
            self._roll_back()

    def write(
        self,
        first: int,
        rows: Sequence[Row],
        hashes: Sequence[bytes],
        nodes: Sequence[Node],
        root: bytes,
        pruning: Sequence[int],
        beside: Extras | None = None,
    ) -> None:
        connection, batch = self._in_turn(), secrets.token_bytes(16)
        connection.warned = ""
        try:
            with connection.pipeline():
                if pruning:
                    connection.execute(_PRUNE, (list(pruning),))
                if rows:
                    self._insert(connection, first, rows, hashes, nodes)
                    connection.execute("INSERT INTO commits VALUES (%b, %b, %b)", (first + len(rows), root, batch))
                if beside is not None:
                    deliveries.write(connection.execute, beside)
                ended = connection.execute("COMMIT")
            done = ended.statusmessage == "COMMIT"
        except psycopg.Error as error:
            if certain(error, connection):
                raise self._not_written(error) from error
            done = self._settled(first, batch, translated(self._server, error))
        if not done:
            raise AuditError(f"The connection to {self._server} was lost before the commit; nothing was written.", AGAIN)
        self._refuse_warned(connection)

    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        connection = self._connection
        in_turn = connection is not None and connection.info.transaction_status == TransactionStatus.INTRANS
        try:
            return stored_nodes(self._open, level, start, end)
        except psycopg.Error as error:
            if is_lost(error):
                self._drop()
                if in_turn:
                    raise AuditError(f"The connection to {self._server} was lost before anything was written.", AGAIN) from error
            raise translated(self._server, error) from error

    def latest_checkpoint(self) -> str | None:
        with self._said():
            found = self._open.rows(f"{NOTES} ORDER BY size DESC LIMIT 1")
        return found[0][0] if found else None

    def write_checkpoint(self, size: int, note: str, at_ns: int) -> None:
        """In a turn, so that no key signs after it has handed over. Another node's of the same size stays; one that says something else is
        refused."""
        with self.turn() as head, self._said():
            connection = self._in_turn()
            if (in_force := _in_force(connection)) != self._verifier:
                message = (
                    f"The ledger was handed over to the key {in_force}, and this node's may sign no more: give it that key, and restart."
                )
                raise AuditError(message, "audit_key_retired")
            self._check_committed(head, size, note)
            for (kept,) in connection.rows("SELECT note FROM checkpoints WHERE size = %s", (size,)):
                check_same(kept, note)
            self._commit(connection, "INSERT INTO checkpoints VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", (size, note, at_ns))

    def write_hand_over(self, size: int, note: str, at_ns: int, old: str | None) -> None:
        with self.turn() as head, self._said():
            connection = self._in_turn()
            ((largest,),) = connection.rows("SELECT coalesce(max(size), 0) FROM checkpoints")
            if largest >= size or (old is not None and _in_force(connection) != old):
                message = "Another node signed, or handed over, meanwhile; nothing was handed over. Try again."
                raise AuditError(message, "audit_rotation_failed")
            self._check_committed(head, size, note)
            connection.execute("INSERT INTO checkpoints VALUES (%s, %s, %s)", (size, note, at_ns))
            self._commit(connection, "INSERT INTO signers (verifier) VALUES (%s)", (self._verifier,))

    def write_cosigned(self, size: int, note: str, at_ns: int) -> None:
        """Added beside the checkpoint, which nobody may change, unless another node has gathered more."""
        with self.turn(), self._said():
            connection = self._in_turn()
            kept = connection.rows(f"{NOTES} WHERE k.size = %s", (size,))
            if not kept:
                raise AuditError(f"There is no checkpoint of {size} records that could be cosigned.", "checkpoint_missing")
            if fuller(kept[0][0], note) == note:
                self._commit(connection, "INSERT INTO cosigned (size, note) VALUES (%s, %s)", (size, note))

    def bar(self, key_id: str) -> None:
        with self.turn(), self._said():
            self._commit(self._in_turn(), "INSERT INTO barred (key_id) VALUES (%s)", (key_id,))

    def bar_again(self, key_ids: Sequence[str]) -> None:
        """The table has them for good, but for those of a ledger before this one."""
        with self.turn(), self._said():
            missing = sorted(set(key_ids) - self.barred(key_ids))
            if missing:
                self._commit(self._in_turn(), "INSERT INTO barred (key_id) SELECT unnest(%s::text[])", (missing,))

    def barred(self, key_ids: Sequence[str]) -> set[str]:
        """The turn told how many there are, so that they are only read where another node barred one since."""
        if self._barred_now > self._barred_known:
            found = self._asked_in_turn("SELECT number, key_id FROM barred WHERE number > %s ORDER BY number", (self._barred_known,))
            self._barred.update(key_id for _, key_id in found)
            self._barred_known = self._barred_now
        return self._barred.intersection(key_ids)

    def check_order(self, order: int) -> None:
        if self._asked_in_turn("SELECT max(number) FROM order_turns", ())[0][0] != order:
            message = "Another node took the turn of giving orders, for this one was silent too long; nothing was written. Try again."
            raise AuditError(message, "audit_order_overtaken")

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        return deliveries.known(self._asked_in_turn, keys)

    def answer(self, key: bytes) -> bytes | None:
        return deliveries.answer(self._asked, key)

    def lease(self, owner: str, now_ns: int, until_ns: int, limit: int) -> list[Delivery]:
        return deliveries.lease(self._asked, owner, now_ns, until_ns, limit)

    def renew(self, owner: str, ids: Sequence[str], until_ns: int) -> list[str]:
        return deliveries.renew(self._asked, owner, ids, until_ns)

    def postpone(self, owner: str, delivery_id: str, attempts: int, due_ns: int, reason: str) -> bool:
        return deliveries.postpone(self._asked, owner, delivery_id, attempts, due_ns, reason)

    def done(self, owner: str, delivery_id: str) -> bool:
        return deliveries.done(self._asked, owner, delivery_id)

    def pending(self) -> Pending:
        return deliveries.pending(self._asked)

    def waiting(self, after: int, limit: int, dead: bool | None, tenant: str | None = None) -> list[Waiting]:
        return deliveries.page(self._asked, after, limit, dead=dead, tenant=tenant)

    def delivery(self, delivery_id: str) -> Waiting | None:
        return deliveries.one(self._asked, delivery_id)

    def revive(self, delivery_id: str, now_ns: int, until_ns: int) -> bool:
        return deliveries.revive(self._asked, delivery_id, now_ns, until_ns)

    def drop(self, delivery_id: str) -> bool:
        return deliveries.drop(self._asked, delivery_id)

    def drop_sealed(self, key_id: str) -> int:
        return deliveries.drop_sealed(self._asked, key_id)

    def rename_lanes(self, lane: Callable[[bytes], bytes]) -> int:
        """In turns, so that nobody ends one of a lane, and lets the next of it be taken, while it has another name."""
        told, renamed = deliveries.told_lanes(self._asked), 0
        for start in range(0, len(told), LANES_AT_ONCE):
            some = told[start : start + LANES_AT_ONCE]
            with self.turn(), self._said():
                connection = self._in_turn()
                connection.warned = ""
                renamed += deliveries.rename(connection.rows, some, [lane(order) for order in some])
                connection.execute("COMMIT")
                self._refuse_warned(connection)
        return renamed

    def forget(self, before_ns: int, limit: int) -> int:
        return deliveries.forget(self._asked, before_ns, limit)

    def close(self) -> None:
        self._is_open, self._absence = False, None
        self._drop()

    def _insert(
        self, connection: BoundedConnection, first: int, rows: Sequence[Row], hashes: Sequence[bytes], nodes: Sequence[Node]
    ) -> None:
        leaves, sealed, key_ids = zip(*rows, strict=True)
        connection.execute(_RECORDS, (first, list(leaves), list(sealed), list(key_ids)))
        connection.execute(_HASHES, (first, list(hashes)))
        if nodes:
            connection.execute(_NODES, [list(column) for column in zip(*nodes, strict=True)])

    def _not_written(self, error: psycopg.Error) -> AuditError:
        """The server said no, so it is rolled back. A place that is taken means that head and records have come apart."""
        self._roll_back()
        if error.sqlstate == "23505":
            return AuditError(f"A place at the end of the ledger in {self._server} is already taken.", "audit_tree_broken")
        known = translated(self._server, error)
        return AuditError(str(known), AGAIN) if may_succeed_again(error) else known

    def _settled(self, first: int, batch: bytes, why: AuditError) -> bool:
        """Whether a batch whose commit was not answered is in. Raises AuditError `audit_unsettled` when that cannot be learnt in time."""
        log.warning("the answer to a commit of the ledger was lost: %s", why)
        deadline = time.monotonic() + self._patience
        self._drop()
        while True:
            try:
                connection = self._connected(deadline)
                connection.warned = ""
                connection.execute("BEGIN")
                connection.rows(_LOCK)
                found = connection.rows("SELECT 1 FROM commits WHERE size > %s AND batch = %s", (first, batch))
                connection.execute("COMMIT")
                self._refuse_warned(connection)
                return bool(found)
            except psycopg.Error as error:
                self._drop()
                why = translated(self._server, error)
            except AuditError as error:
                why = error
            if time.monotonic() > deadline or why.code != UNAVAILABLE:
                raise AuditError(f"Records may or may not have been written: {why}", UNSETTLED) from why

    def _locked(self) -> tuple[int, bytes]:
        """Begins a transaction that has the turn, and reads in it how far the ledger is. A server that went away is waited for, once; after
        that it is asked now and then."""
        deadline, again = self._deadline(), True
        while True:
            connection = self._connected(deadline)
            try:
                answer = connection.execute(_TURN)
                answer.nextset()
                turns = answer.fetchall()
                answer.nextset()
                found = answer.fetchall()
                answer.nextset()
                self._barred_now = answer.fetchall()[0][0]
            except psycopg.Error as error:
                lost = is_lost(error)
                self._roll_back()
                # Once more in any case: where this process stood still, the time that went by says nothing of the server.
                if not lost or (time.monotonic() > deadline and not again):
                    raise translated(self._server, error) from error
                again = False
                continue
            if len(turns) != 1:
                self._roll_back()
                raise AuditError(f"{_place(self._server)} has lost the row that nodes take turns by.", "audit_tree_broken")
            return (found[0][0], found[0][1]) if found else EMPTY

    def _deadline(self) -> float:
        """Until when to wait for the server: not at all, while it is known to be away."""
        now = time.monotonic()
        if self._absence is None:
            return now + self._patience
        if now < self._absence.until:
            raise AuditError(str(self._absence.error), self._absence.error.code)
        return now

    def _connected(self, deadline: float) -> BoundedConnection:
        if not self._is_open:
            raise AuditError(f"The ledger in {self._server} is not open.", "audit_closed")
        pause = _FIRST_PAUSE_S
        while self._connection is None or self._connection.closed:
            try:
                self._connection = connect(self._server)
            except AuditError as error:
                if error.code != UNAVAILABLE or time.monotonic() + pause > deadline:
                    self._absent(error)
                    raise
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        if self._absence is not None:
            log.warning("the ledger's store answers again")
            self._absence = None
        return self._connection

    def _absent(self, error: AuditError) -> None:
        if self._absence is None:
            log.error("the ledger's store is away, and nothing can be recorded: %s", error)
        pause = _FIRST_PAUSE_S if self._absence is None else min(2 * self._absence.pause, _LONGEST_PAUSE_S)
        self._absence = _Absence(error, time.monotonic() + pause, pause)

    @property
    def _open(self) -> BoundedConnection:
        return self._connected(time.monotonic())

    def _asked(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """A statement of its own. Where the connection is lost it may or may not have been done."""
        with self._said():
            return self._open.rows(sql, parameters)

    def _asked_in_turn(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        connection = self._in_turn()
        try:
            return connection.rows(sql, parameters)
        except psycopg.Error as error:
            if is_lost(error):
                self._drop()
                raise AuditError(f"The connection to {self._server} was lost before anything was written.", AGAIN) from error
            raise translated(self._server, error) from error

    def _commit(self, connection: BoundedConnection, sql: str, parameters: Sequence[Any]) -> None:
        """Ends the turn with one statement more."""
        connection.warned = ""
        connection.execute(sql, parameters)
        connection.execute("COMMIT")
        self._refuse_warned(connection)

    def _check_committed(self, head: tuple[int, bytes], size: int, note: str) -> None:
        """In a turn. That a commit left the server with just the tree that a note is about. A node that has seen more than a failover or a
        restored backup left knows so itself; the others do not, and may append, and sign, in the place of what is lost."""
        if head[0] < size:
            message = f"{_place(self._server)} holds {head[0]} records, but {size} were seen committed: it is an old copy."
            raise AuditError(message, "audit_rolled_back")
        found = self._in_turn().rows("SELECT root FROM commits WHERE size = %s", (size,)) if size else [EMPTY[1:]]
        if found != [(note_checkpoint(note).root,)]:
            message = f"The first {size} records in {self._server} are not those that a checkpoint was signed for."
            raise AuditError(message, "audit_tree_broken")

    def _in_turn(self) -> BoundedConnection:
        connection = self._connection
        if connection is None or connection.info.transaction_status != TransactionStatus.INTRANS:
            raise AuditError(f"The connection to {self._server} was lost before anything was written.", AGAIN)
        return connection

    def _roll_back(self) -> None:
        """Where that fails, the server does it: it rolls back what a lost connection left."""
        connection = self._connection
        if connection is None:
            return
        if not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE:
            return
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _refuse_warned(self, connection: BoundedConnection) -> None:
        """A commit whose wait for the standby was cancelled succeeds with a warning: it is on this server only."""
        if connection.warned:
            raise AuditError(f"A commit is not known to be durable: {connection.warned}.", UNSETTLED)

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if is_lost(error):
                self._drop()
            raise translated(self._server, error) from error

    def _check_meta(self, connection: BoundedConnection, origin: str, successor: bool) -> None:
        wanted = {"origin": origin, "verifier": self._verifier}
        for name, value in wanted.items():
            if not connection.rows("SELECT 1 FROM meta WHERE name = %s", (name,)):
                connection.execute("INSERT INTO meta VALUES (%s, %s) ON CONFLICT DO NOTHING", (name, value))
        meta = dict(connection.rows("SELECT name, value FROM meta"))
        if meta["origin"] != origin:
            message = (
                f"{_place(self._server)} holds the ledger of {meta['origin']}, not of {origin}. To go on with it, set 'audit.origin' back; "
                "to begin a new one after it, run `lockgate audit recover`."
            )
            raise AuditError(message, "audit_origin_changed")
        if not successor and (in_force := _in_force(connection)) != self._verifier:
            message = f"{_place(self._server)} holds a ledger that is signed by {in_force}; this node has another key."
            raise AuditError(message, "audit_key_differs")

    def _committed(self) -> tuple[int, bytes]:
        """In a turn, and with a commit of its own: what was visible only, after a crash of the server, is durable then."""
        with self.turn() as (size, root):
            connection = self._in_turn()
            last = connection.rows("SELECT coalesce(max(idx) + 1, 0) FROM records")[0][0]
            connection.execute("COMMIT")
        if last != size:
            raise AuditError(f"{_place(self._server)} holds records up to {last} but commits up to {size}.", "audit_tree_broken")
        return size, root


def _in_force(connection: BoundedConnection) -> str:
    """The public key whose checkpoints are taken: the first node's, until one hands over."""
    found = connection.rows("SELECT verifier FROM signers ORDER BY number DESC LIMIT 1")
    return str((found or connection.rows("SELECT value FROM meta WHERE name = 'verifier'"))[0][0])


def stored_nodes(connection: Any, level: int, start: int, end: int) -> list[bytes]:
    """`connection` has `rows`."""
    if level == 0:
        found = connection.rows("SELECT hash FROM leaf_hashes WHERE idx >= %s AND idx < %s ORDER BY idx", (start, end))
    else:
        found = connection.rows("SELECT hash FROM nodes WHERE level = %s AND idx >= %s AND idx < %s ORDER BY idx", (level, start, end))
    return [row[0] for row in found]


def _place(server: Server) -> str:
    return f"The schema {server.schema} of {server}"
