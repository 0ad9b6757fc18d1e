"""Certificates from the verifiable index: everything about a decision, a person or an intent's days, and nothing left out, without the
leaves of all others.

For each section of the index the file has the record that signed it, and of its sorted entries those that are asked for with both
neighbours. What no section covers yet follows as a run of leaves, as in the other certificates; not for a person, about whom a leaf says
nothing.

    header       schema, checkpoint, kind, words (of each key that is asked for), filters, sections (how many), end, boundary (of the run)
    a section    record, leaf, inclusion, runs (one for each key: first, before, records, after, boundary); then for each of their records
    a match      leaf, inclusion; `opened` where the person is shown
    a leaf       of the records from the last section's end up to `end`

Lines of JSON; hashes and entries in hex, from the leaf upwards or from left to right. A leaf of the run is a line of its own.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import Any

import orjson

from router.audit.checking.certificate import TIMES, Checked, Match, are_filters, certifiable, matches, run_of_leaves, set_filters
from router.audit.checking.legible import legible
from router.audit.lookups.chain import Signed, covered, signed
from router.audit.lookups.entries import KEY, day_of, entry, key_of, record_of
from router.audit.lookups.section import Run
from router.audit.lookups.upkeep import Sections
from router.audit.questions.query import Query
from router.audit.questions.reader import KeyLookup, Stored
from router.audit.records.record import open_personal
from router.audit.records.sealing import salt
from router.audit.records.table import Row, flat
from router.audit.tree.checkpoint import Checkpoint, NoteVerifier, note_checkpoint
from router.audit.tree.merkle import leaf_hash, verify_inclusion
from router.audit.tree.proof import prove_inclusion, subtrees
from router.audit.tree.ranges import WRONG, boundary_hashes, root_of_run
from router.errors import AuditError
from router.ports import Entry

SCHEMA = "lockgate.lookup.v1"
MISSING = "sections_missing"
MIDNIGHT = "T00:00:00.000000000Z"
MOST_DAYS = 31
SUBJECT = "subject"
INDEX_SIGNED = "That the index names every such record was signed when it was made, and is what a verification of the whole ledger checks."


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked up, `words` for each key of this `kind`, and the filters that matches have to meet besides."""

    kind: str
    words: list[list[str]]
    filters: Mapping[str, Any]

    @property
    def keys(self) -> list[bytes]:
        return [key_of(self.kind, *words) for words in self.words]


def sought(query: Query) -> Sought | None:
    """None where a query names neither a decision, a person, nor an intent and whole days (UTC) of at most a month."""
    filters = set_filters(query)
    if query.decision_id is not None:
        return Sought("decision", [[filters.pop("decision_id")]], filters)
    if query.key_id is not None:
        return Sought(SUBJECT, [[filters.pop("key_id")]], filters)
    days = _days(query.since, query.until) if query.intent is not None else []
    if not days:
        return None
    return Sought(
        "intent_day",
        [[query.intent or "", day] for day in days],
        {name: filters[name] for name in filters if name not in ("intent", *TIMES)},
    )


def _days(since: str | None, until: str | None) -> list[str]:
    if since is None or until is None or not (since.endswith(MIDNIGHT) and until.endswith(MIDNIGHT)):
        return []
    first, end = (date.fromisoformat(text.removesuffix(MIDNIGHT)) for text in (since, until))
    return [str(first + timedelta(number)) for number in range((end - first).days)] if (end - first).days <= MOST_DAYS else []


def certify_lookup(sections: Sections, asked: Sought, keys: KeyLookup | None = None) -> Iterator[bytes]:
    """The file's lines; with `keys` it is shown whom matches are about. Raises AuditError: `certificate_impossible`, `checkpoint_missing`,
    `sections_missing`, `section_differs`."""
    certifiable(asked.filters)
    note = sections.reader.latest_checkpoint()
    if note is None:
        raise AuditError("No checkpoint has been signed yet.", "checkpoint_missing")
    size = note_checkpoint(note).size
    chain = sections.chain(below=size)
    if asked.kind == SUBJECT and not chain:
        raise AuditError("No section of the index is under a checkpoint yet; `lockgate audit sign-index` makes one.", MISSING)
    yield from _Writing(sections, asked, keys, size).lines(note, chain)


class _Writing:
    def __init__(self, sections: Sections, asked: Sought, keys: KeyLookup | None, size: int) -> None:
        self._sections, self._reader = sections, sections.reader
        self._asked, self._keys, self._size = asked, keys, size

    def lines(self, note: str, chain: Sequence[Signed]) -> Iterator[bytes]:
        start = covered(chain)
        end = start if self._asked.kind == SUBJECT else self._size
        boundary = [] if end == start else boundary_hashes(start, end, self._size, subtrees(self._reader))
        header = {"schema": SCHEMA, "checkpoint": note, **asdict(self._asked), "sections": len(chain), "end": end}
        yield _line({**header, "boundary": [hashed.hex() for hashed in boundary]})
        for section in chain:
            yield from self._section(section)
        for stored in self._reader.records(start, end):
            yield stored.leaf + b"\n"

    def _section(self, section: Signed) -> Iterator[bytes]:
        runs = self._runs(section)
        found = [record_of(one) for run, key in zip(runs, self._asked.keys, strict=True) for one in run.entries if one[:KEY] == key]
        shown = [_shown(run, key) for run, key in zip(runs, self._asked.keys, strict=True)]
        yield _line({"record": section.record, **self._proven(self._stored(section.record)), "runs": shown})
        for record in found:
            yield _line(self._match(self._stored(record)))

    def _runs(self, section: Signed) -> list[Run]:
        """A file that was damaged since it was made is made again."""
        for opened in (self._sections.opened, self._sections.made_again):
            with closing(opened(section)) as file:
                runs = [file.trees[self._asked.kind].run(key) for key in self._asked.keys]
            if all(_root(run, section.trees[self._asked.kind].count) == section.trees[self._asked.kind].root for run in runs):
                break
        return runs

    def _match(self, stored: Stored) -> dict[str, Any]:
        told = self._proven(stored)
        key = self._keys(stored.key_id) if self._keys is not None and stored.key_id and stored.sealed else None
        if key is None:
            return told
        subject = open_personal(Entry(stored.leaf, stored.sealed, stored.key_id), key).get(SUBJECT)
        if subject is None:
            return told
        return {**told, "opened": {"subject": subject, "salt": salt(key, orjson.loads(stored.leaf)["id"], SUBJECT).hex()}}

    def _proven(self, stored: Stored) -> dict[str, Any]:
        inclusion = prove_inclusion(self._reader, stored.index, self._size)
        return {"leaf": stored.leaf.decode("utf-8", "replace"), "inclusion": [step.hex() for step in inclusion]}

    def _stored(self, record: int) -> Stored:
        found = next(self._reader.records(record, record + 1), None)
        if found is None:
            raise AuditError(f"Record {record} is missing from the ledger; run a verification.", "audit_record_missing")
        return found


def _shown(run: Run, key: bytes) -> dict[str, Any]:
    found = [one for one in run.entries if one[:KEY] == key]
    before = run.entries[0].hex() if run.entries and run.entries[0][:KEY] < key else None
    after = run.entries[-1].hex() if run.entries and run.entries[-1][:KEY] > key else None
    records = [record_of(one) for one in found]
    return {"first": run.first, "before": before, "records": records, "after": after, "boundary": [each.hex() for each in run.boundary]}


def _root(run: Run, count: int) -> bytes:
    hashes, boundary = iter([leaf_hash(one) for one in run.entries]), iter(run.boundary)
    root = root_of_run(run.first, run.first + len(run.entries), count, boundary, hashes)
    return root if next(boundary, None) is None else b""


def check_lookup(lines: Iterable[bytes], key: str, outside: str | None = None) -> tuple[Checked, Iterator[Match]]:
    """(what is checked, the matches, by record), as `check_certificate`. Raises AuditError."""
    source = iter(lines)
    told = _header(next(source, b""))
    verifier = NoteVerifier(key)
    checkpoint = verifier.open_checkpoint(told["checkpoint"])
    if outside is not None and verifier.open_checkpoint(outside) != checkpoint:
        raise AuditError(f"The certificate is for {checkpoint.size} records, and not for the checkpoint that was given.", WRONG)
    asked = Sought(told["kind"], told["words"], told["filters"])
    shown = {"intent_day": "intent and days"}.get(asked.kind, asked.kind)
    described = {shown: "; ".join(" ".join(words) for words in asked.words), **asked.filters}
    checked = Checked(checkpoint, 0, told["end"], described, [])
    return checked, _Checking(checked, asked, told).matches(source)


class _Checking:
    def __init__(self, checked: Checked, asked: Sought, told: Mapping[str, Any]) -> None:
        self._checked, self._asked, self._told = checked, asked, told
        self._tree: Checkpoint = checked.checkpoint
        self._people = set[str | None]()

    def matches(self, lines: Iterator[bytes]) -> Iterator[Match]:
        place, found = 0, list[Match]()
        try:
            for _ in range(self._told["sections"]):
                place = self._section(lines, place, found)
            self._rest(lines, place, found)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise AuditError("The certificate has a line of another form than such lines have.", WRONG) from error
        found = sorted((match for match in found if self._wanted(match)), key=lambda match: match[0])
        self._checked.matches = len(found)
        self._checked.words += self._words(place)
        yield from found

    def _section(self, lines: Iterator[bytes], place: int, found: list[Match]) -> int:
        told = orjson.loads(_next(lines))
        section = signed(told["record"], self._included(told["record"], told)[0])
        if section is None or section.start != place:
            raise AuditError(f"No record that signs an index of the records from {place} on is in the certificate.", WRONG)
        tree = section.trees[self._asked.kind]
        if len(told["runs"]) != len(self._asked.words):
            raise AuditError("The certificate does not answer for everything that was asked.", WRONG)
        for words, key, run in zip(self._asked.words, self._asked.keys, told["runs"], strict=True):
            records = run["records"]
            if _root(_run(run, key, tree.count), tree.count) != tree.root or not all(
                section.start <= each < section.end for each in records
            ):
                raise AuditError(f"The index of records {section.start} to {section.end - 1} is not the one that was signed.", WRONG)
            found += [self._match(record, words, orjson.loads(_next(lines))) for record in records]
        return section.end

    def _match(self, record: int, words: Sequence[str], told: Mapping[str, Any]) -> Match:
        leaf, row = self._included(record, told)
        if self._asked.kind != SUBJECT and not _says(leaf, row, self._asked.kind, words):
            raise AuditError(f"Record {record} is in the index for what it does not say.", WRONG)
        if self._asked.kind == SUBJECT:
            self._people.add(_person(record, leaf, told.get("opened")))
        return record, leaf

    def _rest(self, lines: Iterator[bytes], place: int, found: list[Match]) -> None:
        end, size = self._told["end"], self._tree.size
        if not place <= end <= size or (self._asked.kind != SUBJECT and end != size) or (self._asked.kind == SUBJECT and end != place):
            raise AuditError("The certificate does not go up to the end of its checkpoint's records.", WRONG)
        if end > place:
            boundary = [bytes.fromhex(text) for text in self._told["boundary"]]
            found += run_of_leaves(lines, place, end, self._tree, boundary, self._is_said)
        if next(lines, None) is not None:
            raise AuditError("The certificate has more lines than it says.", WRONG)

    def _is_said(self, leaf: Mapping[str, Any], row: Row) -> bool:
        return any(_says(leaf, row, self._asked.kind, words) for words in self._asked.words)

    def _included(self, record: int, told: Mapping[str, Any]) -> tuple[Mapping[str, Any], Row]:
        raw = told["leaf"].encode()
        inclusion = [bytes.fromhex(text) for text in told["inclusion"]]
        if not verify_inclusion(leaf_hash(raw), record, self._tree.size, inclusion, self._tree.root):
            raise AuditError(f"Record {record} of the certificate is not in the tree that its checkpoint was signed for.", WRONG)
        return legible(record, raw)

    def _wanted(self, match: Match) -> bool:
        return matches(self._asked.filters, flat(*match, "", b""))

    def _words(self, place: int) -> list[str]:
        said = [INDEX_SIGNED] if place else []
        if self._asked.kind == SUBJECT:
            people = sorted(person for person in self._people if person is not None)
            which = f"that key stands for {', '.join(people)}" if people else "whom that key stands for"
            shown = "" if not people else f" Records that show a person show {', '.join(people)}."
            said.append(f"That a person has no other key, and {which}, is this server's word.{shown}")
            if place < self._tree.size:
                said.append(f"Records from {place} on are in no section of the index yet.")
        return said


def _run(told: Mapping[str, Any], key: bytes, count: int) -> Run:
    """Raises ValueError where it does not show that there are no more entries of this key."""
    first, records = told["first"], told["records"]
    before, after = (None if told[name] is None else bytes.fromhex(told[name]) for name in ("before", "after"))
    entries = [*([before] if before else []), *(entry(key, record) for record in records), *([after] if after else [])]
    ascending = all(left < right for left, right in pairwise(entries))
    begins = first == 0 if before is None else before[:KEY] < key
    ends = first + len(entries) == count if after is None else after[:KEY] > key
    if type(first) is not int or first < 0 or first + len(entries) > count or not (ascending and begins and ends):
        raise ValueError("not a whole run")
    return Run(first, entries, [bytes.fromhex(text) for text in told["boundary"]])


def _says(leaf: Mapping[str, Any], row: Row, kind: str, words: Sequence[str]) -> bool:
    if kind == "decision":
        return [leaf.get("id")] == list(words)
    return row["kind"] == "decision" and [row.get("intent"), day_of(leaf)] == list(words)


def _person(record: int, leaf: Mapping[str, Any], opened: Mapping[str, str] | None) -> str | None:
    if opened is None:
        return None
    committed = sha256(bytes.fromhex(opened["salt"]) + opened["subject"].encode()).hexdigest()
    if not hmac.compare_digest(committed, leaf["commitments"][SUBJECT]):
        raise AuditError(f"Record {record} is not about the person that the certificate shows.", WRONG)
    return opened["subject"]


def _header(line: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(line)
        sound = told["schema"] == SCHEMA and told["kind"] in ("decision", SUBJECT, "intent_day") and isinstance(told["checkpoint"], str)
        counts = all(type(told[name]) is int and told[name] >= 0 for name in ("sections", "end"))
        words = told["words"] and all(isinstance(word, str) for each in told["words"] for word in each)
        sound = bool(sound and counts and words and are_filters(told["filters"]) and isinstance(told["boundary"], list))
    except (LookupError, TypeError, ValueError):
        sound = False
    if not sound:
        raise AuditError("This is no certificate: its first line is not a certificate's header.", WRONG)
    return dict(told)


def _next(lines: Iterator[bytes]) -> bytes:
    found = next(lines, None)
    if found is None:
        raise AuditError("The certificate ends before its records do.", WRONG)
    return found


def _line(told: Mapping[str, Any]) -> bytes:
    return orjson.dumps(told) + b"\n"
