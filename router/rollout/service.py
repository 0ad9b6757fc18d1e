"""Rollouts in the control process: proposed, approved by somebody else, watched each second, and taken back by themselves.

What has an effect is recorded before it has it, with two exceptions. Taking a candidate back waits neither for a ledger that is away nor
for a disk that is full: the rounds make the move durable then, and its record follows. And that a candidate is in force is durable after
its record: a crash in between begins the last step again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from router.bundle.versions import Override, Versions
from router.config.rollouts import RolloutConfig
from router.decision import Subject
from router.errors import AuditError, LockgateError, RefusedError, StateError
from router.ports import Clock, Entry, Ids, SubjectKeys
from router.rollout import records
from router.rollout.examined import Examined
from router.rollout.figures import Figures
from router.rollout.guards import enough, tripped
from router.rollout.records import Person
from router.rollout.stage import NOBODY, Stage
from router.rollout.state import (
    OPEN,
    Event,
    Rollout,
    State,
    check_advance,
    check_approval,
    check_rejection,
    check_stop,
    check_withdrawal,
    following,
)
from router.rollout.store import RolloutFiles

log = logging.getLogger("lockgate.policy")
SECOND_NS = 1_000_000_000
Told = Mapping[str, Any]


class Ledger(Protocol):
    async def append(self, entry: Entry) -> int: ...

    async def ping(self) -> None: ...


class Keys(SubjectKeys, Protocol):
    async def key(self, key_id: str) -> bytes | None:
        """None once it was destroyed. Raises AuditError."""


class Serving(Protocol):
    """What decides, in all workers."""

    async def begin(self, rollout: Rollout) -> None:
        """Every worker judges by the candidate, too, as the rollout's stage says. Raises ConfigError; nothing has changed then."""

    async def step(self, rollout_id: str, stage: Stage) -> None:
        """Returns when every worker knows it."""

    async def end(self) -> None:
        """No worker has a candidate any more. Raises ConfigError where that has to be tried again."""

    async def figures(self, rollout_id: str) -> list[Figures]:
        """What each worker counted since the last time."""

    async def put_in_force(self, override: Override) -> None:
        """Raises ConfigError; what serves goes on serving."""

    @property
    def over(self) -> tuple[str, str]:
        """Digests of the policies in force, as they are written and as verdicts bear them."""

    @property
    def sequence(self) -> int | None:
        """The highest sequence of a bundle that was ever in force."""


class RolloutService:
    """One at a time: two candidates over the same policies could not be told apart by what they flip."""

    def __init__(
        self, files: RolloutFiles, versions: Versions, ledger: Ledger, keys: Keys, serving: Serving, clock: Clock, ids: Ids
    ) -> None:
        self._files = files
        self._versions = versions
        self._ledger = ledger
        self._keys = keys
        self._serving = serving
        self._clock = clock
        self._ids = ids
        self._one_at_a_time = asyncio.Lock()
        self._cleared = True  # no worker has a candidate that it should not have
        self._told = True  # workers know the stage of the one that runs
        self._behind = True  # moves may be missing in the ledger
        self._unkept: Rollout | None = None  # has ended, and its file does not say so yet
        self._half: Rollout | None = None  # its last move is in the ledger, and may not have had its effect
        self._gone: tuple[Event, Told] | None = None  # why the one that runs cannot go on
        self._began_ns = 0
        self.seen = Figures()  # of the step that runs
        self.running: Rollout | None = None

    # People.

    async def propose(self, found: Examined, plan: RolloutConfig, by: Subject, comment: str) -> Rollout:
        """Raises RefusedError, AuditError, StateError."""
        async with self._one_at_a_time:
            await self._ledger.ping()
            await self._record_missing()
            if (other := self._open()) is not None:
                raise RefusedError(f"The rollout {other.id} is {other.state}; end it first.", "rollout_busy", 409)
            if found.policy == found.over_policy:
                raise RefusedError("These policies are in force already.", "rollout_same", 409)
            person = await self._person(by)
            rollout = Rollout(
                id=self._ids.new(),
                created_ns=self._clock.now_ns(),
                archive=self._versions.keep_archive(found.archive),
                policy=found.policy,
                config=found.config,
                revision=found.revision,
                sequence=found.sequence,
                over=found.over,
                over_policy=found.over_policy,
                plan=plan,
                author=person.key_id,
            )
            rollout = await self._moved(rollout, Event.PROPOSED, -1, by=person, comment=comment)
            self._versions.keep_archive(found.archive)  # nobody waited for it before, and it may have been cleared away meanwhile
            return rollout

    async def approve(self, rollout_id: str, by: Subject, digest: str, comment: str) -> Rollout:
        """Its first step begins. Raises RefusedError, AuditError, ConfigError, StateError."""
        async with self._one_at_a_time:
            await self._ledger.ping()
            rollout, person = self.found(rollout_id), await self._person(by)
            await self._author_is_there(rollout)
            check_approval(rollout, person.key_id, digest)
            await self._refuse_superseded(rollout)
            rollout = await self._moved(replace(rollout, approver=person.key_id), Event.APPROVED, 0, by=person, comment=comment)
            try:
                await self._serving.begin(rollout)
            except LockgateError as error:
                await self._ended(rollout, Event.ROLLED_BACK, {"reason": "candidate_refused"})
                raise RefusedError(f"The candidate cannot be used: {error}", "candidate_refused", 422) from error
            await self._refuse_superseded(rollout)  # a changed workspace may have been taken up just before
            self._begin(rollout)
            return rollout

    async def reject(self, rollout_id: str, by: Subject, comment: str) -> Rollout:
        """Raises RefusedError, AuditError, StateError."""
        async with self._one_at_a_time:
            rollout, person = self.found(rollout_id), await self._person(by)
            check_rejection(rollout, person.key_id)
            return await self._moved(rollout, Event.REJECTED, -1, by=person, comment=comment)

    async def withdraw(self, rollout_id: str, by: Subject, comment: str) -> Rollout:
        """Raises RefusedError, AuditError, StateError."""
        async with self._one_at_a_time:
            rollout, person = self.found(rollout_id), await self._person(by)
            check_withdrawal(rollout, person.key_id)
            return await self._moved(rollout, Event.WITHDRAWN, -1, by=person, comment=comment)

    async def advance(self, rollout_id: str, by: Subject, comment: str) -> Rollout:
        """To the next step, or into force, whatever the step waits for. Raises RefusedError, AuditError, ConfigError, StateError."""
        async with self._one_at_a_time:
            await self._ledger.ping()
            rollout, person = self.found(rollout_id), await self._person(by)
            await self._author_is_there(rollout)
            check_advance(rollout, person.key_id)
            if await self._left_out(rollout):
                raise RefusedError("It cannot go on with the workspace that was taken up meanwhile.", "rollout_state", 409)
            return await self._go_on(rollout, person, comment)

    async def roll_back(self, rollout_id: str, by: Subject, comment: str) -> Rollout:
        """At once. Raises RefusedError, AuditError, StateError."""
        async with self._one_at_a_time:
            rollout, person = self.found(rollout_id), await self._person(by)
            check_stop(rollout)
            return await self._ended(rollout, Event.ROLLED_BACK, {"reason": "by_hand"}, person, comment)

    async def go_back(self, archive: str, policy: str, by: Subject, comment: str) -> None:
        """Puts a version in force that was in force before, so that nobody has to say yes to it again. Raises AuditError, ConfigError,
        StateError."""
        async with self._one_at_a_time:
            await self._ledger.ping()
            person, record_id, now_ns = await self._person(by), self._ids.new(), self._clock.now_ns()
            if self.running is not None:
                await self._ended(self.running, Event.ROLLED_BACK, {"reason": "policy_rolled_back"}, person, comment)
            over, over_policy = self._serving.over
            told = {"archive": archive, "policy_digest": policy, "over_policy_digest": over_policy}
            await self._ledger.append(records.going_back(records.ROLLED_BACK_TO, record_id, now_ns, told, person, comment))
            await self._serving.put_in_force(Override(archive, "rolled_back", record_id, now_ns, over, self._serving.sequence))

    async def release(self, by: Subject, comment: str) -> None:
        """The workspace's own policies decide again once it is taken up. Raises AuditError, RefusedError, StateError."""
        async with self._one_at_a_time:
            override = self._versions.override()
            if override is None:
                raise RefusedError("The workspace's own policies are in force.", "policy_not_overridden", 409)
            person, told = await self._person(by), {"archive": override.archive, "was": override.why, "record": override.record}
            await self._ledger.append(records.going_back(records.RELEASED, self._ids.new(), self._clock.now_ns(), told, person, comment))
            self._versions.release()

    # By itself.

    async def resume(self) -> None:
        """After a start. Raises what the ledger and the store raise."""
        async with self._one_at_a_time:
            rollout = next((each for each in self._files.all() if each.state is State.RUNNING), None)
            if rollout is None:
                return
            override = self._versions.override()
            if override is not None and override.record == rollout.id:  # a crash between 2 and 3 of going into force
                self._files.put(self._in_force(rollout, rollout.step, None, ""))
            elif not await self._superseded(rollout):
                await self._begun_again(rollout)

    async def _begun_again(self, rollout: Rollout) -> None:
        """Its step begins anew: nobody knows what was seen of it."""
        try:
            await self._serving.begin(rollout)
        except LockgateError as error:
            log.error("the rollout %s cannot go on: %s", rollout.id, error)
            await self._ended(rollout, Event.ROLLED_BACK, {"reason": "candidate_refused"})
            return
        if not await self._superseded(rollout):
            self._begin(rollout)

    async def _superseded(self, rollout: Rollout) -> bool:
        if rollout.over == self._serving.over[0]:
            return False
        await self._ended(rollout, Event.SUPERSEDED, {"reason": "rollout_superseded"})
        return True

    async def _refuse_superseded(self, rollout: Rollout) -> None:
        if await self._superseded(rollout):
            raise RefusedError("Other policies are in force than it was proposed over.", "rollout_superseded", 409)

    def cannot_go_on(self, event: Event, reason: str) -> None:
        """What is being taken up leaves the candidate out; the next round says so."""
        self._gone = event, {"reason": reason}

    async def round(self) -> None:
        """Raises what the ledger and the store raise; the next round goes on. A ledger that is away keeps no guard from its work."""
        async with self._one_at_a_time:
            try:
                await self._watch()
            finally:
                await self._catch_up()

    async def _watch(self) -> None:
        rollout = self.running
        if rollout is None:
            self._gone = None
            return
        if await self._left_out(rollout):
            return
        if not self._told:
            await self._tell(rollout)
        for part in await self._serving.figures(rollout.id):
            self.seen.add(part)
        found = tripped(self.seen, rollout.plan.guards, rollout.plan.least)
        if found is not None:
            log.error("the rollout %s is rolled back: %s", rollout.id, found.sentence)
            await self._ended(rollout, Event.ROLLED_BACK, {"reason": f"guard_{found.guard}", "sentence": found.sentence})
        elif self._is_over(rollout):
            await self._go_on(rollout, None, "")

    async def _left_out(self, rollout: Rollout) -> bool:
        """Whether it has ended just now, for what was taken up leaves the candidate out."""
        if self._gone is None:
            return False
        event, told = self._gone
        if event is Event.SUPERSEDED and rollout.over == self._serving.over[0]:  # it is still being taken up, or no worker could
            return False
        self._gone = None
        await self._ended(rollout, event, told)
        return True

    async def _catch_up(self) -> None:
        """With what could not be done at once."""
        if not self._cleared:
            await self._clear()
        if self._unkept is not None:
            self._keep(self._unkept)
        await self._record_missing()

    def _is_over(self, rollout: Rollout) -> bool:
        lasts = rollout.plan.steps[rollout.step].lasts
        return (
            lasts is not None and self._clock.monotonic_ns() - self._began_ns >= lasts * SECOND_NS and enough(self.seen, rollout.plan.least)
        )

    async def _go_on(self, rollout: Rollout, by: Person | None, comment: str) -> Rollout:
        event = following(rollout)
        if event is Event.COMPLETED:
            return await self._ended(rollout, event, {}, by, comment)
        if event is Event.PROMOTED:
            return await self._promoted(rollout, by, comment)
        rollout = await self._moved(rollout, event, rollout.step + 1, records.counts(self.seen), by, comment)
        self._next(rollout)
        await self._tell(rollout)
        return rollout

    async def _tell(self, rollout: Rollout) -> None:
        """Workers that cannot be told go on with fewer callers, and the next round tells them."""
        self._told = False
        await self._serving.step(rollout.id, rollout.stage)
        self._told = True

    async def _promoted(self, rollout: Rollout, by: Person | None, comment: str) -> Rollout:
        promoted = await self._appended(rollout, Event.PROMOTED, rollout.step, records.counts(self.seen), by, comment)  # 1
        sequence = max((each for each in (rollout.sequence, self._serving.sequence) if each is not None), default=None)
        override = Override(rollout.archive, "promoted", rollout.id, self._clock.now_ns(), rollout.over, sequence)
        self.running = None
        try:
            await self._serving.put_in_force(override)  # 2
        except BaseException:
            self.running = rollout  # it decides for as many as before, and the next round tries again
            raise
        self._keep(promoted)  # 3
        log.info("the policies of the rollout %s are in force", rollout.id)
        return promoted

    def _in_force(self, rollout: Rollout, step: int, by: Person | None, comment: str) -> Rollout:
        told = records.counts(self.seen)
        return rollout.with_change(records.change(rollout, Event.PROMOTED, self._clock.now_ns(), step, told, by, comment))

    async def _ended(self, rollout: Rollout, event: Event, told: Told, by: Person | None = None, comment: str = "") -> Rollout:
        """The candidate decides for nobody once this returns, recorded or not. Raises StateError where a crash from here on would let it
        begin again, and ConfigError where no worker can be told; the rounds go on with either."""
        seen = self.seen if self.running is not None and self.running.id == rollout.id else Figures()
        decides, told = rollout.state is State.RUNNING, {**records.counts(seen), **told}
        rollout = rollout.with_change(records.change(rollout, event, self._clock.now_ns(), rollout.step, told, by, comment))
        self._behind = True
        try:
            self._keep(rollout)
        finally:
            if decides:
                await self._take_back(rollout)
        try:
            return await self._record(rollout)
        except AuditError as error:
            log.error("that the rollout %s is %s is not recorded yet: %s", rollout.id, rollout.state, error)
        return rollout

    async def _take_back(self, rollout: Rollout) -> None:
        self.running, self._cleared, problem = None, False, None
        try:
            await self._serving.step(rollout.id, NOBODY)
        except LockgateError as error:
            problem = error
        await self._clear()
        if problem is not None and not self._cleared:
            raise problem

    async def _clear(self) -> None:
        try:
            await self._serving.end()
            self._cleared = True
        except LockgateError as error:
            log.error("workers still have a candidate that is of no use: %s", error)

    def _begin(self, rollout: Rollout) -> None:
        self._gone, self._cleared, self._told = None, True, True
        self._next(rollout)

    def _next(self, rollout: Rollout) -> None:
        self.running, self.seen, self._began_ns = rollout, Figures(), self._clock.monotonic_ns()

    def _keep(self, ended: Rollout) -> None:
        self._unkept = ended
        self._files.put(ended)
        self._unkept = None

    async def _moved(
        self, rollout: Rollout, event: Event, step: int, told: Told | None = None, by: Person | None = None, comment: str = ""
    ) -> Rollout:
        """In the ledger, and durable: whatever follows may have its effect. Raises AuditError, StateError: nothing has moved then, even
        where the ledger has the record."""
        moved = await self._appended(rollout, event, step, told or {}, by, comment)
        try:
            self._files.put(moved)
        except StateError:
            if self._files.get(moved.id) != moved:  # else it has moved, and who stops half-way leaves it stuck
                raise
        return moved

    async def _appended(self, rollout: Rollout, event: Event, step: int, told: Told, by: Person | None, comment: str) -> Rollout:
        """With that move, which the ledger has. One that Lockgate tries again each second is not recorded each second."""
        half, number = self._half, len(rollout.history) + 1
        if by is None and half is not None and (half.id, len(half.history), half.history[-1].event) == (rollout.id, number, event):
            return half
        change = records.change(rollout, event, self._clock.now_ns(), step, told, by, comment)
        await self._ledger.append(change.entry)
        self._half = rollout.with_change(change).all_recorded()
        return self._half

    async def _record_missing(self) -> None:
        if self._behind:
            for rollout in self._files.newest(2):
                await self._record(rollout)
            self._behind = self._unkept is not None

    async def _record(self, rollout: Rollout) -> Rollout:
        """A crash, or an AuditError that hides a success, before the mark: the same bytes are appended once more."""
        missing = [each for each in rollout.history if not each.recorded]
        if not missing:
            return rollout
        for each in missing:
            await self._ledger.append(each.entry)
        recorded = rollout.all_recorded()
        self._keep(recorded)
        return recorded

    async def _person(self, subject: Subject) -> Person:
        return Person(subject.id, *await self._keys.key_for(subject.id))

    async def _author_is_there(self, rollout: Rollout) -> None:
        """Who was erased comes again under another key, and would seem to be somebody else."""
        if await self._keys.key(rollout.author) is None:
            raise RefusedError("Who proposed it was erased, so nobody can tell who else that is not.", "rollout_author_erased", 409)

    def _open(self) -> Rollout | None:
        return next((each for each in self._files.all() if each.state in OPEN), None)

    def found(self, rollout_id: str) -> Rollout:
        """Raises RefusedError, StateError."""
        unkept = self._unkept
        rollout = unkept if unkept is not None and unkept.id == rollout_id else self._files.get(rollout_id)
        if rollout is None:
            raise RefusedError("There is no such rollout.", "rollout_not_found", 404)
        return rollout
