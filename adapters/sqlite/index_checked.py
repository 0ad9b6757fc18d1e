"""The index that answers come from, held against one that is made anew of the same records.

Whoever can write to the file can hide a record from every question and needs no key for it. A file of this release is the same, table by
table, however many records made a batch of it, so that any difference is one from the records. What a question would throw away, for it is
of another ledger, of one that has been cut since, or of another release, answers nothing and is not looked at.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from adapters.sqlite.connection import DISK_FULL, StandardConnection, opened_to_read
from adapters.sqlite.index import INDEX_FILE, VERSION, SqliteIndex
from adapters.sqlite.index_plan import read_data
from router.audit.questions.columns import COLUMNS, NAMES, Kind
from router.audit.questions.index import make_up_to
from router.audit.questions.reader import Difference, LedgerReader
from router.audit.questions.segments import SIZE, Zone, unpack
from router.errors import AuditError

A_RECORD = 300  # bytes; twice what most take
ROOM = 64 * 2**20  # bytes that are left free where it is made
_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
_META = "SELECT name, value FROM meta WHERE name IN ('version', 'complete', 'last_hash')"
_TOLD = "SELECT type, sql FROM sqlite_master WHERE name = 'meta'"
_ZONES = "SELECT kept, segment, size, low, high, nulls, width FROM zones ORDER BY kept, segment"
_LISTS = {
    "words": "SELECT kept, code, word FROM words ORDER BY kept, code",
    "late": "SELECT code, idx FROM late ORDER BY code, idx",
    **{name: f"SELECT code, value FROM {name} ORDER BY code" for name in NAMES if COLUMNS[name].kind is Kind.ID},  # noqa: S608 - ours
}


Told = Callable[[int, int], None]


def difference(path: Path, reader: LedgerReader, told: Told | None = None) -> Difference | None:
    """The first; None where there is none, or no index that anything would be answered from. Makes one beside the system's other temporary
    files; `told` hears how many records that has, and of how many. Raises AuditError, also where there is no room for that."""
    if not path.is_file():
        return None
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="lockgate-index-")))
        made = stack.enter_context(closing(SqliteIndex(folder / INDEX_FILE)))
        fresh = stack.enter_context(closing(StandardConnection(folder / INDEX_FILE)))
        try:
            kept = stack.enter_context(closing(opened_to_read(path)))
        except AuditError as error:
            return _unreadable(error)
        return _difference(kept, fresh, made, reader, folder, told)


def _difference(
    kept: StandardConnection, fresh: StandardConnection, made: SqliteIndex, reader: LedgerReader, folder: Path, told: Told | None
) -> Difference | None:
    """It may be added to meanwhile: first up to where it is now, and the little that is added until then in one state of the file."""
    for begin in ("", "BEGIN"):
        try:
            if begin:
                kept.execute(begin)
            size = _answering(kept, fresh, reader)
        except AuditError as error:
            return _unreadable(error)
        if size is None:
            return None
        _check_room(folder, size - made.complete()[0])
        if made.complete()[0] > size:  # somebody made it anew meanwhile
            made.reset()
        make_up_to(reader, made, size, told)
    try:
        return _schema(kept, fresh) or _damage(kept) or _lists(kept, fresh) or _values(kept, fresh)
    except (AuditError, LookupError, TypeError, ValueError, OverflowError) as error:
        return _unreadable(error)


def _answering(kept: StandardConnection, fresh: StandardConnection, reader: LedgerReader) -> int | None:
    """How many records it has; None where a question would throw it away. Raises AuditError where it says so in a form of its own, which a
    question may read all the same: a view could tell a question something else than this."""
    told = kept.execute(_TOLD)
    if not told:
        return None
    if told != fresh.execute(_TOLD):
        raise AuditError("what it says of itself is not in a table of ours")
    meta = dict(kept.execute(_META))
    size = meta.get("complete")
    if meta.get("version") != VERSION:
        return None
    if type(size) is not int:
        raise AuditError("how many records it has is no whole number")
    if not 0 <= size <= reader.size():
        return None
    if not size:
        return 0  # a question makes it on what is there
    return size if reader.nodes(0, size - 1, size) == [meta.get("last_hash")] else None


def _schema(kept: StandardConnection, fresh: StandardConnection) -> Difference | None:
    """A view in the place of a table, or a trigger, could give other answers to other questions."""
    same = sorted(kept.execute(_SCHEMA)) == sorted(fresh.execute(_SCHEMA))
    return None if same else Difference(0, "it has other tables")


def _damage(kept: StandardConnection) -> Difference | None:
    """SQLite's own trees, by which single values are found, can be of other rows than a table has."""
    ((found,),) = kept.execute("PRAGMA integrity_check(1)")
    return None if found == "ok" else Difference(0, f"it is damaged ({found})")


def _lists(kept: StandardConnection, fresh: StandardConnection) -> Difference | None:
    for name, rows in _LISTS.items():
        if any(one != other for one, other in zip_longest(kept.each(rows), fresh.each(rows))):
            return Difference(0, f"its list of {name.replace('_', ' ')} is another one")
    return None


def _values(kept: StandardConnection, fresh: StandardConnection) -> Difference | None:
    """What a segment is said to hold decides whether a question looks at it, and so has to be right as well."""
    for one, other in zip_longest(kept.each(_ZONES), fresh.each(_ZONES)):
        place, segment, *zone = other or one
        name = NAMES[place]
        if one != other:
            return Difference(segment * SIZE, f"its column {name} has other values")
        if zone[-1] and (data := read_data(kept, name, segment)) != (right := read_data(fresh, name, segment)):
            return Difference(_first(segment, Zone(*zone), data, right), f"its column {name} has other values")
    return None


def _first(segment: int, zone: Zone, data: bytes, right: bytes) -> int:
    """The first record of which they are."""
    if len(data) != len(right):
        return segment * SIZE
    return segment * SIZE + int(np.flatnonzero(unpack(zone, data) != unpack(zone, right))[0])


def _unreadable(error: Exception) -> Difference:
    return Difference(0, f"it cannot be read ({error})")


def _check_room(folder: Path, records: int) -> None:
    """By what is to be made and not by the file, which whoever changed it can make as long as they like."""
    free, wanted = shutil.disk_usage(folder).free, records * A_RECORD + ROOM
    if free < wanted:
        raise AuditError(f"{folder.parent} has {free:,} bytes free, and {wanted:,} are needed to make another one.", DISK_FULL)
