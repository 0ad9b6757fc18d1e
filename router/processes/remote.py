"""The control process's ledger, subject keys and review store, as a worker sees them.

Records that are appended in one turn of the event loop travel in one call and are answered together, and those of a busy worker wait for
each other (`router.processes.sharing`), so that it pays for one frame, one commit and one wake-up for many requests.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import astuple
from functools import partial
from typing import Any

from router.audit.beside import MOST_BYTES, REFUSED
from router.audit.keys.leasing import lease_clock
from router.errors import EVENT_KNOWN, AuditError, ReviewError
from router.ipc import Peer, RemoteError
from router.ports import Entry, Held, Notice
from router.processes.messages import APPEND, HOLD, PING_LEDGER, RESUME_KEEP, SUBJECT_KEY
from router.processes.outbox import packed_entry
from router.processes.sharing import Sharing
from router.review.packing import pack_held

KEYS_CACHED = 10_000


LINGER_S = 0.005


class RemoteLedger:
    """`at_hand`: how many requests the worker is busy with."""

    def __init__(self, peer: Peer, at_hand: Callable[[], int] = lambda: 0) -> None:
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._sharing = Sharing(self._send, at_hand)
        self._entries: list[Entry] = []
        self._waiting: list[asyncio.Future[int]] = []
        self._later: asyncio.TimerHandle | None = None
        self._urgent = False

    async def append(self, entry: Entry) -> int:
        if not self._urgent:
            self._urgent = True
            if self._later is not None:
                self._later.cancel()
            self._sharing.begin()
        return await self._add(entry)

    async def append_later(self, entry: Entry) -> int:
        """Travels with the next urgent record, or alone `LINGER_S` from now."""
        if self._later is None and not self._urgent:
            self._later = self._loop.call_later(LINGER_S, self._send)
        return await self._add(entry)

    def _add(self, entry: Entry) -> asyncio.Future[int]:
        future: asyncio.Future[int] = self._loop.create_future()
        self._entries.append(entry)
        self._waiting.append(future)
        return future

    def _send(self) -> None:
        self._later, self._urgent = None, False
        waiting, self._waiting = self._waiting, []
        entries, self._entries = self._entries, []
        for some in _calls(entries):
            answer = self._peer.begin(APPEND, [packed_entry(entry) for entry in some])
            answer.add_done_callback(partial(_settle, waiting=waiting[: len(some)]))
            waiting = waiting[len(some) :]

    async def ping(self) -> None:
        try:
            await self._peer.call(PING_LEDGER)
        except RemoteError as error:
            raise AuditError(str(error)) from None


def _calls(entries: list[Entry]) -> list[list[Entry]]:
    """All in one call, unless large deliveries come with them."""
    if all(entry.delivery is None for entry in entries):
        return [entries]
    calls: list[list[Entry]] = [[]]
    total = 0
    for entry in entries:
        size = len(entry.delivery.sealed) if entry.delivery is not None else 0
        if calls[-1] and total + size > MOST_BYTES:
            calls.append([])
            total = 0
        calls[-1].append(entry)
        total += size
    return calls


class Outcomes:
    """The same ledger for records of what has happened already: nobody waits for them, so they save a commit by sharing one. A crash
    before it leaves a decision without an outcome, as a crash before the outcome was known does."""

    def __init__(self, ledger: RemoteLedger) -> None:
        self._ledger = ledger

    async def append(self, entry: Entry) -> int:
        return await self._ledger.append_later(entry)

    async def ping(self) -> None:
        await self._ledger.ping()


def _settle(answer: asyncio.Future[Any], waiting: Sequence[asyncio.Future[int]]) -> None:
    if answer.cancelled():
        error: BaseException | None = AuditError("the ledger did not answer")
    else:
        error = answer.exception()
    for place, future in enumerate(waiting):
        if future.done():
            continue
        if error is None and (index := answer.result()[place]) != REFUSED:
            future.set_result(index)
        elif error is None:
            future.set_exception(AuditError("Another record decided this event.", EVENT_KNOWN))
        else:
            future.set_exception(AuditError(f"the record was not made durable: {error}", _code(error)))


def _code(error: BaseException) -> str:
    """The control process's own; where it is gone nothing is known."""
    return error.code if isinstance(error, RemoteError) and error.code != "peer_gone" else AuditError.code


class RemoteSubjectKeys:
    """Keys that the control process made durable; kept here, since a subject's key only changes by erasure."""

    def __init__(self, peer: Peer, cached: int = KEYS_CACHED) -> None:
        self._peer = peer
        self._cached = cached
        self._keys: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._forgotten = 0
        self._until: float | None = None

    async def key_for(self, subject: str) -> tuple[str, bytes]:
        found = self._keys.get(subject)
        if found is not None and (self._until is None or lease_clock() < self._until):
            self._keys.move_to_end(subject)
            return found
        asked = self._forgotten
        try:
            key_id, key, until = await self._peer.call(SUBJECT_KEY, subject)
        except RemoteError as error:
            raise AuditError(f"no key to seal the record with: {error}", _code(error)) from None
        if until is not None:
            self.usable_until(until)
        if asked == self._forgotten:
            self._keys[subject] = (key_id, key)
            if len(self._keys) > self._cached:
                self._keys.popitem(last=False)
        return key_id, key

    def usable_until(self, until: float) -> None:
        """Where several nodes share the keys: for how long those here may be used without asking, on the lease's clock."""
        self._until = max(until, self._until or 0.0)

    def forget(self, key_id: str) -> None:
        """Also what is under way: an answer may have left before the key was destroyed."""
        self._forgotten += 1
        for subject in [subject for subject, (known, _) in self._keys.items() if known == key_id]:
            del self._keys[subject]


class RemoteReviews:
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def rest(self, notice: Notice) -> None:
        """By what an engine is resumed when the review has ended."""
        try:
            await self._peer.call(RESUME_KEEP, astuple(notice))
        except RemoteError as error:
            code = error.code if error.code != "peer_gone" else ReviewError.code
            raise ReviewError(f"the request could not be held: {error}", code) from None

    async def hold(self, held: Held) -> None:
        try:
            await self._peer.call(HOLD, pack_held(held))
        except RemoteError as error:
            gone = error.code == "peer_gone"
            failed = ReviewError(f"the request could not be held: {error}", ReviewError.code if gone else error.code)
            failed.unsettled = gone or error.unsettled  # it may have been held before the process could say so: a person may find it
            raise failed from None
