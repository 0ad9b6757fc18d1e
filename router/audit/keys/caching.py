"""What a node keeps of the subjects' keys in memory, for as long as it may."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from router.audit.keys.comparing import Compared
from router.audit.keys.leasing import Lease, SharedKeys
from router.audit.keys.store import SubjectKey, SubjectKeyStore
from router.errors import AuditError


class Holders(Protocol):
    """Who else on this node has to do with keys."""

    async def forget_key(self, key_id: str) -> None: ...

    async def drop_held(self, key_id: str) -> None: ...

    def keys_until(self, until: float) -> None:
        """What they have may be used for so long."""


class CachedSubjectKeys:
    """Implements `router.ports.SubjectKeys`: a cache over a store that blocks. Misses that come together share one transaction."""

    def __init__(self, store: SubjectKeyStore, cache: int = 10_000) -> None:
        self._store = store
        self._limit = cache
        self._cache: OrderedDict[str, SubjectKey] = OrderedDict()
        self._wanted: dict[str, asyncio.Future[SubjectKey]] = {}
        self._busy: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._lease = Lease(store, self._forgotten, self._told) if isinstance(store, SharedKeys) else None
        self.holders: Holders | None = None

    async def open(self) -> None:
        await asyncio.to_thread(self._store.open)
        if self._lease is not None:
            await self._lease.begin()

    @property
    def until(self) -> float | None:
        """Until when, on the lease's clock, what was given out may be used; None where nobody else destroys keys."""
        return None if self._lease is None else self._lease.until

    async def key_for(self, subject: str) -> SubjectKey:
        if self._lease is not None:
            self._lease.check()
        cached = self._cache.get(subject)
        if cached is not None:
            self._cache.move_to_end(subject)
            return cached
        future = self._wanted.get(subject)
        if future is None:
            future = self._wanted[subject] = asyncio.get_running_loop().create_future()
        if self._busy is None:
            self._busy = asyncio.create_task(self._fetch_wanted())
        return await asyncio.shield(future)

    async def find(self, subject: str) -> str | None:
        """The key id of a subject that has one."""
        return await asyncio.to_thread(self._store.find, subject)

    async def key(self, key_id: str) -> bytes | None:
        """The key of an id; None once it was destroyed."""
        return await asyncio.to_thread(self._store.key, key_id)

    async def present(self, key_ids: Sequence[str]) -> list[str]:
        """Those of them that were not destroyed."""
        return await asyncio.to_thread(self._store.present, key_ids)

    async def destroy(self, *key_ids: str) -> None:
        """The keys are in no store, kept by no other node and given to nobody when it returns. The next request of the same subject gets
        another one."""
        async with self._changing:
            self._drop(*key_ids)
            await asyncio.to_thread(self._store.destroy, *key_ids)
        if self._lease is not None and isinstance(self._store, SharedKeys):
            await asyncio.to_thread(self._store.await_others, key_ids[-1], self._lease.node)  # nodes forget in the order of numbers

    async def ping(self) -> None:
        """Raises AuditError where a key that is not in memory could not be looked up now."""
        if self._lease is not None:
            self._lease.check()  # which asks by itself
        else:
            await asyncio.to_thread(self._store.compared)

    async def compared(self) -> Compared | None:
        """Up to where of a ledger its erasures were looked after here; None where never."""
        return await asyncio.to_thread(self._store.compared)

    async def mark(self, compared: Compared) -> None:
        """Durable when it returns. Raises AuditError."""
        await asyncio.to_thread(self._store.mark, compared)

    def _drop(self, *key_ids: str) -> None:
        gone = frozenset(key_ids)
        for subject in [subject for subject, (known, _) in self._cache.items() if known in gone]:
            del self._cache[subject]

    async def _forgotten(self, key_id: str) -> None:
        """Of a key that another node destroyed."""
        async with self._changing:
            self._drop(key_id)
        if self.holders is not None:
            await self.holders.forget_key(key_id)
            await self.holders.drop_held(key_id)

    def _told(self, until: float) -> None:
        if self.holders is not None:
            self.holders.keys_until(until)

    async def close(self) -> None:
        if self._busy is not None:
            await self._busy
        self._cache.clear()
        if self._lease is not None:
            await self._lease.end()
        await asyncio.to_thread(self._store.close)

    async def _fetch_wanted(self) -> None:
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted, {}
                async with self._changing:  # what was read before a key was destroyed must not be kept after it
                    await self._fetch(wanted)
        finally:
            self._busy = None

    async def _fetch(self, wanted: dict[str, asyncio.Future[SubjectKey]]) -> None:
        try:
            keys = await asyncio.to_thread(self._store.ensure, list(wanted))
            if self._lease is not None:
                self._lease.check()  # it may have taken long
        except AuditError as error:
            for future in wanted.values():
                future.set_exception(AuditError(str(error), error.code))
                future.exception()  # seen, should its caller have gone
            return
        for subject, future in wanted.items():
            self._keep(subject, keys[subject])
            future.set_result(keys[subject])

    def _keep(self, subject: str, key: SubjectKey) -> None:
        self._cache[subject] = key
        if len(self._cache) > self._limit:
            self._cache.popitem(last=False)
