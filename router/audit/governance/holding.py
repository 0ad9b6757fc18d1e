"""Legal holds: what is on hold is neither erased nor pruned. They stand in the ledger and nowhere else, so no restart forgets one."""

from __future__ import annotations

from router.audit.governance.erasing import Orders, Who
from router.audit.governance.facts import Facts, Receipt
from router.audit.governance.standing import HOLD, RELEASE, Hold
from router.audit.records.canonical import is_slug
from router.errors import AuditError

LONGEST = 64


class Holding:
    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def add(self, on: str, target: str, who: Who) -> Receipt:
        """`on` is `subject`, `decision` or `intent`. The same target may be on hold more than once, for several cases. Raises AuditError
        `subject_unknown`, `decision_unknown`, `audit_hold_invalid` with nothing written."""
        async with self._orders.one_at_a_time:
            details = await self._details(on, target)
            index = await self._orders.append(await self._orders.entry(HOLD, details, who))
        return await self._orders.receipt(index)

    async def release(self, record: int, who: Who) -> Receipt:
        """`record` is the index of the record that added the hold. Raises AuditError `audit_hold_unknown`."""
        async with self._orders.one_at_a_time:
            standing = await self._orders.ask(lambda facts: facts.standing())
            if record not in standing.holds:
                raise AuditError(f"Record {record} added no hold that is still in force.", "audit_hold_unknown")
            index = await self._orders.append(await self._orders.entry(RELEASE, {"hold": record}, who))
        return await self._orders.receipt(index)

    async def all(self) -> list[Hold]:
        """What is in force, oldest first."""
        standing = await self._orders.ask(lambda facts: facts.standing())
        return list(standing.holds.values())

    async def on(self, on: str, target: str) -> list[Hold]:
        """Those on this very target. Raises AuditError as `add` does."""
        ((column, wanted),) = (await self._details(on, target)).items()
        return [hold for hold in await self.all() if (hold.on, hold.target) == (column, wanted)]

    async def _details(self, on: str, target: str) -> dict[str, str]:
        if on == "subject":
            key_id = await self._orders.keys.find(target)
            if key_id is None:
                raise AuditError("There is no key of this subject: nothing is kept about them, or it was erased.", "subject_unknown")
            return {"key_id": key_id}
        if on == "decision":
            if not await self._orders.ask(lambda facts: _decided(facts, target)):
                raise AuditError(f"The ledger holds no decision {target[:LONGEST]}.", "decision_unknown")
            return {"decision": target}
        if not is_slug(target):
            raise AuditError(f"{target[:LONGEST]!r} is no name of an intent.", "audit_hold_invalid")
        return {"intent": target}


def _decided(facts: Facts, decision_id: str) -> bool:
    facts.standing()
    return next(facts.rows(("decision_id", "=", decision_id), ("kind", "=", "decision")), None) is not None
