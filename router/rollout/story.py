"""What becomes of rollouts, kept: each move in its file and in the ledger, whichever of the two takes it first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from router.decision import Subject
from router.errors import RefusedError, StateError
from router.ports import Clock, Entry, Ids, SubjectKeys
from router.rollout import records
from router.rollout.records import Person
from router.rollout.state import OPEN, Event, Rollout
from router.rollout.store import RolloutFiles

Told = Mapping[str, Any]
Acting = Callable[[Subject], Sequence[str]]  # who acts for a subject


class Ledger(Protocol):
    async def append(self, entry: Entry) -> int: ...

    async def ping(self) -> None: ...


class Keys(SubjectKeys, Protocol):
    async def key(self, key_id: str) -> bytes | None:
        """None once it was destroyed. Raises AuditError."""


class Story:
    """`behind`: moves may be missing in the ledger."""

    def __init__(self, files: RolloutFiles, ledger: Ledger, keys: Keys, clock: Clock, ids: Ids, acting: Acting) -> None:
        self._acting = acting
        self._files = files
        self._ledger = ledger
        self._keys = keys
        self._clock = clock
        self._ids = ids
        self._unkept: Rollout | None = None  # has ended, and its file does not say so yet
        self._half: Rollout | None = None  # its last move is in the ledger, and may not have had its effect
        self.behind = True

    async def ping(self) -> None:
        """Raises AuditError when a record could not be written now."""
        await self._ledger.ping()

    async def append(self, entry: Entry) -> None:
        """Raises AuditError."""
        await self._ledger.append(entry)

    def now_ns(self) -> int:
        return self._clock.now_ns()

    def new_id(self) -> str:
        return self._ids.new()

    def all(self) -> Iterator[Rollout]:
        """Newest first. Raises StateError."""
        return self._files.all()

    async def catch_up(self) -> None:
        """With what could not be kept or recorded at once. Raises AuditError, StateError."""
        if self._unkept is not None:
            self.keep(self._unkept)
        await self.record_missing()

    def keep(self, ended: Rollout) -> None:
        """Durable when it returns. Raises StateError; it is tried again by `catch_up`."""
        self._unkept = ended
        self._files.put(ended)
        self._unkept = None

    async def moved(
        self, rollout: Rollout, event: Event, step: int, told: Told | None = None, by: Person | None = None, comment: str = ""
    ) -> Rollout:
        """In the ledger, and durable: whatever follows may have its effect. Raises AuditError, StateError: nothing has moved then, even
        where the ledger has the record."""
        moved = await self.appended(rollout, event, step, told or {}, by, comment)
        try:
            self._files.put(moved)
        except StateError:
            if self._files.get(moved.id) != moved:  # else it has moved, and who stops half-way leaves it stuck
                raise
        return moved

    async def appended(self, rollout: Rollout, event: Event, step: int, told: Told, by: Person | None, comment: str) -> Rollout:
        """With that move, which the ledger has. One that Lockgate tries again each second is not recorded each second."""
        half, number = self._half, len(rollout.history) + 1
        if by is None and half is not None and (half.id, len(half.history), half.history[-1].event) == (rollout.id, number, event):
            return half
        change = records.change(rollout, event, self._clock.now_ns(), step, told, by, comment)
        await self._ledger.append(change.entry)
        self._half = rollout.with_change(change).all_recorded()
        return self._half

    async def record_missing(self) -> None:
        if self.behind:
            for rollout in self._files.newest(2):
                await self.record(rollout)
            self.behind = self._unkept is not None

    async def record(self, rollout: Rollout) -> Rollout:
        """A crash, or an AuditError that hides a success, before the mark: the same bytes are appended once more."""
        missing = [each for each in rollout.history if not each.recorded]
        if not missing:
            return rollout
        for each in missing:
            await self._ledger.append(each.entry)
        recorded = rollout.all_recorded()
        self.keep(recorded)
        return recorded

    async def person(self, subject: Subject) -> Person:
        key_id, key = await self._keys.key_for(subject.id)
        acting = [(await self._keys.key_for(name))[0] for name in self._acting(subject)]
        return Person(subject.id, key_id, key, tuple(sorted({*acting} - {key_id})))

    async def author_is_there(self, rollout: Rollout) -> None:
        """Who was erased comes again under another key, and would seem to be somebody else."""
        if None in [await self._keys.key(each) for each in (rollout.author, *rollout.author_acting)]:
            raise RefusedError("Who proposed it was erased, so nobody can tell who else that is not.", "rollout_author_erased", 409)

    def open(self) -> Rollout | None:
        return next((each for each in self._files.all() if each.state in OPEN), None)

    def found(self, rollout_id: str) -> Rollout:
        """Raises RefusedError, StateError."""
        unkept = self._unkept
        rollout = unkept if unkept is not None and unkept.id == rollout_id else self._files.get(rollout_id)
        if rollout is None:
            raise RefusedError("There is no such rollout.", "rollout_not_found", 404)
        return rollout
