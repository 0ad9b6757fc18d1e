"""Redis Streams behind sentinels that move the master, in a cluster, and behind TLS that must prove itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.messaging.destination import MessageDestination
from adapters.redis_stream_consumer import StreamConsumer
from adapters.redis_stream_consumer import build as build_consumer
from adapters.redis_stream_destination import Config, build
from adapters.redis_streams.config import StreamSource
from router.errors import ConfigError, DestinationError
from router.system import SystemClock, SystemRandom
from tests import redis_server
from tests.contract.consumer_promises import one
from tests.contract.message_promises import asked, id_of
from tests.faults.test_redis_places import clustered, encrypted, watched
from tests.faults.test_upstream_tls import Authority
from tests.redis_server import RedisServer

__all__ = ["encrypted"]


@asynccontextmanager
async def sender(stream: str = "s", **settings: Any) -> AsyncIterator[MessageDestination]:
    given = {"retry": "50ms", "retries": {"attempts": 1}, "circuit": {"failures": 1000}, **settings}
    made = build(Config.model_validate({"stream": stream, **given}), name="orders", clock=SystemClock(), random=SystemRandom())
    await made.open()
    try:
        yield made
    finally:
        await made.close()


def reader(stream: str = "s", **settings: Any) -> StreamConsumer:
    given = {"begin": "all", "idle": "1s", "dead_letter": f"{{{stream}}}-dead", "retry": "50ms", **settings}
    return build_consumer(StreamSource.model_validate({"stream": stream, **given}), name="o", clock=SystemClock(), random=SystemRandom())


async def until_sent(made: MessageDestination, key: str) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await made.send(asked(b"{}", key=key))
                return
            except DestinationError:
                await asyncio.sleep(0.1)


async def code(made: MessageDestination) -> str:
    with pytest.raises(DestinationError) as raised:
        await made.send(asked(b"{}"))
    return raised.value.code


async def test_the_master_is_followed_when_it_fails_over() -> None:
    """What the replica had is read from it, each message once."""
    with watched() as (master, replica, sentinel):
        place = {"sentinel": {"nodes": [str(sentinel.address)], "master": "gate"}}
        async with sender(**place) as made:
            await made.send(asked(b"{}", key="before"))
            await asyncio.to_thread(redis_server.until, lambda: replica.ask("XLEN", "s") == "1", "the replica has it")
            master.signal(signal.SIGKILL)
            await until_sent(made, "after")
            await until_sent(made, "before")
            assert replica.ask("XLEN", "s") == "2"
        source = reader(**place)
        await source.open()
        assert {(await one(source, acknowledge=True)).fields["id"] for _ in range(2)} == {id_of("before"), id_of("after")}
        await source.close()


async def test_a_cluster_has_each_stream_where_it_belongs() -> None:
    """And what is remembered of it, and where its entries are put aside, beside it."""
    with clustered() as servers:
        place = {"cluster": [str(servers[0].address)]}
        async with sender("s{{ body.n }}", **place) as made:
            for _ in range(2):
                for number in range(12):
                    await made.send(asked(b'{"n":%d}' % number, key=f"k{number}"))
        assert sum(int(server.ask("DBSIZE")) for server in servers) == 24
        assert all(int(server.ask("DBSIZE")) for server in servers)
        for number in range(12):
            source = reader(f"s{number}", **place)
            await source.open()
            taken = await one(source)
            assert taken.fields["id"] == id_of(f"k{number}")
            await source.bury(taken, "event_invalid")
            await source.close()


async def test_tls_both_ways(encrypted: tuple[RedisServer, Authority], tmp_path: Path) -> None:  # pytest's way
    server, authority = encrypted
    certificate, key = authority.issue("lockgate")
    place = {"server": str(server.address), "tls": {"ca": str(authority.ca), "certificate": str(certificate), "key": str(key)}}
    async with sender(**place) as made:
        assert (await made.send(asked(b"{}", key="k"))).status == 202
    source = reader(**place)
    await source.open()
    assert (await one(source, acknowledge=True)).fields["id"] == id_of("k")
    await source.close()
    (tmp_path / "other").mkdir()
    strange = Authority(tmp_path / "other").ca
    async with sender(server=str(server.address), tls={**place["tls"], "ca": str(strange)}) as made:  # type: ignore[dict-item]
        assert await code(made) == "tls_failed"
    async with sender(server=str(server.address)) as made:
        assert await code(made) == "connect_failed"
    with pytest.raises(ConfigError):
        async with sender(server=str(server.address), tls={"ca": "missing.pem"}):
            pass
