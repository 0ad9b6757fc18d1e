"""From values to durable records: builds the entry, seals what is personal, and waits for the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.audit.records.record import decision_entry, outcome_entry
from router.decision import Decision, Outcome
from router.errors import AuditError
from router.ports import Clock, Entry, Ledger, MakeBeside, Settled, SubjectKeys


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


class NoRecorder:
    """For `explain`, which decides about nothing: no record, and no dispatch either."""

    async def decided(self, decision: Decision, policy_input: Mapping[str, Any], beside: MakeBeside | None = None) -> None:
        return None

    async def ended(self, decision: Decision, outcome: Outcome, settled: Settled | None = None) -> None:
        return None
