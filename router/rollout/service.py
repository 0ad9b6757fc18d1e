"""Rollouts in the control process: proposed, approved by somebody else, watched each second, and taken back by themselves.

What has an effect is recorded before it has it, with two exceptions. Taking a candidate back waits neither for a ledger that is away nor
for a disk that is full: the rounds make the move durable then, and its record follows. And that a candidate is in force is durable after
its record: a crash in between begins the last step again.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from router.bundle.versions import Override, Versions
from router.config.rollouts import RolloutConfig
from router.decision import Subject
from router.errors import AuditError, LockgateError, RefusedError
from router.ports import Clock, Ids
from router.rollout import records
from router.rollout.examined import Examined
from router.rollout.figures import Figures
from router.rollout.guards import enough, tripped
from router.rollout.records import Person
from router.rollout.serving import Serving
from router.rollout.stage import NOBODY
from router.rollout.state import (
    Event,
    Rollout,
    State,
    check_advance,
    check_approval,
    check_rejection,
    check_somebody,
    check_stop,
    check_withdrawal,
    following,
)
from router.rollout.store import RolloutFiles
from router.rollout.story import Acting, Keys, Ledger, Story

log = logging.getLogger("lockgate.policy")
SECOND_NS = 1_000_000_000


class RolloutService:
    """One at a time: two candidates over the same policies could not be told apart by what they flip."""

    def __init__(
        self,
        files: RolloutFiles,
        versions: Versions,
        ledger: Ledger,
        keys: Keys,
        serving: Serving,
        clock: Clock,
        ids: Ids,
        acting: Acting,
    ) -> None:
        """`acting` names who acts for a subject: they are held to be one with it."""
        self._story = Story(files, ledger, keys, clock, ids, acting)
        self._versions = versions
        self._serving = serving
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._approving = set[asyncio.Task[Rollout]]()
        self._cleared = True  # no worker has a candidate that it should not have
        self._told = True  # workers know the stage of the one that runs
        self._gone: tuple[Event, str] | None = None  # why the one that runs cannot go on
        self._began_ns = 0
        self.seen = Figures()  # of the step that runs
        self.running: Rollout | None = None

    # People.

    async def propose(self, found: Examined, plan: RolloutConfig, by: Subject, comment: str) -> Rollout:
        """Raises RefusedError, AuditError, StateError."""
        check_somebody(by)
        async with self._one_at_a_time:
            await self._story.ping()
            await self._story.record_missing()
            if (other := self._story.open()) is not None:
                raise RefusedError(f"The rollout {other.id} is {other.state}; end it first.", "rollout_busy", 409)
            if found.policy == found.over_policy:
                raise RefusedError("These policies are in force already.", "rollout_same", 409)
            person = await self._story.person(by)
            rollout = Rollout(
                id=self._story.new_id(),
                created_ns=self._story.now_ns(),
                archive=self._versions.keep_archive(found.archive),
                policy=found.policy,
                config=found.config,
                revision=found.revision,
                sequence=found.sequence,
                over=found.over,
                over_policy=found.over_policy,
                plan=plan,
                author=person.key_id,
                author_acting=person.acting,
            )
            rollout = await self._story.moved(rollout, Event.PROPOSED, -1, by=person, comment=comment)
            self._versions.keep_archive(found.archive)  # nobody waited for it before, and it may have been cleared away meanwhile
            return rollout

    async def approve(self, rollout_id: str, by: Subject, digest: str, comment: str) -> Rollout:
        """Its first step begins, also where who says so does not wait for it: workers may have the candidate by then, and somebody has to
        watch it. Raises RefusedError, AuditError, ConfigError, StateError."""
        check_somebody(by)
        approving = asyncio.create_task(self._approve(rollout_id, by, digest, comment))
        self._approving.add(approving)
        approving.add_done_callback(self._approving.discard)
        return await asyncio.shield(approving)

    async def _approve(self, rollout_id: str, by: Subject, digest: str, comment: str) -> Rollout:
        async with self._one_at_a_time:
            await self._story.ping()
            rollout, person = self.found(rollout_id), await self._story.person(by)
            await self._story.author_is_there(rollout)
            check_approval(rollout, person.people, digest)
            await self._refuse_superseded(rollout)
            rollout = await self._story.moved(replace(rollout, approver=person.key_id), Event.APPROVED, 0, by=person, comment=comment)
            try:
                await self._serving.begin(rollout)
            except LockgateError as error:
                await self._ended(rollout, Event.ROLLED_BACK, reason="candidate_refused")
                raise RefusedError(f"The candidate cannot be used: {error}", "candidate_refused", 422) from error
            except Exception:  # a disk that is full, say: workers may have it, and no round would watch it
                await self._ended(rollout, Event.ROLLED_BACK, reason="candidate_refused")
                raise
            await self._refuse_superseded(rollout)  # a changed workspace may have been taken up just before
            self._begin(rollout)
            return rollout

    async def reject(self, rollout_id: str, by: Subject, comment: str) -> Rollout:
        """Raises RefusedError, AuditError, StateError."""
        async with self._one_at_a_time:
            rollout, person = self.found(rollout_id), await self._story.person(by)
            check_rejection(rollout, person.people)
            return await self._story.moved(rollout, Event.REJECTED, -1, by=person, comment=comment)

    async def withdraw(self, rollout_id: str, by: Subject, comment: str) -> Rollout:
        """Raises RefusedError, AuditError, StateError."""
        async with self._one_at_a_time:
            rollout, person = self.found(rollout_id), await self._story.person(by)
            check_withdrawal(rollout, person.key_id)
            return await self._story.moved(rollout, Event.WITHDRAWN, -1, by=person, comment=comment)

    async def advance(self, rollout_id: str, by: Subject, comment: str) -> Rollout:
        """To the next step, or into force, whatever the step waits for. Raises RefusedError, AuditError, ConfigError, StateError."""
        check_somebody(by)
        async with self._one_at_a_time:
            await self._story.ping()
            rollout, person = self.found(rollout_id), await self._story.person(by)
            await self._story.author_is_there(rollout)
            check_advance(rollout, person.people)
            if await self._left_out(rollout):
                raise RefusedError("It cannot go on with the workspace that was taken up meanwhile.", "rollout_state", 409)
            return await self._go_on(rollout, person, comment)

    async def roll_back(self, rollout_id: str, by: Subject, comment: str) -> Rollout:
        """At once. Raises RefusedError, AuditError, StateError."""
        async with self._one_at_a_time:
            rollout, person = self.found(rollout_id), await self._story.person(by)
            check_stop(rollout)
            return await self._ended(rollout, Event.ROLLED_BACK, person, comment, reason="by_hand")

    async def go_back(self, archive: str, policy: str, by: Subject, comment: str) -> None:
        """Puts a version in force that was in force before, so that nobody has to say yes to it again. Raises AuditError, ConfigError,
        StateError."""
        async with self._one_at_a_time:
            await self._story.ping()
            person, record_id, now_ns = await self._story.person(by), self._story.new_id(), self._story.now_ns()
            if self.running is not None:
                await self._ended(self.running, Event.ROLLED_BACK, person, comment, reason="policy_rolled_back")
            over, over_policy = self._serving.over
            told = {"archive": archive, "policy_digest": policy, "over_policy_digest": over_policy}
            await self._story.append(records.going_back(records.ROLLED_BACK_TO, record_id, now_ns, told, person, comment))
            await self._serving.put_in_force(Override(archive, "rolled_back", record_id, now_ns, over, self._serving.sequence))

    async def release(self, by: Subject, comment: str) -> None:
        """The workspace's own policies decide again once it is taken up. Raises AuditError, RefusedError, StateError."""
        async with self._one_at_a_time:
            override = self._versions.override()
            if override is None:
                raise RefusedError("The workspace's own policies are in force.", "policy_not_overridden", 409)
            person, told = await self._story.person(by), {"archive": override.archive, "was": override.why, "record": override.record}
            await self._story.append(
                records.going_back(records.RELEASED, self._story.new_id(), self._story.now_ns(), told, person, comment)
            )
            self._versions.release()

    # By itself.

    async def resume(self) -> None:
        """After a start. Raises what the ledger and the store raise."""
        async with self._one_at_a_time:
            rollout = next((each for each in self._story.all() if each.state is State.RUNNING), None)
            if rollout is None:
                return
            override = self._versions.override()
            if override is not None and override.record == rollout.id:  # a crash between 2 and 3 of going into force
                self._story.keep(self._in_force(rollout, rollout.step, None, "").all_recorded())  # it was, before 2
            elif not await self._superseded(rollout):
                await self._begun_again(rollout)

    async def _begun_again(self, rollout: Rollout) -> None:
        """Its step begins anew: nobody knows what was seen of it."""
        try:
            await self._serving.begin(rollout)
        except LockgateError as error:
            log.error("the rollout %s cannot go on: %s", rollout.id, error)
            await self._ended(rollout, Event.ROLLED_BACK, reason="candidate_refused")
            return
        if not await self._superseded(rollout):
            self._begin(rollout)

    async def _superseded(self, rollout: Rollout) -> bool:
        if rollout.over == self._serving.over[0]:
            return False
        await self._ended(rollout, Event.SUPERSEDED, reason="rollout_superseded")
        return True

    async def _refuse_superseded(self, rollout: Rollout) -> None:
        if await self._superseded(rollout):
            raise RefusedError("Other policies are in force than it was proposed over.", "rollout_superseded", 409)

    def cannot_go_on(self, event: Event, reason: str) -> None:
        """What is being taken up leaves the candidate out; the next round says so."""
        self._gone = event, reason

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
            await self._ended(rollout, Event.ROLLED_BACK, reason=found.reason, sentence=found.sentence)
        elif self._is_over(rollout):
            await self._go_on(rollout, None, "")

    async def _left_out(self, rollout: Rollout) -> bool:
        """Whether it has ended just now, for what was taken up leaves the candidate out."""
        if self._gone is None:
            return False
        event, reason = self._gone
        if event is Event.SUPERSEDED and rollout.over == self._serving.over[0]:  # it is still being taken up, or no worker could
            return False
        self._gone = None
        await self._ended(rollout, event, reason=reason)
        return True

    async def _catch_up(self) -> None:
        """With what could not be done at once."""
        if not self._cleared:
            await self._clear()
        await self._story.catch_up()

    def _is_over(self, rollout: Rollout) -> bool:
        lasts, spent_ns = rollout.plan.steps[rollout.step].lasts, self._clock.monotonic_ns() - self._began_ns
        return lasts is not None and spent_ns >= lasts * SECOND_NS and enough(self.seen, rollout.plan.least)

    async def _go_on(self, rollout: Rollout, by: Person | None, comment: str) -> Rollout:
        event = following(rollout)
        if event is Event.COMPLETED:
            return await self._ended(rollout, event, by, comment)
        if event is Event.PROMOTED:
            return await self._promoted(rollout, by, comment)
        rollout = await self._story.moved(rollout, event, rollout.step + 1, records.counts(self.seen), by, comment)
        self._next(rollout)
        await self._tell(rollout)
        return rollout

    async def _tell(self, rollout: Rollout) -> None:
        """Workers that cannot be told go on with fewer callers, and the next round tells them."""
        self._told = False
        await self._serving.step(rollout.id, rollout.stage)
        self._told = True

    async def _promoted(self, rollout: Rollout, by: Person | None, comment: str) -> Rollout:
        promoted = await self._story.appended(rollout, Event.PROMOTED, rollout.step, records.counts(self.seen), by, comment)  # 1
        sequence = max((each for each in (rollout.sequence, self._serving.sequence) if each is not None), default=None)
        override = Override(rollout.archive, "promoted", rollout.id, self._story.now_ns(), rollout.over, sequence)
        self.running = None
        try:
            await self._serving.put_in_force(override)  # 2
        except BaseException:
            self.running = rollout  # it decides for as many as before, and the next round tries again
            raise
        self._story.keep(promoted)  # 3
        log.info("the policies of the rollout %s are in force", rollout.id)
        return promoted

    def _in_force(self, rollout: Rollout, step: int, by: Person | None, comment: str) -> Rollout:
        told = records.counts(self.seen)
        return rollout.with_change(records.change(rollout, Event.PROMOTED, self._story.now_ns(), step, told, by, comment))

    async def _ended(
        self, rollout: Rollout, event: Event, by: Person | None = None, comment: str = "", *, reason: str = "", sentence: str = ""
    ) -> Rollout:
        """The candidate decides for nobody once this returns, recorded or not. Raises StateError where a crash from here on would let it
        begin again, and ConfigError where no worker can be told; the rounds go on with either."""
        seen = self.seen if self.running is not None and self.running.id == rollout.id else Figures()
        why = {name: text for name, text in (("reason", reason), ("sentence", sentence)) if text}
        decides, told = rollout.state is State.RUNNING, {**records.counts(seen), **why}
        rollout = rollout.with_change(records.change(rollout, event, self._story.now_ns(), rollout.step, told, by, comment))
        self._story.behind = True
        try:
            self._story.keep(rollout)
        finally:
            if decides:
                await self._take_back(rollout)
        try:
            return await self._story.record(rollout)
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

    def found(self, rollout_id: str) -> Rollout:
        """Raises RefusedError, StateError."""
        return self._story.found(rollout_id)
