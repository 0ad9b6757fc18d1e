"""What lies beside the ledger's records, as those ask for it who deliver, who take events, and who look after both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from router.audit.beside import Pending, Waiting
from router.audit.journal import LedgerStore
from router.audit.ledger import AuditLedger
from router.ports import Delivery

T = TypeVar("T")
FORGOTTEN_AT_ONCE = 5000  # records wait meanwhile


class Outboxes(Protocol):
    """What a worker asks of it."""

    async def answer(self, key: bytes) -> bytes | None: ...

    async def lease(self, owner: str, now_ns: int, until_ns: int, limit: int) -> Sequence[tuple[Delivery, bytes]]: ...

    async def renew(self, owner: str, ids: Sequence[str], until_ns: int) -> Sequence[str]: ...

    async def postpone(self, owner: str, delivery_id: str, attempts: int, due_ns: int, reason: str) -> bool: ...

    async def done(self, owner: str, delivery_id: str) -> bool: ...

    async def pending(self) -> Pending: ...


class Keys(Protocol):
    async def key(self, key_id: str) -> bytes | None:
        """None once it was destroyed."""


class Outbox:
    """Implements `router.ports.Arrivals` and `Deliveries` over a ledger. Every method raises AuditError."""

    def __init__(self, ledger: AuditLedger, keys: Keys) -> None:
        self._ledger = ledger
        self._keys = keys

    async def answer(self, key: bytes) -> bytes | None:
        return await self._asked(lambda store: store.answer(key))

    async def lease(self, owner: str, now_ns: int, until_ns: int, limit: int) -> Sequence[tuple[Delivery, bytes]]:
        taken = await self._asked(lambda store: store.lease(owner, now_ns, until_ns, limit))
        keys = {key_id: await self._keys.key(key_id) or b"" for key_id in {each.key_id for each in taken}}
        return [(each, keys[each.key_id]) for each in taken]

    async def renew(self, owner: str, ids: Sequence[str], until_ns: int) -> Sequence[str]:
        return await self._asked(lambda store: store.renew(owner, ids, until_ns))

    async def postpone(self, owner: str, delivery_id: str, attempts: int, due_ns: int, reason: str) -> bool:
        return await self._asked(lambda store: store.postpone(owner, delivery_id, attempts, due_ns, reason))

    async def done(self, owner: str, delivery_id: str) -> bool:
        return await self._asked(lambda store: store.done(owner, delivery_id))

    async def pending(self) -> Pending:
        return await self._asked(lambda store: store.pending())

    async def page(self, after: int, limit: int, *, dead: bool | None, tenant: str | None = None) -> Sequence[Waiting]:
        """In the order of their decisions, those after the number `after`; with a `tenant` only what is that one's."""
        return await self._asked(lambda store: store.waiting(after, limit, dead, tenant))

    async def find(self, delivery_id: str) -> Waiting | None:
        return await self._asked(lambda store: store.delivery(delivery_id))

    async def revive(self, delivery_id: str, now_ns: int, until_ns: int) -> bool:
        return await self._asked(lambda store: store.revive(delivery_id, now_ns, until_ns))

    async def drop(self, delivery_id: str) -> bool:
        return await self._asked(lambda store: store.drop(delivery_id))

    async def rename_lanes(self, lane: Callable[[bytes], bytes]) -> int:
        """What a release of before kept of orders as it was told is kept as `lane` has it; of how many deliveries."""
        return await self._asked(lambda store: store.rename_lanes(lane))

    async def forget(self, before_ns: int) -> int:
        """Removes arrivals that came before, some at a time, so that records need not wait for all of them."""
        gone = 0
        while True:
            some = await self._asked(lambda store: store.forget(before_ns, FORGOTTEN_AT_ONCE))
            gone += some
            if some < FORGOTTEN_AT_ONCE:
                return gone

    async def _asked(self, work: Callable[[LedgerStore], T]) -> T:
        return await self._ledger.call(lambda journal: journal.deliveries(work))
