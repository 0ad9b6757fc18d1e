"""All workers' requests are counted together; a count that cannot be had is an error."""

from __future__ import annotations

import socket

import pytest

from router.errors import StateError
from router.ipc import Peer, connect
from router.ports import Quota
from router.processes.messages import QUOTA
from router.processes.quotas import QuotaDesk, RemoteQuotas
from router.system import SystemClock


async def joined(desk: QuotaDesk | None) -> tuple[Peer, Peer]:
    ours, theirs = socket.socketpair()
    return await connect(ours, {}), await connect(theirs, {QUOTA: desk.take} if desk is not None else {})


async def test_workers_share_what_one_process_counts() -> None:
    """Whichever worker a request comes to."""
    desk = QuotaDesk(SystemClock())
    pairs = [await joined(desk), await joined(desk)]
    workers = [RemoteQuotas(near) for near, _ in pairs]
    quotas = [Quota("wide", 100, 60), Quota("narrow", 3, 60)]
    found = [await workers[number % 2].take(quotas) for number in range(4)]
    assert found[:3] == [None, None, None]
    assert found[3] is not None
    place, wait_s = found[3]
    assert place == 1
    assert 0 < wait_s <= 61
    for near, far in pairs:
        near.close()
        far.close()


async def test_without_an_answer_nothing_is_counted_as_let_in() -> None:
    """The control process is gone, or does not know the question."""
    near, far = await joined(None)
    with pytest.raises(StateError):
        await RemoteQuotas(near).take([Quota("a", 1, 60)])
    far.close()
    await near.closed.wait()
    with pytest.raises(StateError):
        await RemoteQuotas(near).take([Quota("a", 1, 60)])
    near.close()
