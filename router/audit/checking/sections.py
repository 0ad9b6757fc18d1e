"""The signed index held against the records that it is of: made again from them, section by section, those that were joined included."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import closing

from router.audit.checking.chunk import Fault, OpenReader
from router.audit.lookups.chain import Signed
from router.audit.lookups.entries import KINDS, entries_of, summary
from router.audit.questions.reader import LedgerReader


def together(sections: Iterable[Signed]) -> list[list[Signed]]:
    """In lists that one reading of the records serves: a section, and those that lie within it."""
    found = list[list[Signed]]()
    for section in sorted(sections, key=lambda each: (each.start, -each.end)):
        if found and section.end <= found[-1][0].end:
            found[-1].append(section)
        else:
            found.append([section])
    return found


def check_sections(open_reader: OpenReader, sections: Sequence[Signed]) -> list[Fault]:
    """The first has all others within it."""
    with closing(open_reader()) as reader:
        made = _Made(reader, sections[0])
    return [
        Fault(
            section.record,
            "index_wrong",
            f"Record {section.record} signs an index of records {section.start} to {section.end - 1} that is not theirs.",
        )
        for section in sections
        if not made.agrees(section)
    ]


class _Made:
    """Entries in the order of their records."""

    def __init__(self, reader: LedgerReader, whole: Signed) -> None:
        self._entries: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
        self._records = {kind: array("Q") for kind in KINDS}
        for stored in reader.records(whole.start, whole.end):
            for kind, entry in entries_of(stored):
                self._entries[kind].append(entry)
                self._records[kind].append(stored.index)

    def agrees(self, section: Signed) -> bool:
        return all(self._agrees(section, kind) for kind in KINDS)

    def _agrees(self, section: Signed, kind: str) -> bool:
        first, end = (bisect_left(self._records[kind], record) for record in (section.start, section.end))
        made, told = summary(sorted(self._entries[kind][first:end])), section.trees[kind]
        return (made.count, made.root) == (told.count, told.root)
