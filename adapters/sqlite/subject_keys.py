"""Every subject's own key, wrapped under the sealing key, in a file that is not part of a ledger backup and lists no names.

A row is found by HMAC-SHA256 of the subject's id under a key derived (HKDF) from the sealing key. Who lacks the sealing key can neither
open a key nor tell whose it is. Removing a row makes everything ever sealed for that subject unreadable.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from adapters.sqlite.connection import Connect, Connection, connect, opened_to_read, private_file
from adapters.sqlite.migrations import Steps, check_known, migrate
from router.audit.keys.comparing import Compared
from router.audit.keys.leasing import Lease, SharedKeys
from router.errors import AuditError

PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
    "PRAGMA busy_timeout=10000",
)
STEPS: Steps = {
    1: (
        "CREATE TABLE IF NOT EXISTS keys (subject BLOB PRIMARY KEY, key_id TEXT NOT NULL UNIQUE, wrapped BLOB NOT NULL,"
        " created_ns INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    ),
    2: (
        "CREATE TABLE destroyed (number INTEGER PRIMARY KEY, key_id TEXT NOT NULL UNIQUE)",
        # One row: up to where of which ledger its erasures were looked after here.
        "CREATE TABLE compared (number INTEGER PRIMARY KEY, origin TEXT NOT NULL, size INTEGER NOT NULL, leaf BLOB NOT NULL)",
    ),
}
_NONCE = 12
_TOLD = "INSERT OR IGNORE INTO destroyed (key_id) VALUES (?)"

SubjectKey = tuple[str, bytes]


class KeyFile:
    """The blocking core."""

    def __init__(self, path: Path, sealing_key: bytes, connect: Connect = connect, steps: Steps = STEPS) -> None:
        self._path = path
        self._steps = steps
        self._wrapping = AESGCM(_derived(sealing_key, b"lockgate subject key wrapping v1"))
        self._index = _derived(sealing_key, b"lockgate subject key index v1")
        self._connection: Connection | None = None
        self._opening: Callable[[], Connection] = partial(prepared, path, connect, steps)
        self._one_at_a_time = threading.RLock()

    def open(self) -> None:
        private_file(self._path)
        try:
            self._connection = self._opening()
            self._check_sealing_key()
        except AuditError:
            self.close()
            raise

    def open_to_read(self) -> None:
        """For who only asks, beside the process that makes and destroys keys: nothing is made or changed. Raises AuditError."""
        self._opening = partial(opened_to_read, self._path)
        try:
            self._connection = self._opening()
            check_known(self._connection, self._path, max(self._steps))
            self._check_sealing_key(make=False)
        except AuditError:
            self.close()
            raise

    def find(self, subject: str) -> str | None:
        with self._one_at_a_time:
            found = self._open.execute("SELECT key_id FROM keys WHERE subject = ?", (self._place(subject),))
        return found[0][0] if found else None

    def key(self, key_id: str) -> bytes | None:
        with self._one_at_a_time:
            found = self._open.execute("SELECT subject, wrapped FROM keys WHERE key_id = ?", (key_id,))
        return self._unwrapped(key_id, *found[0]) if found else None

    def present(self, key_ids: Sequence[str]) -> list[str]:
        """Those of them that are there."""
        with self._one_at_a_time:
            return [each for each in key_ids if self._open.execute("SELECT 1 FROM keys WHERE key_id = ?", (each,))]

    def destroy(self, *key_ids: str) -> None:
        """Neither the file nor its write-ahead log holds the keys when it returns; their ids stay, in `destroyed`. Without such a key it
        does the same: an attempt before may have ended between the two. Raises AuditError `audit_keys_busy` while another process reads an
        older state of the file."""
        with self._one_at_a_time:
            try:
                self._open.execute("BEGIN IMMEDIATE")
                for key_id in key_ids:
                    self._open.execute("DELETE FROM keys WHERE key_id = ?", (key_id,))  # zeros its place, by secure_delete
                    self._open.execute(_TOLD, (key_id,))
                self._open.execute("COMMIT")
                ((busy, _, _),) = self._open.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except AuditError:
                self._abandon()
                raise
        if busy:
            raise AuditError(f"The key is deleted but still in {self._path}-wal, for another process reads the file.", "audit_keys_busy")

    def destroyed(self) -> list[str]:
        """The ids of all keys that were destroyed here, in that order."""
        with self._one_at_a_time:
            return [row[0] for row in self._open.execute("SELECT key_id FROM destroyed ORDER BY number")]

    def compared(self) -> Compared | None:
        """The last mark. Raises AuditError."""
        with self._one_at_a_time:
            found = self._open.execute("SELECT origin, size, leaf FROM compared ORDER BY number DESC LIMIT 1")
        return Compared(*found[0]) if found else None

    def mark(self, compared: Compared) -> None:
        """On stable storage when it returns. Raises AuditError."""
        with self._one_at_a_time:
            self._open.execute("INSERT OR REPLACE INTO compared VALUES (1, ?, ?, ?)", (compared.origin, compared.size, compared.leaf))

    def ensure(self, subjects: Sequence[str]) -> dict[str, SubjectKey]:
        """One transaction for all that are missing, on stable storage when it returns."""
        with self._one_at_a_time:
            return self._ensured(subjects)

    def _ensured(self, subjects: Sequence[str]) -> dict[str, SubjectKey]:
        known = {subject: self._read(subject) for subject in subjects}
        missing = [subject for subject, key in known.items() if key is None]
        if missing:
            self._open.execute("BEGIN IMMEDIATE")
            try:
                for subject in missing:
                    self._create(subject)
                self._open.execute("COMMIT")
            except AuditError:
                self._abandon()
                raise
        return {subject: key or self._present(subject) for subject, key in known.items()}

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _open(self) -> Connection:
        if self._connection is None:
            raise AuditError(f"The subjects' keys {self._path} are not open.", "audit_closed")
        return self._connection

    def _place(self, subject: str) -> bytes:
        return hmac.digest(self._index, subject.encode("utf-8", "surrogatepass"), "sha256")

    def _read(self, subject: str) -> SubjectKey | None:
        place = self._place(subject)
        found = self._open.execute("SELECT key_id, wrapped FROM keys WHERE subject = ?", (place,))
        return (found[0][0], self._unwrapped(found[0][0], place, found[0][1])) if found else None

    def _present(self, subject: str) -> SubjectKey:
        key = self._read(subject)
        if key is None:
            raise AuditError("A subject's key vanished while it was made.")
        return key

    def _create(self, subject: str) -> None:
        place, key_id, nonce = self._place(subject), secrets.token_hex(16), os.urandom(_NONCE)
        wrapped = nonce + self._wrapping.encrypt(nonce, secrets.token_bytes(32), key_id.encode() + place)
        self._open.execute("INSERT OR IGNORE INTO keys VALUES (?,?,?,?)", (place, key_id, wrapped, time.time_ns()))

    def _unwrapped(self, key_id: str, place: bytes, wrapped: bytes) -> bytes:
        try:
            return self._wrapping.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], key_id.encode() + place)
        except (InvalidTag, ValueError) as error:
            raise AuditError(f"The sealing key does not open a key in {self._path}.", "audit_sealing_key_wrong") from error

    def _abandon(self) -> None:
        """A transaction that could not be finished must not swallow the next one; the connection is made anew."""
        self.close()
        self._connection = self._opening()

    def _check_sealing_key(self, *, make: bool = True) -> None:
        """With another sealing key every subject would silently get a second key, and the first would never be found again."""
        if make:
            nonce = os.urandom(_NONCE)
            mark = nonce + self._wrapping.encrypt(nonce, b"lockgate", None)
            self._open.execute("INSERT OR IGNORE INTO meta VALUES ('check', ?)", (mark,))
        found = self._open.execute("SELECT value FROM meta WHERE name = 'check'")
        try:
            for (kept,) in found:  # none where a start was broken off before there was a key
                self._wrapping.decrypt(kept[:_NONCE], kept[_NONCE:], None)
        except InvalidTag as error:
            raise AuditError(f"The sealing key is not the one that {self._path} was made with.", "audit_sealing_key_wrong") from error


def prepared(path: Path, connect: Connect = connect, steps: Steps = STEPS) -> Connection:
    """The file in its newest format."""
    connection = connect(path)
    try:
        for statement in PRAGMAS:
            connection.execute(statement)
        migrate(connection, path, steps)
    except AuditError:
        connection.close()
        raise
    return connection


class Holders(Protocol):
    """Who else on this node has to do with keys."""

    async def forget_key(self, key_id: str) -> None: ...

    async def drop_held(self, key_id: str) -> None: ...

    def keys_until(self, until: float) -> None:
        """What they have may be used for so long."""


class SqliteSubjectKeys:
    """Implements `router.ports.SubjectKeys`: a cache over the file. Misses that come together share one transaction."""

    def __init__(self, file: KeyFile, cache: int = 10_000) -> None:
        self._file = file
        self._limit = cache
        self._cache: OrderedDict[str, SubjectKey] = OrderedDict()
        self._wanted: dict[str, asyncio.Future[SubjectKey]] = {}
        self._busy: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._lease = Lease(file, self._forgotten, self._told) if isinstance(file, SharedKeys) else None
        self.holders: Holders | None = None

    async def open(self) -> None:
        await asyncio.to_thread(self._file.open)
        if self._lease is not None:
            await self._lease.begin()

    @property
    def until(self) -> float | None:
        """Until when, on the lease's clock, what was given out may be used; None where nobody else destroys keys."""
        return None if self._lease is None else self._lease.until

    async def key_for(self, subject: str) -> SubjectKey:
        if self._lease is not None:
            self._lease.check()
        cached = self._cache.get(subject)
        if cached is not None:
            self._cache.move_to_end(subject)
            return cached
        future = self._wanted.get(subject)
        if future is None:
            future = self._wanted[subject] = asyncio.get_running_loop().create_future()
        if self._busy is None:
            self._busy = asyncio.create_task(self._fetch_wanted())
        return await asyncio.shield(future)

    async def find(self, subject: str) -> str | None:
        """The key id of a subject that has one."""
        return await asyncio.to_thread(self._file.find, subject)

    async def key(self, key_id: str) -> bytes | None:
        """The key of an id; None once it was destroyed."""
        return await asyncio.to_thread(self._file.key, key_id)

    async def present(self, key_ids: Sequence[str]) -> list[str]:
        """Those of them that were not destroyed."""
        return await asyncio.to_thread(self._file.present, key_ids)

    async def destroy(self, *key_ids: str) -> None:
        """The keys are in no file, kept by no other node and given to nobody when it returns. The next request of the same subject gets
        another one."""
        async with self._changing:
            self._drop(*key_ids)
            await asyncio.to_thread(self._file.destroy, *key_ids)
        if self._lease is not None and isinstance(self._file, SharedKeys):
            await asyncio.to_thread(self._file.await_others, key_ids[-1], self._lease.node)  # nodes forget in the order of numbers

    async def compared(self) -> Compared | None:
        """Up to where of a ledger its erasures were looked after here; None where never."""
        return await asyncio.to_thread(self._file.compared)

    async def mark(self, compared: Compared) -> None:
        """Durable when it returns. Raises AuditError."""
        await asyncio.to_thread(self._file.mark, compared)

    def _drop(self, *key_ids: str) -> None:
        gone = frozenset(key_ids)
        for subject in [subject for subject, (known, _) in self._cache.items() if known in gone]:
            del self._cache[subject]

    async def _forgotten(self, key_id: str) -> None:
        """Of a key that another node destroyed."""
        async with self._changing:
            self._drop(key_id)
        if self.holders is not None:
            await self.holders.forget_key(key_id)
            await self.holders.drop_held(key_id)

    def _told(self, until: float) -> None:
        if self.holders is not None:
            self.holders.keys_until(until)

    async def close(self) -> None:
        if self._busy is not None:
            await self._busy
        self._cache.clear()
        if self._lease is not None:
            await self._lease.end()
        await asyncio.to_thread(self._file.close)

    async def _fetch_wanted(self) -> None:
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted, {}
                async with self._changing:  # what was read before a key was destroyed must not be kept after it
                    await self._fetch(wanted)
        finally:
            self._busy = None

    async def _fetch(self, wanted: dict[str, asyncio.Future[SubjectKey]]) -> None:
        try:
            keys = await asyncio.to_thread(self._file.ensure, list(wanted))
            if self._lease is not None:
                self._lease.check()  # it may have taken long
        except AuditError as error:
            for future in wanted.values():
                future.set_exception(AuditError(str(error), error.code))
                future.exception()  # seen, should its caller have gone
            return
        for subject, future in wanted.items():
            self._keep(subject, keys[subject])
            future.set_result(keys[subject])

    def _keep(self, subject: str, key: SubjectKey) -> None:
        self._cache[subject] = key
        if len(self._cache) > self._limit:
            self._cache.popitem(last=False)


def _derived(sealing_key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(sealing_key)
