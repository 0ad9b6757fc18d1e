"""Which key had to sign which checkpoint. A key that somebody trusts leads to all others by the ledger's own records of hand-overs.

1. A `key_rotated` record counts once a checkpoint that ends with it is signed by the new key and, unless the old one was lost, by the old.
   Of a lost one the checkpoint before must be.
2. The old key is in force up to that checkpoint, the new one from it on. A checkpoint by another key than the one in force is a fault.
3. A trusted key leads to its successor where it vouched for it, and to its predecessor, for it has signed the record that names it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from router.audit.records.record import SYSTEM
from router.audit.tree.checkpoint import Checkpoint, NoteVerifier, note_checkpoint, split_note
from router.errors import AuditError

_EVENT = "key_rotated"
NOT_IN_FORCE = "key_not_in_force"
NOT_VOUCHED = "key_not_vouched"


@dataclass(frozen=True, slots=True)
class Rotation:
    """`old` and `new` are verifier lines; `old` may be no more than `name+keyid` where it was lost."""

    index: int
    old: str
    new: str
    vouched: bool


def rotation(index: int, leaf: dict[str, Any]) -> Rotation | None:
    """A record's rotation, if that is what it is."""
    details = leaf.get("details")
    if leaf.get("schema") != SYSTEM or leaf.get("event") != _EVENT or not isinstance(details, dict):
        return None
    return Rotation(index, str(details.get("old", "")), str(details.get("new", "")), details.get("vouched") is True)


@dataclass(frozen=True, slots=True)
class Term:
    """A key's time in force: it signs checkpoints of more than `after` and at most `until` records. `key` is None where no more is known
    than its id. `followed` says whether the trusted keys lead to it."""

    line: str
    key: NoteVerifier | None
    after: int
    until: int | None
    followed: bool

    @property
    def name(self) -> str:
        return _short(self.line)


class Succession:
    def __init__(self, trusted: Sequence[str], rotations: Iterable[Rotation], notes: Iterable[str]) -> None:
        """`notes` are all checkpoints at hand. Raises AuditError for a trusted key that is none."""
        self._trusted = [NoteVerifier(line) for line in trusted]
        self._all = sorted(rotations, key=lambda one: one.index)
        self.done = list(_carried_out(self._all, notes))
        self.terms = self._terms([line.strip() for line in trusted])

    def check(self, note: str) -> Checkpoint:
        """What the note says, once it is signed as it has to be. Raises AuditError."""
        if not self.terms:
            return self._by_a_trusted(note)
        size = note_checkpoint(note).size
        term = next(term for term in reversed(self.terms) if term.after < size or not term.after)
        if term.key is None:  # its successor's checkpoints cover all that it signed
            return note_checkpoint(note)
        if not term.followed:
            raise AuditError(
                f"A checkpoint of {size} records is by {term.name}, for which no trusted key vouches: give its public key, too.",
                NOT_VOUCHED,
            )
        try:
            return term.key.open_checkpoint(note)
        except AuditError:
            self._refuse_another(note, size, term)
            raise

    def _by_a_trusted(self, note: str) -> Checkpoint:
        for key in self._trusted[:-1]:
            if _opens(key, note):
                return key.open_checkpoint(note)
        try:
            return self._trusted[-1].open_checkpoint(note)
        except AuditError:
            for line, index in {one.new: one.index for one in self._all}.items():
                if _opens(_verifier(line), note):
                    said = f"A checkpoint is signed by {_short(line)}, which record {index} names, but no checkpoint hands over to it."
                    raise AuditError(said, NOT_IN_FORCE) from None
            raise

    def _refuse_another(self, note: str, size: int, due: Term) -> None:
        for term in self.terms:
            if term is not due and _opens(term.key, note):
                retired = term.until is not None and term.until < size
                when = f"which had handed over after {term.until} records" if retired else "which was not in force yet"
                raise AuditError(f"A checkpoint of {size} records is signed by {term.name}, {when}; {due.name} was in force.", NOT_IN_FORCE)

    def _terms(self, trusted: list[str]) -> list[Term]:
        """None when there was no rotation, or none of the trusted keys has to do with the ledger."""
        if not self.done:
            return []
        known = {_short(line): line for line in trusted}
        first = self.done[0].old
        lines = [known.get(first, first), *(one.new for one in self.done)]  # of a lost key no more than its id may stand there
        ends = [one.index + 1 for one in self.done]
        followed = [line in trusted for line in lines]
        if not any(followed):
            return []
        for place, one in enumerate(self.done):
            followed[place + 1] = followed[place + 1] or (followed[place] and one.vouched)
        for place in reversed(range(len(self.done))):
            followed[place] = followed[place] or followed[place + 1]
        # The checkpoint that hands over is the new key's first; that the old one signed it as well was seen before.
        bounds = [0, *(end - 1 for end in ends)]
        untils: list[int | None] = [*(end - 1 for end in ends), None]
        return [
            Term(line, _verifier(line), after, until, led_to)
            for line, after, until, led_to in zip(lines, bounds, untils, followed, strict=True)
        ]


def _carried_out(rotations: Iterable[Rotation], notes: Iterable[str]) -> Iterator[Rotation]:
    """Each takes up where the last one that took effect ended: nobody else's key can hand over."""
    by_size: dict[int, list[str]] = {}
    for note in notes:
        by_size.setdefault(note_checkpoint(note).size, []).append(note)
    sizes = sorted(by_size)
    last: Rotation | None = None
    for one in rotations:
        fits = last is None or last.new == one.old or (not one.vouched and one.old == _short(last.new))
        place = bisect_right(sizes, one.index)
        before = by_size[sizes[place - 1]] if place else []
        if fits and _handed_over(one, before, by_size.get(one.index + 1, [])):
            last = one
            yield one


def _handed_over(one: Rotation, before: list[str], handing: list[str]) -> bool:
    """Who may append records, and no more, could write such a record just before a checkpoint. So a key that was lost must have signed the
    checkpoint before, and the key in force cannot follow itself."""
    new, old = _verifier(one.new), _verifier(one.old)
    if any(_opens(new, note) for note in before):
        return False
    if one.vouched:
        return any(_opens(new, note) and _opens(old, note) for note in handing)
    signed = any(_opens(old, note) if old is not None else _signs(one.old, note) for note in before)
    return signed and any(_opens(new, note) for note in handing)


def _verifier(line: str) -> NoteVerifier | None:
    try:
        return NoteVerifier(line)
    except AuditError:
        return None


def _opens(key: NoteVerifier | None, note: str) -> bool:
    if key is None:
        return False
    try:
        key.open_checkpoint(note)
    except AuditError:
        return False
    return True


def _signs(short: str, note: str) -> bool:
    """Whether a line of the note claims to be by the key, of which no more is known than its name and id."""
    return any(f"{name}+{signature[:4].hex()}" == short for name, signature in split_note(note)[1])


def _short(line: str) -> str:
    """A key's name and id, which is how a note names it."""
    return "+".join(line.split("+")[:2])
