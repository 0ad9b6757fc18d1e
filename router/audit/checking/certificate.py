"""Completeness certificates: an answer that its reader can check to be whole, against a signed checkpoint and nothing else.

A certificate holds every leaf of a run of records [start, end), matching or not, and the hashes of what lies around them, so that the
root of the checkpoint can be recomputed. Who checks it filters for himself. Filters can thus only ask what a record's own leaf says.

The file: a line of JSON, the header; then each leaf, a line of canonical JSON. Writing holds one leaf in memory, checking the matches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

import orjson

from router.audit.checking.legible import legible
from router.audit.questions.conditions import Plain
from router.audit.questions.index import catch_up
from router.audit.questions.query import Query
from router.audit.questions.reader import IndexStore, LedgerReader
from router.audit.records.table import Row
from router.audit.tree.checkpoint import Checkpoint, NoteVerifier, note_checkpoint
from router.audit.tree.merkle import leaf_hash
from router.audit.tree.proof import subtrees
from router.audit.tree.ranges import WRONG, boundary_hashes, root_of_run
from router.errors import AuditError

SCHEMA = "lockgate.certificate.v1"
IMPOSSIBLE = "certificate_impossible"
NOT_THEM = "The certificate's records are not those that its checkpoint was signed for."
EQUAL = ("kind", "decision_id", "trace_id", "intent", "route", "effect", "risk", "tenant", "result")
TIMES = ("since", "until")
OTHERS = ("reason", "min_confidence", "max_confidence")
Match = tuple[int, Mapping[str, Any]]
"""(record, leaf)"""
MAX_LINE = 2**24  # bytes; a million records of one key in one section of the index are below


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
    """What is known once the first match was taken, or their end was met: it is about the records [start, end) of the checkpoint's.
    `words` say what remains the server's word, or was not asked."""

    checkpoint: Checkpoint
    start: int
    end: int
    filters: Mapping[str, Any]
    words: list[str]
    matches: int = 0


def certify(reader: LedgerReader, index: IndexStore, query: Query) -> Iterator[bytes]:
    """The file's lines. Raises AuditError: `certificate_impossible`, `checkpoint_missing`."""
    filters = set_filters(query)
    certifiable(filters)
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


def set_filters(query: Query) -> dict[str, Any]:
    return {name: value for name, value in asdict(query).items() if value is not None}


def certifiable(filters: Mapping[str, Any]) -> None:
    """Raises AuditError `certificate_impossible` where one asks more than a record's own leaf says."""
    beyond = [name for name in filters if name not in (*EQUAL, *TIMES, *OTHERS)]
    if filters.get("kind") in (None, "decision") and "result" in filters:
        beyond.append("result")  # a decision's is that of a later record
    if beyond:
        sentence = f"A certificate proves what records say by themselves, and {beyond[0]} is not said there; ask without it."
        raise AuditError(sentence, IMPOSSIBLE)


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
    checked = Checked(checkpoint, header.start, header.end, header.filters, _words(header, checkpoint.size))
    return checked, _matches(header, checked, source)


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


def _words(header: Header, size: int) -> list[str]:
    outside = header.start > 0 or header.end < size
    if outside and any(name in header.filters for name in TIMES):
        told = f"That no record before {header.start} or from {header.end} on bears a time within the one asked for is this server's word:"
        return [f"{told} the ledger proves order, not times."]
    return [f"Records before {header.start} and from {header.end} on are not in the certificate."] if outside else []


def _matches(header: Header, checked: Checked, lines: Iterator[bytes]) -> Iterator[Match]:
    boundary = [bytes.fromhex(text) for text in header.boundary]

    def wanted(_: Mapping[str, Any], row: Row) -> bool:
        return matches(header.filters, row)

    found = run_of_leaves(lines, header.start, header.end, checked.checkpoint, boundary, wanted)
    if next(lines, None) is not None:
        raise AuditError(NOT_THEM, WRONG)
    checked.matches = len(found)
    yield from found


def run_of_leaves(
    lines: Iterator[bytes],
    start: int,
    end: int,
    tree: Checkpoint,
    boundary: Sequence[bytes],
    wanted: Callable[[Mapping[str, Any], Row], bool],
) -> list[Match]:
    """Takes the leaves of the records [start, end) and gives those that are wanted, once `tree` was found to be of them. Raises AuditError
    where it is not, or of one of them cannot be told whether it is wanted."""
    found, illegible = list[Match](), list[AuditError]()

    def hashes() -> Iterator[bytes]:
        for place, line in zip(range(start, end), lines, strict=False):
            raw = line.removesuffix(b"\n")
            try:
                leaf, row = legible(place, raw)
                if wanted(leaf, row):
                    found.append((place, leaf))
            except AuditError as error:
                if not illegible:
                    illegible.append(error)
            yield leaf_hash(raw)

    around = iter(boundary)
    if root_of_run(start, end, tree.size, around, hashes()) != tree.root or next(around, None) is not None:
        raise AuditError(NOT_THEM, WRONG)
    if illegible:  # and it is the ledger's, so that the ledger is to be blamed
        raise illegible[0]
    return found


def _header(line: bytes) -> Header:
    try:
        told = orjson.loads(line)
        header = Header(**told)
        typed = type(header.start) is int and type(header.end) is int and isinstance(header.checkpoint, str)
        hashes = isinstance(header.boundary, list) and all(len(bytes.fromhex(text)) == 32 for text in header.boundary)
        sound = header.schema == SCHEMA and typed and hashes and are_filters(header.filters)
    except (ValueError, TypeError):
        sound = False
    if not sound:
        raise AuditError("This is no certificate: its first line is not a certificate's header.", WRONG)
    return header


def are_filters(told: Any) -> bool:
    texts, numbers = (*EQUAL, *TIMES, "reason"), ("min_confidence", "max_confidence")
    return isinstance(told, dict) and all(
        isinstance(value, str) if name in texts else name in numbers and isinstance(value, int | float) for name, value in told.items()
    )


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """A certificate's lines; one that is longer than it can be is cut, and so found to be wrong."""
    while line := file.readline(MAX_LINE):
        yield line
