"""The control process's ledger, subject keys and review store, as a worker sees them.

Records that are appended in one turn of the event loop travel in one call and are answered together, so a busy worker pays for one frame,
one commit and one wake-up for many requests.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from router.errors import AuditError, ReviewError
from router.ipc import Peer, RemoteError
from router.ports import Entry, Held
from router.processes.messages import APPEND, HOLD, PING_LEDGER, SUBJECT_KEY
from router.review.packing import pack_held

KEYS_CACHED = 10_000


class RemoteLedger:
    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._entries: list[Entry] = []
        self._waiting: list[asyncio.Future[int]] = []

    async def append(self, entry: Entry) -> int:
        future: asyncio.Future[int] = self._loop.create_future()
        if not self._entries:
            self._loop.call_soon(self._send)
        self._entries.append(entry)
        self._waiting.append(future)
        return await future

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        entries, self._entries = self._entries, []
        answer = self._peer.begin(APPEND, [(entry.leaf, entry.sealed, entry.key_id) for entry in entries])
        answer.add_done_callback(lambda done: _settle(done, waiting))

    async def ping(self) -> None:
        try:
            await self._peer.call(PING_LEDGER)
        except RemoteError as error:
            raise AuditError(str(error)) from None


def _settle(answer: asyncio.Future[Any], waiting: Sequence[asyncio.Future[int]]) -> None:
    if answer.cancelled():
        error: BaseException | None = AuditError("the ledger did not answer")
    else:
        error = answer.exception()
    for place, future in enumerate(waiting):
        if future.done():
            continue
        if error is None:
            future.set_result(answer.result()[place])
        else:
            code = error.code if isinstance(error, RemoteError) and error.code != "peer_gone" else AuditError.code
            future.set_exception(AuditError(f"the record was not made durable: {error}", code))


class RemoteSubjectKeys:
    """Keys that the control process made durable; kept here, since a subject's key only changes by erasure."""

    def __init__(self, peer: Peer, cached: int = KEYS_CACHED) -> None:
        self._peer = peer
        self._cached = cached
        self._keys: OrderedDict[str, tuple[str, bytes]] = OrderedDict()

    async def key_for(self, subject: str) -> tuple[str, bytes]:
        found = self._keys.get(subject)
        if found is not None:
            self._keys.move_to_end(subject)
            return found
        try:
            key_id, key = await self._peer.call(SUBJECT_KEY, subject)
        except RemoteError as error:
            raise AuditError(f"no key to seal the record with: {error}") from None
        self._keys[subject] = (key_id, key)
        if len(self._keys) > self._cached:
            self._keys.popitem(last=False)
        return key_id, key

    def forget(self) -> None:
        self._keys.clear()


class RemoteReviews:
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def hold(self, held: Held) -> None:
        try:
            await self._peer.call(HOLD, pack_held(held))
        except RemoteError as error:
            code = error.code if error.code != "peer_gone" else ReviewError.code
            raise ReviewError(f"the request could not be held: {error}", code) from None
