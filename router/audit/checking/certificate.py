"""Completeness certificates: an answer that its reader can check to be whole, against a signed checkpoint and nothing else.

A certificate holds every leaf of a run of records [start, end), matching or not, and the hashes of what lies around them, so that the
root of the checkpoint can be recomputed. Who checks it filters for himself. Filters can thus only ask what a record's own leaf says.

The file: a line of JSON, the header; then each leaf, a line of canonical JSON. Writing holds one leaf in memory, checking the matches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import IO, Any

import orjson

from router.audit.questions.conditions import Plain
from router.audit.questions.index import catch_up
from router.audit.questions.query import Query
from router.audit.questions.reader import IndexStore, LedgerReader
from router.audit.records.canonical import MAX_LEAF_BYTES
from router.audit.records.table import Row, flat
from router.audit.tree.checkpoint import Checkpoint, NoteVerifier, note_checkpoint
from router.audit.tree.merkle import CompactRange, Subtree, leaf_hash, node_hash, range_hash
from router.audit.tree.proof import subtrees
from router.errors import AuditError

SCHEMA = "lockgate.certificate.v1"
WRONG, IMPOSSIBLE = "certificate_wrong", "certificate_impossible"
EQUAL = ("kind", "decision_id", "trace_id", "intent", "route", "effect", "risk", "tenant", "result")
TIMES = ("since", "until")
OTHERS = ("reason", "min_confidence", "max_confidence")
Match = tuple[int, Mapping[str, Any]]
"""(record, leaf)"""
MAX_HEADER = 2**20  # bytes; two hashes for each of 63 levels and a note are far below


@dataclass(frozen=True, slots=True)
class Header:
    """`boundary` are the hashes around the run, hex, as `boundary_hashes` has them; `checkpoint` is the note whose root they lead to."""

    schema: str
    checkpoint: str
    start: int
    end: int
    filters: Mapping[str, Any]
    boundary: list[str]


@dataclass(slots=True)
class Checked:
    """What is known once the first match was taken from `check_certificate`, or their end was met."""

    header: Header
    checkpoint: Checkpoint
    matches: int = 0

    @property
    def words(self) -> list[str]:
        """What remains the server's word."""
        said = []
        outside = self.header.start > 0 or self.header.end < self.checkpoint.size
        if outside and any(name in self.header.filters for name in TIMES):
            said.append(
                f"That no record before {self.header.start} or from {self.header.end} on bears a time within the one asked for is this"
                " server's word: the ledger proves order, not times."
            )
        elif outside:
            said.append(f"Records before {self.header.start} and from {self.header.end} on are not in the certificate.")
        return said


def certify(reader: LedgerReader, index: IndexStore, query: Query) -> Iterator[bytes]:
    """The file's lines. Raises AuditError: `certificate_impossible`, `checkpoint_missing`."""
    filters = certifiable(query)
    note = reader.latest_checkpoint()
    if note is None:
        raise AuditError("No checkpoint has been signed yet.", "checkpoint_missing")
    size = note_checkpoint(note).size
    catch_up(reader, index)
    start, end = _window(index, filters, size)
    boundary = [hashed.hex() for hashed in boundary_hashes(start, end, size, subtrees(reader))]
    yield orjson.dumps(asdict(Header(SCHEMA, note, start, end, filters, boundary))) + b"\n"
    for stored in reader.records(start, end):
        yield stored.leaf + b"\n"


def certifiable(query: Query) -> dict[str, Any]:
    """The filters that are set. Raises AuditError `certificate_impossible` where one asks more than a record's own leaf says."""
    filters = {name: value for name, value in asdict(query).items() if value is not None}
    beyond = [name for name in filters if name not in (*EQUAL, *TIMES, *OTHERS)]
    if filters.get("kind") in (None, "decision") and "result" in filters:
        beyond.append("result")  # a decision's is that of a later record
    if beyond:
        sentence = f"A certificate proves what records say by themselves, and {beyond[0]} is not said there; ask without it."
        raise AuditError(sentence, IMPOSSIBLE)
    return filters


def check_certificate(lines: Iterable[bytes], key: str, outside: str | None = None) -> tuple[Checked, Iterator[Match]]:
    """(what is checked, the matches). The first match is given only when the root has been recomputed. `key` is the ledger's public key,
    `outside` a note that was kept elsewhere. Raises AuditError."""
    source = iter(lines)
    header = _header(next(source, b""))
    verifier = NoteVerifier(key)
    checkpoint = verifier.open_checkpoint(header.checkpoint)
    if outside is not None and verifier.open_checkpoint(outside) != checkpoint:
        raise AuditError(f"The certificate is for {checkpoint.size} records, and not for the checkpoint that was given.", WRONG)
    if not 0 <= header.start <= header.end <= checkpoint.size:
        raise AuditError("The certificate's run of records does not lie in its checkpoint's.", WRONG)
    checked = Checked(header, checkpoint)
    return checked, _matches(checked, source)


def boundary_hashes(start: int, end: int, size: int, subtree: Subtree) -> list[bytes]:
    """The hashes of the largest subtrees of a tree of `size` leaves without a leaf of [start, end), from left to right."""
    found: list[bytes] = []

    def walk(low: int, high: int) -> None:
        if high <= start or low >= end:
            found.append(range_hash(low, high, subtree))
        elif low < start or high > end:
            middle = _middle(low, high)
            walk(low, middle)
            walk(middle, high)

    if size:
        walk(0, size)
    return found


def root_of_run(start: int, end: int, size: int, boundary: Iterator[bytes], leaf_hashes: Iterator[bytes]) -> bytes:
    """The root that the run's leaf hashes and `boundary_hashes` lead to. Raises AuditError where one of them ends too early."""

    def walk(low: int, high: int) -> bytes:
        if high <= start or low >= end:
            return _next(boundary)
        if low >= start and high <= end:
            tree = CompactRange()
            for _ in range(low, high):
                tree.append(_next(leaf_hashes))
            return tree.root()
        middle = _middle(low, high)
        left = walk(low, middle)
        return node_hash(left, walk(middle, high))

    return walk(0, size) if size else CompactRange().root()


def matches(filters: Mapping[str, Any], row: Row) -> bool:
    """By what the leaf itself says."""
    return all(_met(name, wanted, row) for name, wanted in filters.items())


def _met(name: str, wanted: Any, row: Row) -> bool:
    if name in EQUAL:
        return bool(row.get(name) == wanted)
    if name == "reason":
        return wanted in (row.get("reasons") or "").split(" ")
    column, compare = _RANGES[name]
    value = row.get(column)
    return value is not None and compare(value, wanted)


_RANGES: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "since": ("time", lambda value, wanted: value >= wanted),
    "until": ("time", lambda value, wanted: value < wanted),
    "min_confidence": ("confidence", lambda value, wanted: value >= wanted),
    "max_confidence": ("confidence", lambda value, wanted: value <= wanted),
}


def _window(index: IndexStore, filters: Mapping[str, Any], size: int) -> tuple[int, int]:
    """The shortest run with every record of the time that is asked for; all records where none is."""
    conditions: list[Plain] = [("time", _OPERATORS[name], filters[name]) for name in TIMES if name in filters]
    if not conditions:
        return 0, size
    first, last = (index.find(conditions, None, newest, 1) for newest in (False, True))
    if not first or first[0]["idx"] >= size:
        return size, size
    return first[0]["idx"], min(last[0]["idx"] + 1, size)


_OPERATORS = {"since": ">=", "until": "<"}


def _matches(checked: Checked, lines: Iterator[bytes]) -> Iterator[Match]:
    header, found = checked.header, list[Match]()

    def hashes() -> Iterator[bytes]:
        for place, line in enumerate(lines, header.start):
            leaf = line.removesuffix(b"\n")
            hashed = leaf_hash(leaf)
            parsed = _leaf(leaf)
            if matches(header.filters, flat(place, parsed, "", hashed)):
                found.append((place, parsed))
            yield hashed

    source, boundary = hashes(), iter([bytes.fromhex(text) for text in header.boundary])
    root = root_of_run(header.start, header.end, checked.checkpoint.size, boundary, source)
    if root != checked.checkpoint.root or next(boundary, None) is not None or next(source, None) is not None:
        raise AuditError("The certificate's records are not those that its checkpoint was signed for.", WRONG)
    checked.matches = len(found)
    yield from found


def _header(line: bytes) -> Header:
    try:
        told = orjson.loads(line)
        header = Header(**told)
        typed = type(header.start) is int and type(header.end) is int and isinstance(header.checkpoint, str)
        hashes = isinstance(header.boundary, list) and all(len(bytes.fromhex(text)) == 32 for text in header.boundary)
        sound = header.schema == SCHEMA and typed and hashes and _are_filters(header.filters)
    except (ValueError, TypeError):
        sound = False
    if not sound:
        raise AuditError("This is no certificate: its first line is not a certificate's header.", WRONG)
    return header


def _are_filters(told: Any) -> bool:
    texts, numbers = (*EQUAL, *TIMES, "reason"), ("min_confidence", "max_confidence")
    return isinstance(told, dict) and all(
        isinstance(value, str) if name in texts else name in numbers and isinstance(value, int | float) for name, value in told.items()
    )


def _leaf(raw: bytes) -> dict[str, Any]:
    try:
        leaf = orjson.loads(raw) if len(raw) <= MAX_LEAF_BYTES else None
    except orjson.JSONDecodeError:
        leaf = None
    return leaf if isinstance(leaf, dict) else {}


def _middle(low: int, high: int) -> int:
    return low + (1 << ((high - low - 1).bit_length() - 1))


def _next(source: Iterator[bytes]) -> bytes:
    hashed = next(source, None)
    if hashed is None:
        raise AuditError("The certificate ends before its records do.", WRONG)
    return hashed


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """A certificate's lines; one that is longer than it can be is cut, and so found to be wrong."""
    line = file.readline(MAX_HEADER)
    while line:
        yield line
        line = file.readline(MAX_LEAF_BYTES + 2)
