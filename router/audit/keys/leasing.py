"""Keys in the memory of several nodes, which no node may use for long without asking whether they still exist.

1. A node says in the common store up to which destroyed key it has forgotten, and asks, after that, for the newest: only where that is the
   same may it use what it keeps, for LEASE_S from the moment before it asked. It does so every second.
2. Where there are others it forgets these first, in its cache, in its workers and with what it holds for people. What it cannot forget it
   does not confirm, and a little later it may use no key at all.
3. Who destroys a key waits until every other node has said that it forgot it, or until LEASE_S and a margin are over: who has not said so
   by then has no lease, whether it is slow, frozen or cut off.

Both sides measure durations, on a clock that also counts while a machine sleeps; nothing depends on the time of day. A process that is
frozen between looking at its lease and sealing is stopped by the ledger, which takes nothing under a destroyed key (`Journal.bar`).

Numbers grow for as long as it is one store. Where an old copy of it was put back they are given out a second time, for other keys: who has
seen a number that is not there any more, or is another key's, uses no key again until it was started anew.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from router.errors import AuditError, LockgateError

log = logging.getLogger("lockgate.audit")
LEASE_S, MARGIN_S, EVERY_S = 5.0, 1.0, 1.0
UNCONFIRMED, PUT_BACK = "audit_keys_unconfirmed", "audit_keys_put_back"
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def lease_clock() -> float:
    """Seconds, the same for all processes of a machine."""
    return time.clock_gettime(_CLOCK)


class SharedKeys(ABC):
    """What several nodes keep keys from. Blocks; raises AuditError."""

    @abstractmethod
    def newest_destroyed(self) -> int:
        """Its number; 0 where none was."""

    @abstractmethod
    def destroyed_as(self, number: int) -> str | None:
        """The key id of a number."""

    @abstractmethod
    def destroyed_after(self, number: int) -> list[tuple[int, str]]:
        """(number, key id), rising"""

    @abstractmethod
    def confirm(self, node: str, seen: int) -> int:
        """Says that a node keeps no key that was destroyed up to `seen`; the newest number, read after that."""

    @abstractmethod
    def leave(self, node: str) -> None:
        """It keeps none any more."""

    @abstractmethod
    def await_others(self, key_id: str, own: str) -> None:
        """Returns when no node but `own` can use a destroyed key."""


class Lease:
    """`forget` returns when no process of this node keeps a key; `told` is given each new end, on the lease's clock."""

    def __init__(self, keys: SharedKeys, forget: Callable[[str], Awaitable[None]], told: Callable[[float], None]) -> None:
        self.node = secrets.token_hex(8)
        self.until = 0.0
        self._keys = keys
        self._forget = forget
        self._told = told
        self._seen, self._seen_as = 0, ""
        self._put_back = False
        self._task: asyncio.Task[None] | None = None
        self._failing = ""

    async def begin(self) -> None:
        """Before any key is kept. Raises AuditError."""
        self._seen = await asyncio.to_thread(self._keys.newest_destroyed)
        self._seen_as = await self._key_of_seen()
        await self._renew()
        self._task = asyncio.create_task(self._keep())

    def check(self) -> None:
        """Raises AuditError `audit_keys_unconfirmed` where no key may be used."""
        if lease_clock() >= self.until:
            why = f" ({self._failing})" if self._failing else ""
            raise AuditError(f"Nobody confirms that the subjects' keys in memory still exist{why}, so none is used.", UNCONFIRMED)

    async def end(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.until = 0.0
        try:
            await asyncio.to_thread(self._keys.leave, self.node)
        except AuditError as error:
            log.warning("the next erasure waits %g seconds for this node: %s", LEASE_S + MARGIN_S, error)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self._renew()
            except LockgateError as error:
                self._fails(str(error))
            except Exception as error:  # the next round may succeed, and until then the lease runs out
                log.exception("a destroyed key was not forgotten, in a way that nobody foresaw")
                self._failing = type(error).__name__

    async def _renew(self) -> None:
        while True:
            began = lease_clock()
            await self._check_same()  # before anything is confirmed: who destroys a key would believe it
            newest = await asyncio.to_thread(self._keys.confirm, self.node, self._seen)
            if newest == self._seen:
                break
            for number, key_id in await asyncio.to_thread(self._keys.destroyed_after, self._seen):
                await self._forget(key_id)
                self._seen, self._seen_as = number, key_id
        self.until, self._failing = began + LEASE_S, ""
        self._told(self.until)

    async def _check_same(self) -> None:
        """For good: a number that is given out later may be the one that was seen."""
        if not self._put_back:
            self._put_back = await self._key_of_seen() != self._seen_as
        if self._put_back:
            raise AuditError("an old copy of the subjects' keys was put back while this node ran: start it anew", PUT_BACK)

    async def _key_of_seen(self) -> str:
        return await asyncio.to_thread(self._keys.destroyed_as, self._seen) or ""

    def _fails(self, why: str) -> None:
        if not self._failing:
            log.error("it is not confirmed that the subjects' keys in memory still exist: %s", why)
        self._failing = why
