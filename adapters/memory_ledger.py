"""The ledger and the subjects' keys without a disk: nothing is durable. For tests of everything that needs them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import count

from router.errors import EVENT_KNOWN, AuditError
from router.ports import Delivery, Entry, Settled

REFUSED = -1
MAX_LEAF_BYTES = 65_535


class MemoryLedger:
    """`entries` are what was appended; `failing`, when set, is what every append and ping raises."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.failing: AuditError | None = None
        self.arrivals: dict[bytes, bytes] = {}
        self.arrived: dict[bytes, int] = {}
        self.deliveries: dict[int, Delivery] = {}
        self.dead = set[int]()
        self._numbers = count()
        self._open = False

    async def open(self) -> None:
        self._open = True

    async def append(self, entry: Entry) -> int:
        (place,) = await self.append_many([entry])
        if place == REFUSED:
            raise AuditError("Another record decided this event.", EVENT_KNOWN)
        return place

    async def append_many(self, entries: Sequence[Entry]) -> list[int]:
        await self.ping()
        for entry in entries:
            if not (2 <= len(entry.leaf) <= MAX_LEAF_BYTES and entry.leaf.startswith(b"{") and entry.leaf.endswith(b"}")):
                raise AuditError("A record is not a JSON object of at most 65,535 bytes.", "audit_record_invalid")
        return [self._append(entry) for entry in entries]

    def _append(self, entry: Entry) -> int:
        if entry.arrival is not None:
            if entry.arrival.key in self.arrivals:
                return REFUSED
            self.arrivals[entry.arrival.key] = entry.arrival.answer
            self.arrived[entry.arrival.key] = time.time_ns()
        if entry.delivery is not None:
            self.deliveries[next(self._numbers)] = entry.delivery
        if entry.settled is not None:
            self._settle(entry.settled)
        self.entries.append(entry)
        return len(self.entries) - 1

    def _settle(self, settled: Settled) -> None:
        theirs = ((number, each.owner) for number, each in self.deliveries.items() if each.id == settled.id)
        number = next((number for number, owner in theirs if settled.owner in ("", owner)), None)
        if number is not None and settled.dead:
            gone = self.deliveries[number]
            self.deliveries[number] = replace(gone, owner="", leased_ns=0, attempts=settled.attempts, reason=settled.reason)
            self.dead.add(number)
        elif number is not None:
            self.dead.discard(number)
            del self.deliveries[number]

    async def ping(self) -> None:
        if self.failing is not None:
            raise AuditError(str(self.failing), self.failing.code)
        if not self._open:
            raise AuditError("The audit ledger is not open.", "audit_closed")

    @property
    def size(self) -> int:
        return len(self.entries)

    def root(self) -> bytes:
        """MTH of RFC 6962 section 2.1, as it stands there."""
        return _tree_hash([entry.leaf for entry in self.entries])

    async def close(self) -> None:
        self._open = False


class MemorySubjectKeys:
    def __init__(self) -> None:
        self._keys: dict[str, tuple[str, bytes]] = {}

    async def open(self) -> None: ...

    async def key_for(self, subject: str) -> tuple[str, bytes]:
        return self._keys.setdefault(subject, (secrets.token_hex(16), secrets.token_bytes(32)))

    async def find(self, subject: str) -> str | None:
        """The key id of a subject that has one."""
        found = self._keys.get(subject)
        return None if found is None else found[0]

    async def key(self, key_id: str) -> bytes | None:
        """The key of an id; None once it was destroyed."""
        return next((key for known, key in self._keys.values() if known == key_id), None)

    async def present(self, key_ids: Sequence[str]) -> list[str]:
        known = {key_id for key_id, _ in self._keys.values()}
        return [each for each in key_ids if each in known]

    async def destroy(self, key_id: str) -> None:
        self._keys = {subject: key for subject, key in self._keys.items() if key[0] != key_id}

    async def close(self) -> None: ...


def _tree_hash(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) <= 1:
        return sha256(b"\x00" + leaves[0]).digest() if leaves else sha256().digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + _tree_hash(leaves[:split]) + _tree_hash(leaves[split:])).digest()
