"""What can be said of a run of records by looking at them alone, without the tree over them. Runs are checked side by side."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any

from router.audit.checking.above import wrong_runs
from router.audit.governance.standing import EVENTS, There, there_again
from router.audit.journal import PASSING
from router.audit.keys.succession import Rotation, rotation
from router.audit.lookups.chain import Signed, signed
from router.audit.questions.reader import KeyLookup, Keys, LedgerReader, Stored
from router.audit.records.canonical import read_canonical
from router.audit.records.record import SCHEMAS, SYSTEM
from router.audit.records.sealing import commit, sealed_digest, unseal
from router.errors import AuditError

OpenReader = Callable[[], LedgerReader]
OpenKeys = Callable[[], Keys]


@dataclass(frozen=True, slots=True)
class Fault:
    """`index` is the first bad record; where only a range can be named, it is the first of [index, until). `kind` is a stable slug."""

    index: int
    kind: str
    message: str
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Predecessor:
    """What a ledger's first record says of the one that it was begun after. `relation` is how its `size` records were to the last
    checkpoint that was known of it: `behind`, `covered`, `differs`, or empty where none was. `copied` is when it was copied, of a backup's
    copy."""

    origin: str
    size: int
    relation: str
    copied: str = ""


@dataclass(slots=True)
class Chunk:
    """`hashes` are the leaf hashes recomputed from the leaves, 32 bytes each; they end before the first missing record. `absent` are the
    records whose personal part is not there, `unkeyed` the first record by the id of each key that is not there, `orders` the records
    which may say why (see `standing`): one of another run may, so `verify` holds them together. `sealed_under` has of each record the id
    of the key that its personal part is under, where it has one, and `again` what says that destroyed keys were there again."""

    start: int
    hashes: bytes = b""
    faults: list[Fault] = field(default_factory=list)
    opened: int = 0
    erased: int = 0
    absent: array[int] = field(default_factory=lambda: array("Q"))
    unkeyed: dict[str, int] = field(default_factory=dict)
    orders: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    sealed_under: list[str] = field(default_factory=list)
    again: list[There] = field(default_factory=list)
    rotations: list[Rotation] = field(default_factory=list)
    sections: list[Signed] = field(default_factory=list)
    predecessor: Predecessor | None = None


def check_chunk(open_reader: OpenReader, start: int, end: int, open_keys: OpenKeys | None = None) -> Chunk:
    with ExitStack() as stack:
        reader = open_reader()
        stack.callback(reader.close)
        if open_keys is None:
            return _checked(reader, start, end, None)
        keys = open_keys()
        stack.callback(keys.close)
        return _checked(reader, start, end, lru_cache(maxsize=1024)(keys.key))


def _checked(reader: LedgerReader, start: int, end: int, keys: KeyLookup | None) -> Chunk:
    chunk, hashes, expected = Chunk(start), list[bytes](), start
    stored_hashes = reader.nodes(0, start, end)
    for stored in _readable(reader, chunk, start, end):
        if stored.index != expected:
            break
        hashed = sha256(b"\x00" + stored.leaf).digest()
        hashes.append(hashed)
        if stored_hashes[expected - start : expected - start + 1] != [hashed]:
            chunk.faults.append(Fault(expected, "leaf_altered", f"Record {expected} is not the one that was written at this place."))
        chunk.sealed_under.append("")
        _check_record(chunk, stored, keys)
        expected += 1
    if expected != end and not any(fault.kind == "file_damaged" for fault in chunk.faults):
        chunk.faults.append(Fault(expected, "record_missing", f"Record {expected} is missing."))
    chunk.hashes = b"".join(hashes)
    if not chunk.faults:  # else the records themselves are not those that it was made of
        chunk.faults.extend(node_fault(*wrong) for wrong in wrong_runs(reader, start, hashes))
    return chunk


def node_fault(start: int, end: int) -> Fault:
    message = f"The hash that is stored over records {start} to {end - 1} is not theirs: proofs that are made with it do not verify."
    return Fault(start, "node_altered", message, end)


def _readable(reader: LedgerReader, chunk: Chunk, start: int, end: int) -> Iterator[Stored]:
    """A file that is broken as a file ends the run, and says somewhere from the last readable record on."""
    try:
        for stored in reader.records(start, end):
            yield stored
            start = stored.index + 1
    except AuditError as error:
        if error.code in PASSING:  # then nothing is known of the records
            raise
        chunk.faults.append(Fault(start, "file_damaged", f"Record {start} cannot be read: {error}"))


def _check_record(chunk: Chunk, stored: Stored, keys: KeyLookup | None) -> None:
    leaf, complaint = _leaf(stored.leaf)
    if complaint:
        chunk.faults.append(Fault(stored.index, "leaf_malformed", f"Record {stored.index} {complaint}."))
        return
    if leaf.get("event") in EVENTS and leaf.get("schema") == SYSTEM:
        chunk.orders.append((stored.index, leaf))
    if (there := there_again(stored.index, leaf)) is not None:
        chunk.again.append(there)
    if stored.index == 0:
        chunk.predecessor = _predecessor(leaf)
    if (found := rotation(stored.index, leaf)) is not None:
        chunk.rotations.append(found)
    if (section := signed(stored.index, leaf)) is not None:
        chunk.sections.append(section)
    if (digest := leaf.get("sealed")) is not None or stored.sealed:
        _check_sealed(chunk, stored, leaf, digest, keys)
    elif stored.key_id:
        message = f"Beside record {stored.index}, which has no personal part, stands the id of a key, as if it were about somebody."
        chunk.faults.append(Fault(stored.index, "sealed_altered", message))


def _predecessor(leaf: dict[str, Any]) -> Predecessor | None:
    if leaf.get("schema") != SYSTEM or leaf.get("event") != "recovered":
        return None
    try:
        said = leaf["details"]["predecessor"]
        return Predecessor(str(said["origin"]), int(said["size"]), str(said["relation"]), str(said.get("copied", "")))
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def _leaf(raw: bytes) -> tuple[dict[str, Any], str]:
    """(the leaf, what is wrong with it)"""
    leaf = read_canonical(raw)
    if leaf is None:
        return {}, "is not in canonical form"
    if leaf.get("schema") not in SCHEMAS:
        return {}, f"has an unknown schema {str(leaf.get('schema'))[:64]!r}"
    return leaf, ""


def _check_sealed(chunk: Chunk, stored: Stored, leaf: dict[str, Any], digest: str | None, keys: KeyLookup | None) -> None:
    if not stored.sealed:
        chunk.absent.append(stored.index)
    elif sealed_digest(stored.key_id, stored.sealed) != digest:
        chunk.faults.append(Fault(stored.index, "sealed_altered", f"The personal part of record {stored.index} was exchanged."))
    else:
        chunk.sealed_under[-1] = stored.key_id
        if keys is not None:
            _check_commitments(chunk, stored, leaf, keys)


def _check_commitments(chunk: Chunk, stored: Stored, leaf: dict[str, Any], keys: KeyLookup) -> None:
    try:
        key = keys(stored.key_id)
        if key is None:
            chunk.erased += 1
            chunk.unkeyed.setdefault(stored.key_id, stored.index)
            return
        personal = unseal(key, leaf["schema"], leaf.get("id", ""), stored.sealed)
    except AuditError as error:
        chunk.faults.append(Fault(stored.index, "sealed_unreadable", f"Record {stored.index}: {error}"))
        return
    chunk.opened += 1
    if commit(key, leaf.get("id", ""), personal) != leaf.get("commitments"):
        chunk.faults.append(
            Fault(stored.index, "commitment_wrong", f"The personal part of record {stored.index} is not what it commits to.")
        )
