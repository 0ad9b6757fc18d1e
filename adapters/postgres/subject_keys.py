"""Every subject's own key, as in the file that a single node has, in PostgreSQL tables that several nodes share.

They belong into a database of their own, whose backups are kept apart from the ledger's: whoever has both, and the sealing key, reads all.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg

from adapters.postgres.connection import BoundedConnection, Server, connect, is_lost, translated
from adapters.postgres.schema import KEY_STEPS, KEYS, Steps, check_known, migrate, stored_format
from router.audit.keys.comparing import Compared
from router.audit.keys.leasing import LEASE_S, MARGIN_S, SharedKeys, lease_clock
from router.audit.keys.store import SubjectKey, SubjectKeyStore
from router.errors import AuditError

log = logging.getLogger("lockgate.audit")
_CONFIRMED = "SELECT coalesce((SELECT max(number) FROM destroyed), 0) FROM holders WHERE node = %s AND seen = %s"
LOOK_S = 0.05


class PostgresKeys(SubjectKeyStore, SharedKeys):
    """`read_only` makes neither tables nor keys."""

    def __init__(self, server: Server, sealing_key: bytes, *, read_only: bool = False, steps: Steps = KEY_STEPS) -> None:
        super().__init__(sealing_key, f"the schema {server.schema} of {server}")
        self._server = server
        self._read_only = read_only
        self._steps = steps
        self._session: BoundedConnection | None = None
        self._one_at_a_time = threading.RLock()
        self._is_open = False

    def open(self) -> None:
        self._is_open = True
        try:
            with self._said() as connection:
                if self._read_only:
                    self._check_there(connection)
                else:
                    migrate(connection, self._server, KEYS, self._steps)
                self._check_sealing_key(connection)
        except AuditError:
            self.close()
            raise

    def find(self, subject: str) -> str | None:
        with self._said() as connection:
            found = connection.rows("SELECT key_id FROM keys WHERE subject = %s", (self._place(subject),))
        return found[0][0] if found else None

    def key(self, key_id: str) -> bytes | None:
        with self._said() as connection:
            found = connection.rows("SELECT subject, wrapped FROM keys WHERE key_id = %s", (key_id,))
        return self._unwrapped(key_id, *found[0]) if found else None

    def ensure(self, subjects: Sequence[str]) -> dict[str, SubjectKey]:
        """Where two nodes make a subject's key at the same time, the first one's stays and both use it. A key whose commit was not answered
        is asked for again by whoever needs it: it is there, or it is made."""
        known = self._many(subjects)
        missing = [subject for subject in subjects if subject not in known]
        if missing:
            self._create_all(missing)
            known |= self._many(missing)
        if len(known) < len(set(subjects)):
            raise AuditError("A subject's key vanished while it was made.")
        return known

    def present(self, key_ids: Sequence[str]) -> list[str]:
        with self._said() as connection:
            found = {row[0] for row in connection.rows("SELECT key_id FROM keys WHERE key_id = ANY(%s)", (list(key_ids),))}
        return [key_id for key_id in key_ids if key_id in found]

    def destroy(self, *key_ids: str) -> None:
        """The rows are deleted, and every node will learn of it, when this returns; the server's files lose them where this user may have
        them rewritten. `await_others` then says when no node keeps a key. Raises AuditError, after which they may or may not be deleted."""
        with self._said() as connection:
            connection.warned = ""
            with connection.transaction():
                # One at a time, so that numbers are seen in their order.
                connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"lockgate destroyed {self._server.schema}",))
                for key_id in key_ids:
                    connection.execute("DELETE FROM keys WHERE key_id = %s", (key_id,))
                    connection.execute("INSERT INTO destroyed SELECT coalesce(max(number), 0) + 1, %s FROM destroyed", (key_id,))
            if connection.warned:
                raise AuditError(f"A key's destruction is not known to be durable: {connection.warned}.")
        self._rewrite()

    def _rewrite(self) -> None:
        """A deleted row stays on its page, and a plain VACUUM may leave its bytes in the page's hole; only a rewritten table lacks them. In
        a session of its own, and not for long behind somebody's backup: all nodes' keys would wait there, and leases end."""
        warned = ""
        try:
            session = connect(self._server)
            try:
                session.execute("SET lock_timeout = 500")
                session.execute("VACUUM (FULL) keys")
                warned = session.warned
            finally:
                session.close()
        except (psycopg.Error, AuditError) as error:
            warned = str(error).partition("\n")[0]
        if warned:
            log.warning("the table of the subjects' keys was not rewritten (%s): its owner should run VACUUM (FULL) on it", warned)

    def await_others(self, key_id: str, own: str) -> None:
        """Returns when every node but `own` has said that it forgot the key, or may use no key any more unless it has. What the nodes hold
        ends with time that is measured here and there, so nobody's clock has to be right."""
        began = lease_clock()
        with self._said() as connection:
            number = connection.rows("SELECT coalesce(max(number), 0) FROM destroyed WHERE key_id = %s", (key_id,))[0][0]
        waiting = True
        while waiting and lease_clock() < began + LEASE_S + MARGIN_S:
            with self._said() as connection:
                waiting = bool(connection.rows("SELECT 1 FROM holders WHERE seen < %s AND node <> %s LIMIT 1", (number, own)))
            if waiting:
                time.sleep(LOOK_S)
        if waiting:
            with self._said() as connection:  # who comes back says again that it is there
                connection.execute("DELETE FROM holders WHERE seen < %s AND node <> %s", (number, own))

    def destroyed(self) -> list[str]:
        with self._said() as connection:
            found = connection.rows("SELECT key_id FROM destroyed GROUP BY key_id ORDER BY min(number)")
        return [row[0] for row in found]

    def compared(self) -> Compared | None:
        with self._said() as connection:
            found = connection.rows("SELECT origin, size, leaf FROM compared ORDER BY number DESC LIMIT 1")
        return Compared(*found[0]) if found else None

    def mark(self, compared: Compared) -> None:
        with self._said() as connection:
            values = (compared.origin, compared.size, compared.leaf)
            connection.execute("INSERT INTO compared (origin, size, leaf) VALUES (%s, %s, %b)", values)

    def destroyed_as(self, number: int) -> str | None:
        with self._said() as connection:
            found = connection.rows("SELECT key_id FROM destroyed WHERE number = %s", (number,))
        return found[0][0] if found else None

    def newest_destroyed(self) -> int:
        with self._said() as connection:
            return int(connection.rows("SELECT coalesce(max(number), 0) FROM destroyed")[0][0])

    def destroyed_after(self, number: int) -> list[tuple[int, str]]:
        with self._said() as connection:
            found = connection.rows("SELECT number, key_id FROM destroyed WHERE number > %s ORDER BY number", (number,))
        return [(each, key_id) for each, key_id in found]

    def confirm(self, node: str, seen: int) -> int:
        """The newest number is asked for after this node is seen to hold keys: who destroys one later waits for it."""
        with self._said() as connection:
            kept = connection.rows("SELECT seen FROM holders WHERE node = %s", (node,))
            if kept != [(seen,)]:
                connection.execute(
                    "INSERT INTO holders VALUES (%s, %s) ON CONFLICT (node) DO UPDATE SET seen = excluded.seen", (node, seen)
                )
            found = connection.rows(_CONFIRMED, (node, seen))
            return int(found[0][0]) if found else -1

    def leave(self, node: str) -> None:
        with self._said() as connection:
            connection.execute("DELETE FROM holders WHERE node = %s", (node,))

    def close(self) -> None:
        self._is_open = False
        self._drop()

    def _many(self, subjects: Sequence[str]) -> dict[str, SubjectKey]:
        places = {self._place(subject): subject for subject in subjects}
        with self._said() as connection:
            rows = connection.rows("SELECT subject, key_id, wrapped FROM keys WHERE subject = ANY(%s)", (list(places),))
        return {places[place]: (key_id, self._unwrapped(key_id, place, wrapped)) for place, key_id, wrapped in rows}

    def _create_all(self, subjects: Sequence[str]) -> None:
        # In one order on every node, so that two of them cannot wait for each other.
        rows = sorted(self._fresh(subject) for subject in dict.fromkeys(subjects))
        with self._said() as connection:
            connection.warned = ""
            connection.execute(
                "INSERT INTO keys SELECT * FROM unnest(%b::bytea[], %b::text[], %b::bytea[], %b::bigint[])"
                " ON CONFLICT (subject) DO NOTHING",
                [list(column) for column in zip(*rows, strict=True)],
            )
            if connection.warned:
                raise AuditError(f"A subject's key is not known to be durable: {connection.warned}.")

    def _check_there(self, connection: BoundedConnection) -> None:
        found = stored_format(connection, KEYS)
        check_known(self._server, KEYS, found, max(self._steps))
        if found == 0:
            raise AuditError(f"There are no subject keys in {self._where}.", "audit_keys_missing")

    def _check_sealing_key(self, connection: BoundedConnection) -> None:
        kept = connection.rows("SELECT value FROM keys_check")
        if not kept and not self._read_only:
            connection.execute("INSERT INTO keys_check (value) VALUES (%s) ON CONFLICT DO NOTHING", (self._fresh_check(),))
            kept = connection.rows("SELECT value FROM keys_check")
        if not kept:
            raise AuditError(f"There are no subject keys in {self._where}.", "audit_keys_missing")
        self._verify_check(kept[0][0])

    @contextmanager
    def _said(self) -> Iterator[BoundedConnection]:
        if not self._is_open:
            raise AuditError(f"The subjects' keys in {self._where} are not open.", "audit_closed")
        try:
            with self._one_at_a_time:
                yield self._connected()
        except psycopg.Error as error:
            if is_lost(error):
                self._drop()
            raise translated(self._server, error) from error

    def _connected(self) -> BoundedConnection:
        """A session that the server has ended since the last question is made anew. It is asked first: what changes something must not be
        sent twice."""
        if self._session is not None:
            try:
                self._session.rows("SELECT 1")
                return self._session
            except psycopg.Error:
                self._drop()
        self._session = connect(self._server, read_only=self._read_only)
        return self._session

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with suppress(psycopg.Error):
                session.close()
