"""Calls between processes: many at once, each answered, none left waiting."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest

from router import ipc
from router.errors import AuditError
from router.ipc import Peer, RemoteError, connect


async def echo(payload: Any) -> Any:
    return payload


async def fail(_: Any) -> Any:
    raise AuditError("the disk is full", "disk_full")


async def broken(_: Any) -> Any:
    raise ZeroDivisionError("private detail")


async def odd(_: Any) -> Any:
    return object()


HANDLERS = {"echo": echo, "fail": fail, "broken": broken, "odd": odd}


@asynccontextmanager
async def pair(handlers: Any = HANDLERS) -> AsyncIterator[tuple[Peer, Peer]]:
    left, right = socket.socketpair()
    ends = await connect(left, HANDLERS), await connect(right, handlers)
    try:
        yield ends
    finally:
        for end in ends:
            end.close()
        await asyncio.gather(*(end.closed.wait() for end in ends))


@pytest.mark.parametrize("payload", [None, 1, "grüß", b"\x00\xff", [1, [2]], {"a": None}, "x" * 300_000])
async def test_a_call_is_answered(payload: Any) -> None:
    """Values come back as they went, small and large, from both sides."""
    async with pair() as (here, there):
        assert await here.call("echo", payload) == payload
        assert await there.call("echo", payload) == payload


async def test_many_calls_at_once_get_their_own_answers() -> None:
    """Answers find their callers whatever their order."""

    async def late(payload: int) -> int:
        await asyncio.sleep(0.001 * (50 - payload))
        return payload

    async with pair({"late": late}) as (here, _):
        assert await asyncio.gather(*(here.call("late", number) for number in range(50))) == list(range(50))


async def test_an_error_keeps_its_code() -> None:
    """The caller hears code and sentence of the other side's error."""
    async with pair() as (here, _):
        with pytest.raises(RemoteError, match="the disk is full") as caught:
            await here.call("fail")
        assert caught.value.code == "disk_full"


@pytest.mark.parametrize("kind", ["broken", "odd"])
async def test_a_fault_is_answered_without_its_details(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong in a handler, the caller hears so and the log has the rest."""
    async with pair() as (here, _):
        with pytest.raises(RemoteError) as caught:
            await here.call(kind)
    assert caught.value.code == "internal"
    assert "private detail" not in str(caught.value)
    assert f"the call '{kind}' failed" in caplog.text


async def test_an_unknown_call_is_an_error() -> None:
    """Nobody waits for an answer that never comes."""
    async with pair() as (here, _):
        with pytest.raises(RemoteError) as caught:
            await here.call("nothing")
        assert caught.value.code == "unknown_call"


async def test_a_peer_that_goes_away_fails_what_waits_for_it() -> None:
    """Calls under way and later ones end with `peer_gone`."""

    async def never(_: Any) -> None:
        await asyncio.Event().wait()

    async with pair({"never": never}) as (here, there):
        waiting = asyncio.ensure_future(here.call("never"))
        await asyncio.sleep(0.01)
        there.close()
        with pytest.raises(RemoteError) as caught:
            await waiting
        assert caught.value.code == "peer_gone"
        await here.closed.wait()
        with pytest.raises(RemoteError):
            await here.call("echo")
        for task in list(there._tasks):
            task.cancel()


async def test_a_caller_may_stop_waiting() -> None:
    """An answer that nobody waits for any more is dropped and disturbs no other call."""

    async def late(_: Any) -> str:
        await asyncio.sleep(0.02)
        return "late"

    async with pair({"late": late, "echo": echo}) as (here, _):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(here.call("late"), 0.005)
        await asyncio.sleep(0.03)
        assert await here.call("echo", 1) == 1
        assert here._waiting == {}


@pytest.mark.parametrize(
    ("payload", "code"),
    [(object(), "call_unsendable"), ("\ud800", "call_unsendable"), (b"x" * 200, "call_too_large")],
    ids=("object", "surrogate", "large"),
)
async def test_what_cannot_be_sent_fails_its_call_alone(payload: Any, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beginning a call never raises: whoever waits for the answer hears of it, and later calls go on."""
    monkeypatch.setattr(ipc, "MAX_FRAME", 100)
    async with pair() as (here, _):
        answer = here.begin("echo", payload)
        with pytest.raises(RemoteError) as caught:
            await answer
        assert caught.value.code == code
        assert here._waiting == {}
        assert await here.call("echo", 1) == 1


async def test_a_call_that_is_too_large_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before it is sent, in both directions, and the connection stays."""

    async def large(_: Any) -> bytes:
        return b"x" * 2000

    monkeypatch.setattr(ipc, "MAX_FRAME", 1000)
    async with pair({"large": large, "echo": echo}) as (here, _):
        for kind, payload in (("echo", b"x" * 2000), ("large", None)):
            with pytest.raises(RemoteError) as caught:
                await here.call(kind, payload)
            assert caught.value.code == "call_too_large"
        assert await here.call("echo", 1) == 1


async def test_frames_may_arrive_in_pieces() -> None:
    """The wire's boundaries are not the calls'."""
    left, right = socket.socketpair()
    peer = await connect(left, HANDLERS)
    right.setblocking(False)
    loop = asyncio.get_running_loop()
    frame = msgpack.packb([7, "echo", "hi"])
    for byte in struct.pack(">I", len(frame)) + frame:
        await loop.sock_sendall(right, bytes((byte,)))
        await asyncio.sleep(0)
    answer = await loop.sock_recv(right, 1000)
    assert msgpack.unpackb(answer[4:]) == [7, "", "hi"]
    peer.close()
    await peer.closed.wait()
    right.close()


async def test_a_frame_that_is_too_large_closes_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    """A length that no peer of ours sends is not waited for."""
    left, right = socket.socketpair()
    peer = await connect(left, HANDLERS)
    right.send(struct.pack(">I", ipc.MAX_FRAME + 1))
    await asyncio.wait_for(peer.closed.wait(), 30)
    right.close()
    assert "was refused" in caplog.text
