"""The sections of one ledger: those that its records tell of, their files, and the one that is to be signed next. Everything blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from router.audit.lookups.chain import EVENT, Signed, chain, details, signed, to_begin, to_join
from router.audit.lookups.entries import Breathe, Lists, joined, lists_of, summary
from router.audit.lookups.section import Section, write_section
from router.audit.questions.index import catch_up
from router.audit.questions.reader import IndexStore, LedgerReader
from router.audit.records.record import SYSTEM
from router.errors import AuditError

DIFFERS = "section_differs"


@dataclass(slots=True)
class Sections:
    """Over the files that the ledger's owner writes, and a folder of its own, which may be deleted at any time."""

    reader: LedgerReader
    index: IndexStore
    folder: Path
    breathe: Breathe = lambda: None
    _known: list[Signed] = field(default_factory=list)
    _read: int = 0
    _since: list[Signed] = field(default_factory=list)

    def chain(self, below: int | None = None) -> list[Signed]:
        """Of the sections that records with an index under `below` tell of; of all where none is given."""
        complete = catch_up(self.reader, self.index, self.breathe)
        if complete < self._read:  # another ledger, or an old copy
            self._known, self._read = [], 0
        self._known += self._told(self.index.events((EVENT,), self._read))
        self._read = complete
        self._since.clear()
        return chain(section for section in self._known if below is None or section.record < below)

    def told(self, record: int, details: Mapping[str, Any]) -> None:
        """That this record signs what was `next`. What follows is then found without the index, which costs as much to catch up with the
        few records that came meanwhile as with a thousand."""
        section = signed(record, {"schema": SYSTEM, "event": EVENT, "details": details})
        self._since += [] if section is None else [section]

    def opened(self, section: Signed) -> Section:
        """Made again from the ledger where it is not on disk."""
        with suppress(FileNotFoundError, AuditError, ValueError):  # ValueError: empty
            found = Section(self._path(section.start, section.end))
            if {kind: len(tree) for kind, tree in found.trees.items()} == {kind: tree.count for kind, tree in section.trees.items()}:
                return found
            found.close()
        return self.made_again(section)

    def made_again(self, section: Signed) -> Section:
        """From the ledger. Raises AuditError `section_differs` where its records are not those that the signed section was made of."""
        path = self._path(section.start, section.end)
        lists = self._lists(section.start, section.end)
        trees = {kind: summary(entries, self.breathe) for kind, entries in lists.items()}
        for kind, tree in trees.items():
            if (tree.count, tree.root) != (section.trees[kind].count, section.trees[kind].root):
                words = f"The index of records {section.start} to {section.end - 1} that record {section.record} signed is not theirs."
                raise AuditError(words, DIFFERS)
        write_section(path, lists, trees)
        return Section(path)

    def next(self, records: int, *, now: bool = False) -> dict[str, Any] | None:
        """Details of the record that signs the next section, whose file is there; None where none is due (see `chain`)."""
        since, self._since = self._since, []
        if since and (found := self._next(chain((*self._known, *since)), records, now=now)) is not None:
            self._since = since
            return found
        sections = self.chain()
        found = self._next(sections, records, now=now)
        if found is None:
            self._sweep(sections)
        return found

    def _next(self, sections: Sequence[Signed], records: int, *, now: bool) -> dict[str, Any] | None:
        if children := to_join(sections):
            return self._made(children[0].start, children[-1].end, children[0].level + 1, joined(self._each(children)))
        begun = to_begin(sections, self.reader.size(), records, now=now)
        if begun is None:
            return None
        start, end, level = begun
        return self._made(start, end, level, self._lists(start, end))

    def _made(self, start: int, end: int, level: int, lists: Lists) -> dict[str, Any]:
        trees = {kind: summary(entries, self.breathe) for kind, entries in lists.items()}
        write_section(self._path(start, end), lists, trees)
        return details(start, end, level, trees)

    def _each(self, children: Sequence[Signed]) -> Iterator[Lists]:
        for child in children:
            with closing(self.opened(child)) as section:
                yield section.lists()
            self.breathe()

    def _lists(self, start: int, end: int) -> Mapping[str, list[bytes]]:
        count = 0

        def records() -> Iterator[Any]:
            nonlocal count
            for stored in self.reader.records(start, end):
                count += 1
                yield stored

        lists = lists_of(records(), self.breathe)
        if count != end - start:
            raise AuditError(f"Records are missing between {start} and {end - 1}; run a verification.", "audit_record_missing")
        return lists

    def _told(self, records: Sequence[int]) -> Iterator[Signed]:
        for record in records:
            for stored in self.reader.records(record, record + 1):
                if (found := signed(record, orjson.loads(stored.leaf))) is not None:
                    yield found

    def _sweep(self, sections: Sequence[Signed]) -> None:
        """Files of sections that were joined are of no more use."""
        wanted = {self._path(section.start, section.end).name for section in sections}
        for path in self.folder.glob("*-*") if self.folder.is_dir() else ():
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def _path(self, start: int, end: int) -> Path:
        return self.folder / f"{start}-{end}"
