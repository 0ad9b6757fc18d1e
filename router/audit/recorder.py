"""From values to durable records: builds the entry, seals what is personal, and waits for the ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from router.audit.journal import PASSING, UNSETTLED
from router.audit.keys.leasing import UNCONFIRMED
from router.audit.ledger import OVERLOADED
from router.audit.records.record import decision_entry, outcome_entry
from router.decision import Decision, Outcome, Result
from router.errors import AuditError
from router.ports import Clock, Entry, Ledger, MakeBeside, Settled, SubjectKeys

log = logging.getLogger("lockgate.audit")
PATIENCE_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 2.0
NOT_YET = PASSING | {UNCONFIRMED, OVERLOADED}
"""It may work in a moment. What may have been written is not written twice: the ledger finds out first."""


class LedgerRecorder:
    """`outcomes` is where second records go, if they may take longer than the first. With `late`, an outcome that cannot be recorded now is
    tried again, for what happened cannot be undone for not being on record; `lost` is called where that fails. The end of a delivery is
    not, for the delivery is done again. A decision of which nobody can say whether it was recorded has an outcome as well: that nothing
    came of it."""

    def __init__(
        self,
        ledger: Ledger,
        keys: SubjectKeys,
        clock: Clock,
        outcomes: Ledger | None = None,
        late: Late | None = None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._outcomes = outcomes or ledger
        self._keys = keys
        self._clock = clock
        self._late = late
        self._lost = lost

    async def decided(self, decision: Decision, policy_input: Mapping[str, Any], beside: MakeBeside | None = None) -> None:
        """Returns when the record is fsynced. Raises AuditError, whatever the cause: no record, no dispatch."""
        key_id, key = await self._keys.key_for(decision.request.subject.id)
        try:
            entry = decision_entry(decision, policy_input, key_id, key)
        except (ValueError, TypeError) as error:
            raise AuditError(f"the decision cannot be written as a record: {error}", "audit_unwritable") from error
        if beside is not None:
            with_it = beside(decision, key_id, key)
            entry = Entry(entry.leaf, entry.sealed, entry.key_id, with_it.arrival, with_it.delivery)
        try:
            await self._ledger.append(entry)
        except AuditError as error:
            if self._late is not None and error.code == UNSETTLED and _ends_with(decision, entry):
                self._late.begin(decision.id, self._told(decision, entry), error, self._lost)
            raise

    async def ended(self, decision: Decision, outcome: Outcome, settled: Settled | None = None) -> None:
        """Returns when the record is fsynced, or late. Raises AuditError."""
        at_ns, entry = self._clock.now_ns(), None
        try:
            entry = await self._ending(decision, outcome, at_ns)
            await self._outcomes.append(entry if settled is None else Entry(entry.leaf, entry.sealed, entry.key_id, settled=settled))
        except AuditError as error:
            if self._late is None or settled is not None or error.code not in NOT_YET:
                raise
            self._late.begin(decision.id, self._again(decision, outcome, at_ns, entry), error, self._lost)

    async def _ending(self, decision: Decision, outcome: Outcome, at_ns: int) -> Entry:
        key_id, key = await self._keys.key_for(decision.request.subject.id)
        return outcome_entry(decision.id, outcome, at_ns, key_id, key)

    def _again(self, decision: Decision, outcome: Outcome, at_ns: int, entry: Entry | None) -> Callable[[], Awaitable[None]]:
        """Always the same entry, by which the ledger knows one that it may have written already."""

        async def record() -> None:
            nonlocal entry
            if entry is None:
                entry = await self._ending(decision, outcome, at_ns)
            await self._outcomes.append(entry)

        return record

    def _told(self, decision: Decision, entry: Entry) -> Callable[[], Awaitable[None]]:
        """That nothing came of a decision that may be on record, since nobody could tell; both are then."""
        at_ns, decided = self._clock.now_ns(), False
        outcome = Outcome(Result.DENIED, 503, UNSETTLED, total_ns=max(0, at_ns - decision.request.received_ns), complete=False)
        end = outcome_entry(decision.id, outcome, at_ns)

        async def record() -> None:
            nonlocal decided
            if not decided:
                await self._outcomes.append(entry)
                decided = True
            await self._outcomes.append(end)

        return record


def _ends_with(decision: Decision, entry: Entry) -> bool:
    """Whether nothing comes of a decision that its maker could not see on record. Not so of one that is delivered, or that answers whoever
    sends the same event again: those go by what is there. One that itself was the end needs no other, unless it was to be held."""
    unended = decision.outcome is None or decision.outcome.result is Result.HELD
    return unended and entry.arrival is None and entry.delivery is None


class Late:
    """Outcomes that wait while the ledger, or who confirms the subjects' keys, is away; nobody waits for them but who ends. They were under
    way when that began, or in a commit that was cut, for without a ledger nothing new is sent on."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._waiting = set[asyncio.Task[None]]()

    def begin(self, decision_id: str, record: Callable[[], Awaitable[None]], why: AuditError, lost: Callable[[], None]) -> None:
        """Calls `record` until it succeeds, or `lost` once it has failed for too long or may not be tried again."""
        if not self._waiting:
            log.warning("outcomes wait, for %g seconds at the most, until they can be recorded: %s", self._patience_s, why)
        task = asyncio.create_task(self._tried(decision_id, record, lost))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def recorded(self) -> None:
        """Returns when none waits any more."""
        while self._waiting:
            await asyncio.wait(self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)

    async def _tried(self, decision_id: str, record: Callable[[], Awaitable[None]], lost: Callable[[], None]) -> None:
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE_S
        until = loop.time() + self._patience_s
        while True:
            await asyncio.sleep(pause)
            try:
                return await record()
            except AuditError as error:
                if error.code not in NOT_YET or loop.time() >= until:
                    log.error("no outcome recorded for decision %s: %s", decision_id, error)
                    return lost()
            pause = min(pause * 2, LONGEST_PAUSE_S)


class NoRecorder:
    """For `explain`, which decides about nothing: no record, and no dispatch either."""

    async def decided(self, decision: Decision, policy_input: Mapping[str, Any], beside: MakeBeside | None = None) -> None:
        return None

    async def ended(self, decision: Decision, outcome: Outcome, settled: Settled | None = None) -> None:
        return None
