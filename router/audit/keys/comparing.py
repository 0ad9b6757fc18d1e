"""Up to where a store of subjects' keys was held against a ledger, which the store itself keeps.

An old copy of the keys has the mark of its time. So the mark tells an old copy from the store that it replaced, and a store that saw more
of a ledger than there is: then the ledger is the old copy, and what it says of erasures is not all that was said.
"""

from __future__ import annotations

from dataclasses import dataclass

from router.audit.questions.reader import LedgerReader
from router.errors import AuditError


@dataclass(frozen=True, slots=True)
class Compared:
    """Every key whose destruction the first `size` records of the ledger `origin` tell of was looked for, and is not in the store; no
    erasure that they order is unfinished. `leaf` is the hash of the last of them (32 bytes; none where there are no records)."""

    origin: str
    size: int
    leaf: bytes


def compared_now(reader: LedgerReader) -> Compared:
    """The mark for all records that are there."""
    return compared_at(reader, reader.size())


def compared_at(reader: LedgerReader, size: int) -> Compared:
    """The mark for the first `size` records, which are there."""
    return Compared(reader.origin(), size, _last(reader, size))


def refuse_older(mark: Compared | None, reader: LedgerReader) -> None:
    """Nothing may be recorded or signed in a ledger of which the keys have seen more, or something else, under the same name. Raises
    AuditError `audit_rolled_back`."""
    if mark is not None and mark.origin == reader.origin() and not is_of(mark, reader):
        size = reader.size()
        raise AuditError(
            f"The subjects' keys were held against {mark.size} records of {mark.origin}, and the ledger has {size}, or others: it is older "
            "than the keys, and lacks what was erased since. Begin a new one after it (`lockgate audit recover`).",
            "audit_rolled_back",
        )


def is_of(mark: Compared, reader: LedgerReader) -> bool:
    """Whether the ledger has the records that the mark is over."""
    return mark.origin == reader.origin() and mark.size <= reader.size() and _last(reader, mark.size) == mark.leaf


def _last(reader: LedgerReader, size: int) -> bytes:
    return b"".join(reader.nodes(0, size - 1, size)) if size else b""
