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
from router.audit.questions.reader import IndexStore, LedgerReader, Stored
from router.errors import AuditError

DIFFERS = "section_differs"
_NAMED = EVENT.encode()


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
    _seen: int = 0

    def chain(self, below: int | None = None) -> list[Signed]:
        """Of the sections that records with an index under `below` tell of; of all where none is given."""
        complete = catch_up(self.reader, self.index, self.breathe)
        if complete < self._read:  # another ledger, or an old copy
            self._known, self._read = [], 0
        self._known += self._told(self.index.events((EVENT,), self._read))
        self._read = self._seen = complete
        self._since.clear()
        return chain(section for section in self._known if below is None or section.record < below)

    def _chain_again(self) -> list[Signed]:
        """As `chain`, by looking through what came since: putting few records into the index costs as much as a thousand."""
        size = self.reader.size()
        for stored in self.reader.records(self._seen, size):
            if _NAMED in stored.leaf and (found := _signed(stored)) is not None:
                self._since.append(found)
        self._seen = size
        return chain((*self._known, *self._since))

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

    def next(self, records: int, *, now: bool = False, again: bool = False) -> dict[str, Any] | None:
        """Details of the record that signs the next section, whose file is there; None where none is due (see `chain`). `again`: right
        after another one, whose record is in the ledger by now."""
        sections = self._chain_again() if again else self.chain()
        if children := to_join(sections):
            return self._made(children[0].start, children[-1].end, children[0].level + 1, joined(self._each(children)))
        begun = to_begin(sections, self.reader.size(), records, now=now)
        if begun is None:
            self._sweep(sections)
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
                if (found := _signed(stored)) is not None:
                    yield found

    def _sweep(self, sections: Sequence[Signed]) -> None:
        """Files of sections that were joined are of no more use."""
        wanted = {self._path(section.start, section.end).name for section in sections}
        for path in self.folder.glob("*-*") if self.folder.is_dir() else ():
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def _path(self, start: int, end: int) -> Path:
        return self.folder / f"{start}-{end}"


def _signed(stored: Stored) -> Signed | None:
    try:
        return signed(stored.index, orjson.loads(stored.leaf))
    except (orjson.JSONDecodeError, AttributeError):  # damaged, which is for a verification to tell
        return None
