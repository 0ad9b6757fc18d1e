"""What lies beside the ledger's records, between the control process, which owns it, and the workers, which fill and empty it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from router.audit.beside import Pending
from router.audit.outbox import Outbox
from router.errors import AuditError
from router.ipc import Handler, Peer, RemoteError
from router.ports import Arrival, Delivery, Due, Entry, Settled
from router.processes.messages import ARRIVAL, DONE, LEASE, PENDING, POSTPONE, RENEW

# Fields in order, as constructors take them; `astuple` also looks into each value, which takes ten times as long.
_delivery: Callable[[Delivery], tuple[Any, ...]] = attrgetter(*Delivery.__slots__)
_settled: Callable[[Settled], tuple[Any, ...]] = attrgetter(*Settled.__slots__)
_DUE = Delivery.__slots__.index("due")


def packed_entry(entry: Entry) -> tuple[Any, ...]:
    """Most have nothing beside them, and then nothing more travels."""
    if entry.arrival is None and entry.delivery is None and entry.settled is None:
        return (entry.leaf, entry.sealed, entry.key_id)
    arrival = None if entry.arrival is None else (entry.arrival.key, entry.arrival.answer)
    delivery = None if entry.delivery is None else packed_delivery(entry.delivery)
    settled = None if entry.settled is None else _settled(entry.settled)
    return (entry.leaf, entry.sealed, entry.key_id, arrival, delivery, settled)


def unpacked_entry(payload: Sequence[Any]) -> Entry:
    if len(payload) == 3:
        return Entry(*payload)
    leaf, sealed, key_id, arrival, delivery, settled = payload
    return Entry(
        leaf,
        sealed,
        key_id,
        None if arrival is None else Arrival(*arrival),
        None if delivery is None else unpacked_delivery(delivery),
        None if settled is None else Settled(*settled),
    )


def packed_delivery(delivery: Delivery) -> tuple[Any, ...]:
    return _delivery(delivery)


def unpacked_delivery(payload: Sequence[Any]) -> Delivery:
    given = list(payload)
    given[_DUE] = Due(given[_DUE])
    return Delivery(*given)


class OutboxDesk:
    """The control process's side."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            ARRIVAL: self._answer,
            LEASE: self._lease,
            RENEW: self._renew,
            POSTPONE: self._postpone,
            DONE: self._done,
            PENDING: self._pending,
        }

    async def _answer(self, key: Any) -> bytes | None:
        return await self._outbox.answer(key)

    async def _lease(self, payload: Any) -> list[Any]:
        return [[packed_delivery(each), key] for each, key in await self._outbox.lease(*payload)]

    async def _renew(self, payload: Any) -> list[str]:
        return list(await self._outbox.renew(*payload))

    async def _postpone(self, payload: Any) -> bool:
        return await self._outbox.postpone(*payload)

    async def _done(self, payload: Any) -> bool:
        return await self._outbox.done(*payload)

    async def _pending(self, _: Any) -> list[int]:
        found = await self._outbox.pending()
        return [found.count, found.oldest_ns, found.dead]


class RemoteOutbox:
    """A worker's side; implements `ports.Arrivals` and `ports.Deliveries`."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def answer(self, key: bytes) -> bytes | None:
        found: bytes | None = await self._asked(ARRIVAL, key)
        return found

    async def lease(self, owner: str, now_ns: int, until_ns: int, limit: int) -> Sequence[tuple[Delivery, bytes]]:
        taken = await self._asked(LEASE, [owner, now_ns, until_ns, limit])
        return [(unpacked_delivery(each), bytes(key)) for each, key in taken]

    async def renew(self, owner: str, ids: Sequence[str], until_ns: int) -> Sequence[str]:
        found: Sequence[str] = await self._asked(RENEW, [owner, list(ids), until_ns])
        return found

    async def postpone(self, owner: str, delivery_id: str, attempts: int, due_ns: int, reason: str) -> bool:
        return bool(await self._asked(POSTPONE, [owner, delivery_id, attempts, due_ns, reason]))

    async def done(self, owner: str, delivery_id: str) -> bool:
        return bool(await self._asked(DONE, [owner, delivery_id]))

    async def pending(self) -> Pending:
        return Pending(*await self._asked(PENDING, None))

    async def _asked(self, kind: str, payload: Any) -> Any:
        try:
            return await self._peer.call(kind, payload)
        except RemoteError as error:
            code = error.code if error.code != "peer_gone" else AuditError.code
            raise AuditError(f"what is to be delivered cannot be told: {error}", code) from None
