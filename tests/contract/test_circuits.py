"""What processes tell each other of upstreams that fail: within one process, and on Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.local_circuits import LocalCircuits
from adapters.redis_state.circuits import RedisCircuits
from router.ports import CircuitBoard, Telling, Told
from tests.contract.redis_by_hand import ByHand
from tests.faults.test_shared_state import opened
from tests.redis_server import RedisServer
from tests.unit.identity.parts import HandClock

NAMES = ["circuit a", "circuit b"]


@pytest.fixture
def clock() -> HandClock:
    return HandClock(0)


@pytest.fixture(params=["local", "redis"])
async def board(request: pytest.FixtureRequest, clock: HandClock) -> AsyncIterator[CircuitBoard]:
    if request.param == "local":
        yield LocalCircuits(clock)
        return
    state = ByHand(request.getfixturevalue("redis_server"), clock.now_ns)
    await state.open()
    yield RedisCircuits(state)
    await state.close()


def a(what: Told, lasts: float = 10.0) -> Telling:
    return Telling("circuit a", what, lasts)


async def test_what_one_tells_the_other_reads(board: CircuitBoard, clock: HandClock) -> None:
    """Who, and for how long still; nothing about what nobody told of."""
    assert await board.exchange("aa", [], NAMES) == {}
    await board.exchange("aa", [a(Told.OPEN)], NAMES)
    clock.forward(4)
    found = await board.exchange("bb", [], NAMES)
    assert set(found) == {"circuit a"}
    posted = found["circuit a"]
    assert (posted.open, posted.lasts, posted.who) == (True, 6.0, "aa")
    clock.forward(7)
    assert (await board.exchange("bb", [], NAMES))["circuit a"].lasts == 0.0


async def test_who_tells_reads_it_as_well(board: CircuitBoard) -> None:
    """Telling and reading are one."""
    found = await board.exchange("aa", [a(Told.OPEN), Telling("circuit b", Told.CLOSED, 1.0)], NAMES)
    assert [(name, posted.open) for name, posted in sorted(found.items())] == [("circuit a", True), ("circuit b", False)]
    assert set(await board.exchange("bb", [], ["circuit b"])) == {"circuit b"}


async def test_an_opening_under_anothers_is_no_news(board: CircuitBoard, clock: HandClock) -> None:
    """Many see an upstream fail at once; one has the turn. When its time is over another opening is news."""
    first = (await board.exchange("aa", [a(Told.OPEN)], NAMES))["circuit a"]
    clock.forward(1)
    second = (await board.exchange("bb", [a(Told.OPEN)], NAMES))["circuit a"]
    assert (second.who, second.version, second.lasts) == ("aa", first.version, 9.0)
    clock.forward(10)
    third = (await board.exchange("bb", [a(Told.OPEN)], NAMES))["circuit a"]
    assert (third.who, third.lasts) == ("bb", 10.0)
    assert third.version != first.version


async def test_a_probe_takes_the_turn(board: CircuitBoard, clock: HandClock) -> None:
    """The same process that probes again says nothing new; another one does, also while the first one's time runs."""
    first = (await board.exchange("aa", [a(Told.OPEN)], NAMES))["circuit a"]
    clock.forward(10)
    again = (await board.exchange("aa", [a(Told.PROBE)], NAMES))["circuit a"]
    assert (again.version, again.lasts) == (first.version, 10.0)
    clock.forward(1)
    other = (await board.exchange("bb", [a(Told.PROBE)], NAMES))["circuit a"]
    assert (other.who, other.lasts) == ("bb", 10.0)
    assert other.version != first.version


async def test_who_opens_anew_after_its_time_says_something_new(board: CircuitBoard, clock: HandClock) -> None:
    """Else nobody would hear of the second outage that the same process sees."""
    first = (await board.exchange("aa", [a(Told.OPEN)], NAMES))["circuit a"]
    clock.forward(60)
    second = (await board.exchange("aa", [a(Told.OPEN)], NAMES))["circuit a"]
    assert second.version != first.version


async def test_closed_is_news_and_so_is_the_next_opening(board: CircuitBoard, clock: HandClock) -> None:
    """Whoever says so."""
    versions = []
    for who, what in (("aa", Told.OPEN), ("bb", Told.CLOSED), ("aa", Told.OPEN), ("aa", Told.CLOSED)):
        clock.forward(1)
        posted = (await board.exchange(who, [a(what)], NAMES))["circuit a"]
        assert (posted.open, posted.who) == (what is Told.OPEN, who)
        versions.append(posted.version)
    assert len(set(versions)) == 4


async def test_redis_learns_no_address_and_forgets(redis_server: RedisServer) -> None:
    """Fields are digests, and the board has an end."""
    async with opened(server=redis_server.address, prefix="quiet") as state:
        name = "circuit pay http://10.1.2.3:80"
        await RedisCircuits(state).exchange("aa", [Telling(name, Told.OPEN, 5.0)], [name])
        (key,) = redis_server.ask("KEYS", "quiet:*").split()
        assert "10.1.2.3" not in redis_server.ask("HGETALL", key)
        assert 0 < int(redis_server.ask("PTTL", key)) <= 1_200_000


@pytest.mark.parametrize("value", ["nonsense", "", "open x aa 1", "open 99999999999999999999999999 aa 1", "open 1 aa", "\0" * 100])
async def test_what_somebody_else_wrote_there_is_survived(redis_server: RedisServer, value: str) -> None:
    """It is read as nothing, or as what ends by itself; and the next who tells overwrites it."""
    async with opened(server=redis_server.address, prefix="forged") as state:
        board = RedisCircuits(state)
        await board.exchange("aa", [a(Told.OPEN)], NAMES)
        (key,) = redis_server.ask("KEYS", "forged:*").split()
        field = redis_server.ask("HKEYS", key).split()[0]
        redis_server.ask("HSET", key, field, value.replace("\0", "z"))
        await board.exchange("bb", [], NAMES)
        posted = (await board.exchange("bb", [a(Told.OPEN)], NAMES))["circuit a"]
        assert (posted.who, posted.open) == ("bb", True)
        assert posted.lasts == pytest.approx(10.0, abs=1.0)
        redis_server.ask("DEL", key)
