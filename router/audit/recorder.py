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
from router.decision import Decision, Outcome
from router.errors import AuditError
from router.ports import Clock, Entry, Ledger, MakeBeside, Recorder, Settled, SubjectKeys

log = logging.getLogger("lockgate.audit")
PATIENCE_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 2.0
NOT_YET = (PASSING - {UNSETTLED}) | {UNCONFIRMED, OVERLOADED}
"""Surely not written, and it may work in a moment. What may have been written is not written again: a request has one outcome."""


class LedgerRecorder:
    """`outcomes` is where second records go, if they may take longer than the first."""

    def __init__(self, ledger: Ledger, keys: SubjectKeys, clock: Clock, outcomes: Ledger | None = None) -> None:
        self._ledger = ledger
        self._outcomes = outcomes or ledger
        self._keys = keys
        self._clock = clock

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
        await self._ledger.append(entry)

    async def ended(self, decision: Decision, outcome: Outcome, settled: Settled | None = None) -> None:
        key_id, key = await self._keys.key_for(decision.request.subject.id)
        entry = outcome_entry(decision.id, outcome, self._clock.now_ns(), key_id, key)
        await self._outcomes.append(entry if settled is None else Entry(entry.leaf, entry.sealed, entry.key_id, settled=settled))


class Late:
    """Outcomes that wait while the ledger, or who confirms the subjects' keys, is away; nobody waits for them but who ends. They were under
    way when that began, for without a ledger nothing new is sent on."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._waiting = set[asyncio.Task[None]]()

    def begin(self, decision_id: str, record: Callable[[], Awaitable[None]], why: AuditError) -> None:
        if not self._waiting:
            log.warning("outcomes wait, for %g seconds at the most, until they can be recorded: %s", self._patience_s, why)
        task = asyncio.create_task(self._tried(decision_id, record))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def recorded(self) -> None:
        """Returns when none waits any more."""
        while self._waiting:
            await asyncio.wait(self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)

    async def _tried(self, decision_id: str, record: Callable[[], Awaitable[None]]) -> None:
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE_S
        until = loop.time() + self._patience_s
        while True:
            await asyncio.sleep(pause)
            try:
                return await record()
            except AuditError as error:
                if error.code not in NOT_YET or loop.time() >= until:
                    log.error("no outcome recorded for decision %s: %s", decision_id, error)
                    return None
            pause = min(pause * 2, LONGEST_PAUSE_S)


class PatientRecorder:
    """What happened cannot be undone for not being on record: an outcome that cannot be recorded now is `late`. The end of a delivery is
    not, for the delivery is done again."""

    def __init__(self, recorder: Recorder, late: Late) -> None:
        self._recorder = recorder
        self._late = late

    async def decided(self, decision: Decision, policy_input: Mapping[str, Any], beside: MakeBeside | None = None) -> None:
        await self._recorder.decided(decision, policy_input, beside)

    async def ended(self, decision: Decision, outcome: Outcome, settled: Settled | None = None) -> None:
        try:
            await self._recorder.ended(decision, outcome, settled)
        except AuditError as error:
            if settled is not None or error.code not in NOT_YET:
                raise
            self._late.begin(decision.id, lambda: self._recorder.ended(decision, outcome), error)


class NoRecorder:
    """For `explain`, which decides about nothing: no record, and no dispatch either."""

    async def decided(self, decision: Decision, policy_input: Mapping[str, Any], beside: MakeBeside | None = None) -> None:
        return None

    async def ended(self, decision: Decision, outcome: Outcome, settled: Settled | None = None) -> None:
        return None
