"""Redis Streams as a destination and as an event source, over real servers."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest

from tests.needs import needs

needs("hiredis", "pip install 'lockgate[redis]'")

from adapters.messaging.aside import REASON
from adapters.messaging.destination import MessageDestination
from adapters.redis_state.link import Access, connect
from adapters.redis_stream_consumer import StreamConsumer
from adapters.redis_stream_consumer import build as build_consumer
from adapters.redis_stream_destination import Config, build, known
from adapters.redis_streams.config import StreamSource
from router.errors import ConfigError, DestinationError
from router.system import SystemClock, SystemRandom
from tests import redis_server as redis
from tests.contract import consumer_promises, message_promises
from tests.contract.consumer_promises import SOURCE_NAME, Aside, Yard, contents, nothing, one, opened, some
from tests.contract.message_promises import Case, asked, id_of
from tests.redis_server import RedisServer

DURABLE = {"appendonly": "yes", "appendfsync": "always"}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis.running(**DURABLE) as made:
        yield made


@pytest.fixture
def stream() -> str:
    return f"s-{uuid.uuid4()}"


async def ask(server: RedisServer, *command: str | bytes | int) -> Any:
    link = await connect(server.address, Access())
    try:
        return await link.ask(*command, until=asyncio.get_running_loop().time() + 5)
    finally:
        link.close()


async def entries(server: RedisServer, stream: str) -> list[dict[bytes, bytes]]:
    found = await ask(server, "XRANGE", stream, "-", "+")
    return [dict(zip(fields[::2], fields[1::2], strict=True)) for _, fields in found]


async def destination(server: RedisServer, **settings: Any) -> MessageDestination:
    given = {"server": str(server.address), **settings}
    made = build(Config.model_validate(given), name="orders", clock=SystemClock(), random=SystemRandom())
    await made.open()
    return made


async def refused(made: MessageDestination, body: bytes = b"{}") -> DestinationError:
    with pytest.raises(DestinationError) as raised:
        await made.send(asked(body))
    return raised.value


class TestDestination(message_promises.Promises):
    @pytest.fixture
    async def case(self, server: RedisServer, stream: str) -> AsyncIterator[Case]:
        made = await destination(server, stream=stream)

        async def arrived(message_id: str) -> Sequence[bytes]:
            return [each[b"body"] for each in await entries(server, stream) if each[b"id"] == id_of(message_id).encode()]

        yield Case(made, arrived)
        await made.close()


async def test_an_entry_has_the_decision_the_trace_and_its_own_fields(server: RedisServer, stream: str) -> None:
    made = await destination(server, stream=f"{stream}-{{{{ decision.risk }}}}", fields={"tenant": "{{ subject.tenant }}"})
    await made.send(asked(bytes(range(256)), [(b"x-lockgate-tenant", b"halden"), (b"content-type", b"application/octet-stream")]))
    await made.close()
    (entry,) = await entries(server, f"{stream}-high")
    assert (entry[b"body"], entry[b"tenant"], entry[b"content-type"]) == (bytes(range(256)), b"halden", b"application/octet-stream")
    assert entry[b"traceparent"].startswith(b"00-0af7651916cd43dd8448eb211c80319c")
    assert entry[b"id"] == entry[b"x-lockgate-decision-id"]


async def test_two_callers_with_the_same_key_have_asked_for_two_things(server: RedisServer, stream: str) -> None:
    made = await destination(server, stream=stream)
    for subject in (b"anna", b"berta", b"anna"):
        await made.send(asked(b"{}", [(b"x-lockgate-subject", subject)], key="k"))
    await made.close()
    assert [each[b"x-lockgate-subject"] for each in await entries(server, stream)] == [b"anna", b"berta"]


async def test_a_stream_is_kept_short_and_an_id_is_forgotten_in_time(server: RedisServer, stream: str) -> None:
    made = await destination(server, stream=stream, keep=100, remember="60s")
    for begin in range(0, 400, 100):
        await asyncio.gather(*(made.send(asked(b"{}", key=f"k{number}")) for number in range(begin, begin + 100)))
    await made.close()
    assert 100 <= await ask(server, "XLEN", stream) < 300
    assert 0 < await ask(server, "PTTL", known(stream, id_of("k0"))) <= 60_000


async def test_what_is_no_stream_is_refused(server: RedisServer, stream: str) -> None:
    await ask(server, "SET", stream, "text")
    made = await destination(server, stream=stream)
    error = await refused(made)
    assert (error.code, error.final) == ("upstream_refused", True)
    await made.close()


async def test_a_server_that_is_full_takes_nothing_and_says_so(stream: str) -> None:
    with redis.running() as small:
        made = await destination(small, stream=stream, retries={"attempts": 1})
        await ask(small, "CONFIG", "SET", "maxmemory", "1")
        assert (await refused(made)).code == "upstream_throttled"
        await ask(small, "CONFIG", "SET", "maxmemory", "0")
        assert (await made.send(asked(b"{}"))).status == 202
        await made.close()


async def test_a_credential_that_is_refused_is_a_denial(stream: str) -> None:
    with redis.running(requirepass="sesame") as locked:
        for settings in ({}, {"password": "wrong"}):
            made = await destination(locked, stream=stream, **settings)
            assert (await refused(made)).code == "upstream_denied"
            await made.close()
        made = await destination(locked, stream=stream, password="sesame")
        assert (await made.send(asked(b"{}"))).status == 202
        await made.close()


async def test_what_was_acknowledged_is_there_once_after_a_kill_and_a_server_that_is_away_is_no_reason_not_to_open() -> None:
    with redis.made(**DURABLE) as server:
        made = await destination(server, stream="s", retries={"attempts": 1}, circuit={"failures": 1000}, retry="50ms")
        assert (await refused(made)).code == "connect_failed"
        server.start()
        confirmed, stop = set[str](), asyncio.Event()

        async def sends(number: int) -> None:
            turn = 0
            while not stop.is_set():
                key, turn = f"{number}-{turn}", turn + 1
                while key not in confirmed and not stop.is_set():  # the same again, until it is acknowledged
                    try:
                        await made.send(asked(b"{}", key=key))
                        confirmed.add(key)
                    except DestinationError:
                        await asyncio.sleep(0.02)

        sending = [asyncio.create_task(sends(number)) for number in range(5)]
        await asyncio.sleep(0.7)
        await asyncio.to_thread(server.signal, signal.SIGKILL)
        before = len(confirmed)
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(20):
            while len(confirmed) < before + 50:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.02)
        stop.set()
        await asyncio.gather(*sending)
        await made.close()
        there = [each[b"id"].decode() for each in await entries(server, "s")]
        assert before > 0
        assert {id_of(key) for key in confirmed} <= set(there)
        assert len(there) == len(set(there))


def consumer(server: RedisServer, stream: str, **settings: Any) -> StreamConsumer:
    given = {"server": str(server.address), "stream": stream, "dead_letter": f"{stream}-dead", "idle": "2s", "begin": "all", **settings}
    return build_consumer(StreamSource.model_validate(given), name=SOURCE_NAME, clock=SystemClock(), random=SystemRandom())


def a_yard(server: RedisServer, stream: str, **settings: Any) -> Yard:
    async def put(content: bytes, fields: Mapping[str, str], key: str) -> None:
        pairs = [part for pair in fields.items() for part in pair]
        await ask(server, "XADD", stream, "*", *pairs, "body", content)

    async def buried() -> Sequence[Aside]:
        found = await entries(server, f"{stream}-dead")
        return [(each[b"body"], {name.decode(): text.decode() for name, text in each.items() if name != b"body"}) for each in found]

    async def kill() -> None:
        await asyncio.to_thread(server.signal, signal.SIGKILL)

    async def revive() -> None:
        await asyncio.to_thread(server.start)

    return Yard(lambda: consumer(server, stream, **settings), put, buried, kill, revive, ordered=False)


class TestSource(consumer_promises.Promises):
    @pytest.fixture
    async def yard(self, server: RedisServer, stream: str) -> Yard:
        return a_yard(server, stream)


async def test_a_consumer_that_died_loses_nothing_and_one_that_lives_keeps_what_it_has(server: RedisServer, stream: str) -> None:
    yard = a_yard(server, stream, idle="1s")
    dying = consumer(server, stream, idle="1s")
    await dying.open()
    await yard.put(b"orphan", {}, "k")
    await one(dying)
    for task in dying._tasks:
        task.cancel()  # as a crash does
    async with opened(yard) as other:
        again = await one(other)
        assert (again.content, again.tries) == (b"orphan", 2)
        async with opened(yard) as third:
            await nothing(third, 3.0)
        await other.acknowledge([again])
    with suppress(DestinationError):
        await dying.close()


async def test_tries_are_kept_when_this_process_ends(server: RedisServer, stream: str) -> None:
    yard = a_yard(server, stream)
    async with opened(yard) as reader:
        await yard.put(b"again", {}, "k")
        for _ in range(3):
            await reader.give_back(await one(reader), 0.0)
        assert (await one(reader)).tries == 4
    async with opened(yard) as reader:
        assert (await one(reader)).tries >= 4


async def test_nothing_stays_in_the_group_of_a_consumer_that_closed(server: RedisServer, stream: str) -> None:
    yard = a_yard(server, stream)
    async with opened(yard) as reader:
        await yard.put(b"1", {}, "k")
        await one(reader)
    names = [each[1] for each in await ask(server, "XINFO", "CONSUMERS", stream, "lockgate")]
    assert names == [b"lockgate-returned"]
    assert (await ask(server, "XPENDING", stream, "lockgate"))[0] == 1


async def test_a_group_that_is_made_begins_where_the_settings_say(server: RedisServer, stream: str) -> None:
    yard = a_yard(server, stream)
    await yard.put(b"before", {}, "k")
    async with opened(a_yard(server, stream, group="late", begin="new")) as reader:
        await yard.put(b"after", {}, "k")
        assert (await one(reader, acknowledge=True)).content == b"after"
    async with opened(a_yard(server, stream, group="whole", begin="all")) as reader:
        assert contents(await some(reader, 2)) == [b"before", b"after"]


async def test_an_entry_without_the_content_field_is_its_fields(server: RedisServer, stream: str) -> None:
    async with opened(a_yard(server, stream)) as reader:
        await ask(server, "XADD", stream, "*", "order", "7")
        taken = await one(reader, acknowledge=True)
    assert (taken.content, taken.content_type) == (b'{"order":"7"}', "application/json")
    assert taken.fields["message-id"]


async def test_what_is_buried_is_moved_once(server: RedisServer, stream: str) -> None:
    yard = a_yard(server, stream)
    async with opened(yard) as reader:
        await yard.put(b"bad", {}, "k")
        taken = await one(reader)
        await reader.bury(taken, "event_invalid")
        with pytest.raises(DestinationError):
            await reader.bury(taken, "event_invalid")
    ((_, fields),) = await yard.buried()
    assert fields[REASON] == "event_invalid"
    assert (await ask(server, "XPENDING", stream, "lockgate"))[0] == 0


async def test_streams_of_a_cluster_are_in_one_slot(server: RedisServer, stream: str) -> None:
    settings = StreamSource.model_validate({"cluster": [str(server.address)], "stream": stream, "dead_letter": f"{stream}-dead"})
    made = build_consumer(settings, name=SOURCE_NAME, clock=SystemClock(), random=SystemRandom())
    with pytest.raises(ConfigError, match="slots"):
        await made.open()
    await made.close()


async def test_what_is_no_stream_cannot_be_read(server: RedisServer, stream: str) -> None:
    await ask(server, "SET", stream, "text")
    made = consumer(server, stream)
    with pytest.raises(DestinationError) as raised:
        await made.open()
    assert raised.value.code == "upstream_refused"
    await made.close()
