"""Whether it can be told of a leaf what it is a record of: by everybody the same, and by what a record of its schema says.

An answer that is to be whole may not pass over a leaf of which that cannot be told, for nobody can say that it does not belong to it. No
ledger of ours has one. Leaves are written in canonical form, and stay as they are when somebody is erased or a personal part is pruned;
those of a later version are for the release that knows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from router.audit.records.canonical import read_canonical
from router.audit.records.record import SCHEMAS
from router.audit.records.table import COLUMNS, Row, flat
from router.audit.tree.ranges import WRONG
from router.errors import AuditError

_TEXTS = [name for name, kind in COLUMNS if kind == "text"]
_TEXT_OR_NOTHING = frozenset({str, type(None)})
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z")


def legible(record: int, raw: bytes) -> tuple[Mapping[str, Any], Row]:
    """The leaf, and its columns. Raises AuditError `certificate_wrong`."""
    leaf = read_canonical(raw)
    if leaf is None:
        raise _illegible(record, "it is not in canonical form")
    if leaf.get("schema") not in SCHEMAS:
        raise _illegible(record, "its schema is not one that this release knows")
    row = flat(record, leaf, "", b"")
    if row["kind"] == "unreadable" or not _of_their_types(row):
        raise _illegible(record, "it does not say what records of its schema say")
    return leaf, row


def _of_their_types(row: Row) -> bool:
    return _TEXT_OR_NOTHING.issuperset(map(type, map(row.get, _TEXTS))) and _TIME.fullmatch(str(row["time"])) is not None


def _illegible(record: int, why: str) -> AuditError:
    return AuditError(f"Whether record {record} belongs to the answer cannot be told: {why}.", WRONG)
