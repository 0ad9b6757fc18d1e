"""Who comes first with a key, who comes again, and what is remembered: in the control process, over its socket, and on Redis."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from adapters.local_repeats import LocalRepeats
from adapters.redis_state.repeats import RedisRepeats
from router.errors import StateError
from router.ipc import connect
from router.ports import Repeats, Turn
from router.processes.messages import REPEAT_BEGIN, REPEAT_END, REPEAT_RELEASE
from router.processes.repeats import RemoteRepeats, RepeatDesk
from router.system import SystemClock
from tests.contract.redis_by_hand import ByHand
from tests.faults.test_shared_state import opened
from tests.redis_server import RedisServer
from tests.unit.identity.parts import HandClock

Make = Callable[[], AbstractAsyncContextManager[Repeats]]
ANSWER = b'{"status": 201}'


@pytest.fixture(params=["local", "desk", "redis"])
def make(request: pytest.FixtureRequest) -> Make:
    @asynccontextmanager
    async def made() -> AsyncIterator[Repeats]:
        if request.param == "local":
            yield LocalRepeats(SystemClock())
        elif request.param == "desk":
            desk = RepeatDesk(SystemClock())
            near, far = socket.socketpair()
            handlers = {REPEAT_BEGIN: desk.begin, REPEAT_END: desk.end, REPEAT_RELEASE: desk.release}
            peers = await connect(near, {}), await connect(far, handlers)
            yield RemoteRepeats(peers[0])
            for peer in peers:
                peer.close()
        else:
            state = ByHand(request.getfixturevalue("redis_server"), lambda: 0)
            await state.open()
            try:
                yield RedisRepeats(state, b"secret")
            finally:
                await state.close()

    return made


async def test_the_first_claims_and_the_next_hears_its_answer(make: Make) -> None:
    """Under way until it ended, then answered, as often as it is asked."""
    async with make() as repeats:
        assert await repeats.begin("k", "f", "one", 60) == (Turn.FIRST, b"")
        assert await repeats.begin("k", "f", "two", 60) == (Turn.UNDER_WAY, b"")
        await repeats.end("k", "one", ANSWER, 60)
        assert [await repeats.begin("k", "f", token, 60) for token in ("two", "three")] == [(Turn.ANSWERED, ANSWER)] * 2
        assert await repeats.begin("other", "f", "four", 60) == (Turn.FIRST, b"")


async def test_of_many_at_once_one_is_the_first(make: Make) -> None:
    """Whoever it is."""
    async with make() as repeats:
        turns = await asyncio.gather(*(repeats.begin("k", "f", str(number), 60) for number in range(20)))
        assert sorted(turn.value for turn, _ in turns) == ["first"] + ["under_way"] * 19


async def test_a_key_is_for_one_request(make: Make) -> None:
    """Another one under the same key is told apart, while the first is under way and afterwards, and learns nothing of its answer."""
    async with make() as repeats:
        await repeats.begin("k", "f", "one", 60)
        assert await repeats.begin("k", "g", "two", 60) == (Turn.OTHER, b"")
        await repeats.end("k", "one", ANSWER, 60)
        assert await repeats.begin("k", "g", "two", 60) == (Turn.OTHER, b"")


async def test_an_answer_that_is_not_kept_is_none(make: Make) -> None:
    """That there was a request is remembered."""
    async with make() as repeats:
        await repeats.begin("k", "f", "one", 60)
        await repeats.end("k", "one", None, 60)
        assert await repeats.begin("k", "f", "two", 60) == (Turn.UNANSWERED, b"")


async def test_what_had_no_effect_is_let_go(make: Make) -> None:
    """The next is the first."""
    async with make() as repeats:
        await repeats.begin("k", "f", "one", 60)
        await repeats.release("k", "one")
        assert await repeats.begin("k", "g", "two", 60) == (Turn.FIRST, b"")


async def test_only_who_claimed_it_ends_it_and_only_once(make: Make) -> None:
    """Somebody who comes late with another token, or twice, changes nothing."""
    async with make() as repeats:
        await repeats.begin("k", "f", "one", 60)
        await repeats.end("k", "two", b"forged", 60)
        await repeats.release("k", "two")
        assert await repeats.begin("k", "f", "three", 60) == (Turn.UNDER_WAY, b"")
        await repeats.end("k", "one", ANSWER, 60)
        await repeats.end("k", "one", b"again", 60)
        await repeats.release("k", "one")
        assert await repeats.begin("k", "f", "three", 60) == (Turn.ANSWERED, ANSWER)
        await repeats.end("nobody's", "one", ANSWER, 60)
        assert await repeats.begin("nobody's", "f", "one", 60) == (Turn.FIRST, b"")


async def test_any_bytes_are_an_answer(make: Make) -> None:
    """Of any length, none included."""
    async with make() as repeats:
        for number, answer in enumerate((b"\0\xff" * 40_000, bytes(range(256)))):
            await repeats.begin(str(number), "f", "one", 60)
            await repeats.end(str(number), "one", answer, 60)
            assert await repeats.begin(str(number), "f", "two", 60) == (Turn.ANSWERED, answer)


async def test_memory_forgets_in_time_and_is_bounded() -> None:
    """Claims and answers have their own spans; more keys than fit are an error, and answers that do not fit are not kept."""
    clock = HandClock(0)
    repeats = LocalRepeats(clock, capacity=2, room=10)
    await repeats.begin("a", "f", "one", 10)
    await repeats.end("a", "one", b"12345678", 60)
    await repeats.begin("b", "f", "one", 10)
    await repeats.end("b", "one", b"12345678", 60)
    assert (await repeats.begin("a", "f", "two", 10))[0] is Turn.ANSWERED
    assert (await repeats.begin("b", "f", "two", 10))[0] is Turn.UNANSWERED
    with pytest.raises(StateError) as caught:
        await repeats.begin("c", "f", "one", 10)
    assert caught.value.code == "idempotency_unavailable"
    clock.forward(61)
    assert (await repeats.begin("c", "f", "one", 10))[0] is Turn.FIRST
    assert (await repeats.begin("a", "f", "two", 10))[0] is Turn.FIRST
    clock.forward(11)
    assert (await repeats.begin("a", "f", "three", 10))[0] is Turn.FIRST
    assert len(repeats) <= 2


async def test_redis_holds_no_answer_in_the_clear(redis_server: RedisServer) -> None:
    """Who reads it sees neither the answer nor whose it is, and a node with another key does not pass it on."""
    states = [ByHand(redis_server, lambda: 0) for _ in range(2)]
    states[1].names = states[0].names
    for state in states:
        await state.open()
    try:
        one, two = RedisRepeats(states[0], b"secret"), RedisRepeats(states[1], b"another")
        await one.begin("subject:alice k", "f", "one", 60)
        await one.end("subject:alice k", "one", b"balance: 4711", 60)
        name = states[0].names.of("repeat", "subject:alice k")
        said = redis_server.ask("HGETALL", name)
        assert "balance" not in said
        assert "alice" not in name + said
        with pytest.raises(StateError):
            await two.begin("subject:alice k", "f", "two", 60)
    finally:
        for state in states:
            await state.close()


async def test_redis_forgets_in_time(redis_server: RedisServer) -> None:
    """A claim has its own span, and so has an answer."""
    async with opened(server=redis_server.address, prefix="span") as state:
        repeats = RedisRepeats(state, b"secret")
        await repeats.begin("k", "f", "one", 100)
        name = state.names.of("repeat", "k")
        assert 90_000 < int(redis_server.ask("PTTL", name)) <= 100_000
        await repeats.end("k", "one", ANSWER, 1000)
        assert 990_000 < int(redis_server.ask("PTTL", name)) <= 1_000_000


async def test_a_key_of_any_length_takes_as_much_as_any_other() -> None:
    """In this process's memory, which is that of the control process."""
    repeats = LocalRepeats(SystemClock())
    tracemalloc.start()
    try:
        for number in range(64):
            await repeats.begin(f"{number}".rjust(1 << 20), "f", "one", 60)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(repeats) == 64
    assert taken < 1 << 20
    assert await repeats.begin("7".rjust(1 << 20), "f", "two", 60) == (Turn.UNDER_WAY, b"")
