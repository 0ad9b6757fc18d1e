"""The worker's side of the ledger: what travels together, and what may wait for it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from router.ipc import Peer, connect
from router.ports import Entry
from router.processes.messages import APPEND
from router.processes.remote import Outcomes, RemoteLedger

ENTRY = Entry(b"{}")


class Control:
    """The other end: notes how many records each call brings."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self._next = 0

    async def append(self, payload: Any) -> list[int]:
        self.calls.append(len(payload))
        first, self._next = self._next, self._next + len(payload)
        return list(range(first, self._next))


async def joined(control: Control) -> tuple[Peer, Peer]:
    ours, theirs = socket.socketpair()
    return await connect(ours, {}), await connect(theirs, {APPEND: control.append})


async def test_records_of_one_turn_travel_in_one_call():
    """Several appends in one turn of the loop are one frame, and each hears its own index."""
    control = Control()
    peer, other = await joined(control)
    ledger = RemoteLedger(peer)
    assert await asyncio.gather(*(ledger.append(ENTRY) for _ in range(3))) == [0, 1, 2]
    assert control.calls == [3]
    peer.close()
    other.close()


async def test_an_outcome_travels_with_the_next_decision():
    """A record that nobody waits for shares the call, and so the commit, of one that somebody does."""
    control = Control()
    peer, other = await joined(control)
    ledger = RemoteLedger(peer)
    outcome = asyncio.ensure_future(Outcomes(ledger).append(ENTRY))
    await asyncio.sleep(0)
    assert await ledger.append(ENTRY) == 1
    assert await outcome == 0
    assert control.calls == [2]
    peer.close()
    other.close()


async def test_an_outcome_alone_is_sent_by_itself():
    """Without a decision to travel with it goes after a few milliseconds, and further decisions are sent at once again."""
    control = Control()
    peer, other = await joined(control)
    ledger = RemoteLedger(peer)
    assert await Outcomes(ledger).append(ENTRY) == 0
    assert await ledger.append(ENTRY) == 1
    assert control.calls == [1, 1]
    peer.close()
    other.close()
