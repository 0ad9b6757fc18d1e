"""The worker's side of the ledger: what travels together, and what may wait for it."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

from router.ipc import Peer, connect
from router.ports import Entry
from router.processes.messages import APPEND
from router.processes.remote import LINGER_S, Outcomes, RemoteLedger

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


async def test_records_of_a_busy_worker_share_a_call_though_they_come_one_after_the_other():
    """Each comes a turn of the loop after the one before, which alone would be a call each; with few at hand it is."""
    for at_hand, calls in ((16, [3]), (1, [1, 1, 1])):
        control = Control()
        peer, other = await joined(control)
        ledger = RemoteLedger(peer, partial(int, at_hand))
        appended = []
        for _ in range(3):
            appended.append(asyncio.ensure_future(ledger.append(ENTRY)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert await asyncio.gather(*appended) == [0, 1, 2]
        assert control.calls == calls
        peer.close()
        other.close()


async def test_an_outcome_is_not_kept_waiting_by_an_earlier_one_nor_sent_twice():
    """A decision takes along what waited for it, and the timer of what was taken along is gone with it."""
    control = Control()
    peer, other = await joined(control)
    ledger = RemoteLedger(peer, lambda: 16)
    first = asyncio.ensure_future(Outcomes(ledger).append(ENTRY))
    await asyncio.sleep(0)
    assert await ledger.append(ENTRY) == 1
    second = asyncio.ensure_future(Outcomes(ledger).append(ENTRY))
    assert await asyncio.gather(first, second) == [0, 2]
    await asyncio.sleep(LINGER_S * 2)
    assert control.calls == [2, 1]
    peer.close()
    other.close()
