"""The twin of what lies beside a ledger's records, without a disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from adapters.memory_ledger import MemoryLedger, MemorySubjectKeys
from router.audit.beside import TOLD_BYTES, Pending, Waiting
from router.ports import Delivery


class MemoryOutbox:
    """Implements `router.ports.Arrivals` and `Deliveries`, and what operators ask, over the in-memory ledger."""

    def __init__(self, ledger: MemoryLedger, keys: MemorySubjectKeys) -> None:
        self._ledger = ledger
        self._keys = keys

    async def answer(self, key: bytes) -> bytes | None:
        return self._ledger.arrivals.get(key)

    async def lease(self, owner: str, now_ns: int, until_ns: int, limit: int) -> Sequence[tuple[Delivery, bytes]]:
        taken = list[Delivery]()
        heads = set[bytes]()
        for number, each in list(self._ledger.deliveries.items()):
            if number in self._ledger.dead:
                continue
            is_head = not each.order or each.order not in heads
            heads.add(each.order)
            if is_head and max(each.due_ns, each.leased_ns) <= now_ns and len(taken) < limit:
                self._ledger.deliveries[number] = replace(each, owner=owner, leased_ns=until_ns)
                taken.append(self._ledger.deliveries[number])
        return [(each, await self._keys.key(each.key_id) or b"") for each in taken]

    async def renew(self, owner: str, ids: Sequence[str], until_ns: int) -> Sequence[str]:
        return [each for each in ids if self._change(each, owner, {"leased_ns": until_ns})]

    async def postpone(self, owner: str, delivery_id: str, attempts: int, due_ns: int, reason: str) -> bool:
        changes = {"owner": "", "leased_ns": 0, "attempts": attempts, "due_ns": due_ns, "reason": reason}
        return self._change(delivery_id, owner, changes)

    async def done(self, owner: str, delivery_id: str) -> bool:
        for number, each in list(self._ledger.deliveries.items()):
            if each.id == delivery_id and each.owner == owner and number not in self._ledger.dead:
                del self._ledger.deliveries[number]
                return True
        return False

    async def pending(self) -> Pending:
        living = [each.created_ns for number, each in self._ledger.deliveries.items() if number not in self._ledger.dead]
        return Pending(len(living), min(living, default=0), len(self._ledger.dead))

    async def page(self, after: int, limit: int, *, dead: bool | None, tenant: str | None = None) -> Sequence[Waiting]:
        found = [Waiting(number, number in self._ledger.dead, each) for number, each in sorted(self._ledger.deliveries.items())]
        own = [each for each in found if tenant in (None, each.delivery.tenant)]
        return [each for each in own if each.number > after and dead in (None, each.dead)][:limit]

    async def find(self, delivery_id: str) -> Waiting | None:
        return next(
            (each for each in await self.page(-1, len(self._ledger.deliveries), dead=None) if each.delivery.id == delivery_id), None
        )

    async def revive(self, delivery_id: str, now_ns: int, until_ns: int) -> bool:
        found = await self.find(delivery_id)
        if found is None or not found.dead:
            return False
        self._ledger.dead.discard(found.number)
        self._ledger.deliveries[found.number] = replace(found.delivery, attempts=0, due_ns=now_ns, until_ns=until_ns)
        return True

    async def drop(self, delivery_id: str) -> bool:
        found = await self.find(delivery_id)
        if found is None or not found.dead:
            return False
        self._ledger.dead.discard(found.number)
        del self._ledger.deliveries[found.number]
        return True

    async def rename_lanes(self, lane: Callable[[bytes], bytes]) -> int:
        told = [number for number, each in self._ledger.deliveries.items() if len(each.order) == TOLD_BYTES]
        for number in told:
            each = self._ledger.deliveries[number]
            self._ledger.deliveries[number] = replace(each, order=lane(each.order))
        return len(told)

    async def forget(self, before_ns: int) -> int:
        old = [key for key, at_ns in self._ledger.arrived.items() if at_ns < before_ns]
        for key in old:
            del self._ledger.arrivals[key], self._ledger.arrived[key]
        return len(old)

    def _change(self, delivery_id: str, owner: str, changes: dict[str, Any]) -> bool:
        for number, each in self._ledger.deliveries.items():
            if each.id == delivery_id and each.owner == owner and number not in self._ledger.dead:
                self._ledger.deliveries[number] = replace(each, **changes)
                return True
        return False
