"""A connection to Redis on which more is asked than the server has taken yet."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from adapters.redis_state import keeper
from adapters.redis_state.keeper import Keeper
from adapters.redis_state.link import MOST_UNSENT, Link
from router.errors import StateError
from router.settings import Address


class Slow:
    """A transport whose server takes what a test says. `unsent`: bytes that it has not."""

    def __init__(self) -> None:
        self.unsent = 0
        self.aborted = False
        self.high = 0

    def write(self, data: bytes) -> None:
        self.unsent += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def abort(self) -> None:
        self.aborted = True


def linked(failures: int) -> tuple[Link, Slow]:
    link, wire = Link(Address("redis", 6379), failures), Slow()
    link.connection_made(cast(Any, wire))
    return link, wire


async def late(link: Link, wire: Slow, taken: int) -> str:
    """The code of a question while which the server takes so many bytes and answers nothing."""
    asking = asyncio.ensure_future(link.ask("PING", until=asyncio.get_running_loop().time()))
    await asyncio.sleep(0)
    wire.unsent -= taken
    with pytest.raises(StateError) as caught:
        await asking
    return caught.value.code


async def test_a_server_that_still_takes_what_came_before_does_not_hang() -> None:
    """A question behind a long answer is late by the time that the answer takes on the wire; the connection is not given up for that."""
    link, wire = linked(failures=2)
    wire.write(b"x" * 10_000_000)
    assert [await late(link, wire, taken=1_000_000) for _ in range(5)] == ["shared_state_late"] * 5
    assert not wire.aborted
    assert [await late(link, wire, taken=0) for _ in range(2)] == ["shared_state_late"] * 2
    assert wire.aborted


async def test_what_waits_to_be_sent_is_bounded() -> None:
    """Beyond that nobody asks, or waits; and the connection goes on, for it is ended where the server does not answer."""
    link, wire = linked(failures=2)
    link.pause_writing()
    with pytest.raises(StateError) as caught:
        await link.ask("PING", until=asyncio.get_running_loop().time() + 60)
    assert (caught.value.code, wire.high, wire.unsent, wire.aborted) == ("shared_state_late", MOST_UNSENT, 0, False)


@pytest.mark.parametrize("full", [False, True])
async def test_a_heartbeat_behind_a_long_answer_ends_no_connection(full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is late by the time that the answer takes on the wire, or is not sent at all. A server that takes nothing is let go."""
    monkeypatch.setattr(keeper, "HEARTBEAT_S", 0.01)
    link, wire = linked(failures=1)
    link._written = wire.unsent = 100_000_000
    if full:
        link.pause_writing()
    watching = asyncio.create_task(Keeper._watch(link))
    for _ in range(100):
        await asyncio.sleep(0.001)
        wire.unsent -= 1000
    assert not wire.aborted
    async with asyncio.timeout(20):
        while not wire.aborted:  # noqa: ASYNC110  # a transport tells nobody
            await asyncio.sleep(0.01)
        link.connection_lost(None)
        await watching
