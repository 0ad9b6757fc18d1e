"""Idempotency keys of two nodes wherever Redis may be: behind sentinels, in a cluster, over TLS; through failovers, losses and moves."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from adapters.memory_destination import Answer
from adapters.redis_state.places import slot
from adapters.redis_state.repeats import RedisRepeats
from adapters.redis_state.state import RedisState
from router.errors import DestinationError
from router.ports import Outbound, Turn
from tests import redis_server
from tests.faults.gateway_harness import House, Reply
from tests.faults.test_redis_places import clustered, watched
from tests.faults.test_repeating import KEEPING
from tests.faults.test_shared_state import opened, until
from tests.faults.test_upstream_tls import Authority
from tests.redis_server import RedisServer

ANSWER = b'{"status": 201}'


class Node(House):
    """A gateway that asks Redis by a connection of its own. Its service answers when `go` is set."""

    def __init__(self, state: RedisState) -> None:
        super().__init__()
        self.state = state
        self.repeats = RedisRepeats(state, b"secret")
        self.runtime = replace(self.runtime, options=replace(self.runtime.options, keeping={"pay": KEEPING}), repeats=self.repeats)
        self.go = asyncio.Event()
        self.go.set()

    async def _handle(self, outbound: Outbound) -> Answer:
        answer = await super()._handle(outbound)
        await self.go.wait()
        return answer

    async def keyed(self, key: str, what: str = "cancel payment 4711") -> Reply:
        return await self.ask(b'{"message": "%s"}' % what.encode(), headers=[(b"idempotency-key", key.encode())])


@asynccontextmanager
async def two(**settings: Any) -> AsyncIterator[tuple[Node, Node]]:
    async with opened(**settings) as one, opened(**settings) as other:
        yield Node(one), Node(other)


@contextmanager
def behind_sentinels(folder: Path) -> Iterator[dict[str, Any]]:
    with watched() as (_, _, sentinel):
        yield {"sentinel": {"nodes": [str(sentinel.address)], "master": "gate"}}


@contextmanager
def on_a_cluster(folder: Path) -> Iterator[dict[str, Any]]:
    with clustered() as servers:
        yield {"cluster": [str(servers[0].address)]}


@contextmanager
def over_tls(folder: Path) -> Iterator[dict[str, Any]]:
    authority = Authority(folder)
    certificate, key = authority.issue("redis", x509.IPAddress(ip_address("127.0.0.1")))
    with redis_server.made(tls_cert_file=certificate, tls_key_file=key, tls_ca_cert_file=authority.ca, tls_auth_clients="yes") as server:
        server.settings |= {"tls-port": str(server.port), "port": "0"}
        server.start()
        ours = authority.issue("lockgate")
        yield {"server": server.address, "tls": {"ca": authority.ca, "certificate": ours[0], "key": ours[1]}}


SHAPES = {"sentinel": behind_sentinels, "cluster": on_a_cluster, "tls": over_tls}


@pytest.fixture(scope="module", params=SHAPES)
def shape(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Settings that lead to a Redis of that shape."""
    with SHAPES[request.param](tmp_path_factory.mktemp("shape")) as settings:
        yield settings


def heard(reply: Reply) -> tuple[int, bytes | None]:
    return reply.status, reply.headers.get(b"idempotent-replayed")


async def test_the_other_node_gives_the_kept_answer_and_refuses_another_request(shape: dict[str, Any]) -> None:
    """Dispatched once; the other node replays the answer, and under the same key another request is 422. A dozen keys, so that each
    node of a cluster has some."""
    async with two(**shape) as (one, other):
        one.answer = Answer(201, [(b"content-type", b"text/plain")], b"first")
        for number in range(12):
            key = f"kept-{number}"
            assert heard(await one.keyed(key)) == (201, None)
            again = await other.keyed(key)
            assert (heard(again), again.body) == ((201, b"true"), b"first")
            another = await other.keyed(key, "cancel payment 4712")
            assert (another.status, another.code) == (422, "idempotency_key_reused")
        assert (len(one.reached), len(other.reached)) == (12, 0)


async def test_while_the_first_is_under_way_the_other_node_refuses(shape: dict[str, Any]) -> None:
    """409 until the service has answered, and the answer afterwards."""
    async with two(**shape) as (one, other):
        one.go.clear()
        first = asyncio.create_task(one.keyed("slow"))
        await until(lambda: len(one.reached) == 1, "it is at the service")
        meanwhile = await other.keyed("slow")
        assert (meanwhile.status, meanwhile.code) == (409, "idempotency_under_way")
        one.go.set()
        assert heard(await first) == (200, None)
        assert heard(await other.keyed("slow")) == (200, b"true")
        assert other.reached == []


async def test_what_never_reached_the_service_may_be_made_again_on_the_other_node(shape: dict[str, Any]) -> None:
    """The key is let go where the service could not be connected to, and kept where it may have had the request."""
    async with two(**shape) as (one, other):
        one.answer = DestinationError("it failed", "connect_failed", 502, sent=False)
        assert (await one.keyed("unsent")).status == 502
        assert heard(await other.keyed("unsent")) == (200, None)
        one.answer = DestinationError("it failed", "upstream_reset", 502, sent=True)
        assert (await one.keyed("sent")).status == 502
        uncertain = await other.keyed("sent")
        assert (uncertain.status, uncertain.code) == (409, "idempotency_unanswered")
        assert len(other.reached) == 1


async def test_a_claim_and_an_answer_end_with_their_time(shape: dict[str, Any]) -> None:
    """By the server's own clock: as they are until then, and nobody's afterwards."""
    async with two(**shape) as (one, other):
        assert await one.repeats.begin("claimed", "f", "one", 1) == (Turn.FIRST, b"")
        assert await one.repeats.begin("answered", "f", "one", 60) == (Turn.FIRST, b"")
        assert await one.repeats.begin("longer", "f", "one", 1) == (Turn.FIRST, b"")
        await one.repeats.end("answered", "one", ANSWER, 1)
        await one.repeats.end("longer", "one", ANSWER, 60)
        assert await other.repeats.begin("answered", "f", "two", 60) == (Turn.ANSWERED, ANSWER)
        await asyncio.sleep(1.1)
        assert await other.repeats.begin("claimed", "g", "two", 60) == (Turn.FIRST, b"")
        assert await other.repeats.begin("answered", "g", "two", 60) == (Turn.FIRST, b"")
        assert await other.repeats.begin("longer", "f", "two", 60) == (Turn.ANSWERED, ANSWER)
        await one.repeats.end("claimed", "one", b"late", 60)
        assert await one.repeats.begin("claimed", "g", "three", 60) == (Turn.UNDER_WAY, b"")


async def test_a_failover_forgets_no_key_that_the_replica_has() -> None:
    """Meanwhile who has a key is refused by name and nothing is dispatched; afterwards the kept answer is given, and what was under way
    before is under way still, until who claimed it says how it ended."""
    with watched() as (master, replica, sentinel):
        async with two(sentinel={"nodes": [str(sentinel.address)], "master": "gate"}) as (one, other):
            assert heard(await one.keyed("kept")) == (200, None)
            assert await one.repeats.begin("claimed", "f", "one", 60) == (Turn.FIRST, b"")
            redis_server.until(lambda: replica.ask("DBSIZE") == "2", "the replica has both")
            redis_server.until(lambda: answered(replica, one.state), "the replica has the answer")
            master.signal(signal.SIGKILL)
            await until(lambda: one.state.problem is not None and other.state.problem is not None, "the loss is noticed")
            refused = await other.keyed("kept")
            assert (refused.status, refused.code, other.reached) == (503, "idempotency_unavailable", [])
            await until(lambda: one.state.problem is None and other.state.problem is None, "the new master is found")
            assert replica.ask("ROLE").startswith("master")
            assert heard(await other.keyed("kept")) == (200, b"true")
            assert await other.repeats.begin("claimed", "f", "two", 60) == (Turn.UNDER_WAY, b"")
            await one.repeats.end("claimed", "one", ANSWER, 60)
            assert await other.repeats.begin("claimed", "f", "two", 60) == (Turn.ANSWERED, ANSWER)
            assert other.reached == []


def answered(server: RedisServer, state: RedisState) -> bool:
    names = server.ask("KEYS", state.names.of("repeat", "*").rpartition(":")[0] + ":*").split()
    return "answered" in [server.ask("HGET", name, "turn") for name in names]


async def test_a_claim_that_moves_between_nodes_of_a_cluster_is_followed() -> None:
    """Claimed on one node; asked for while its slot is on its way; ended where it arrived, which never heard of the script."""
    with clustered() as servers:
        async with two(cluster=[str(server.address) for server in servers]) as (one, other):
            assert await one.repeats.begin("mover", "f", "one", 60) == (Turn.FIRST, b"")
            name = one.state.names.of("repeat", "mover")
            with moving(servers, name):
                assert await other.repeats.begin("mover", "f", "two", 60) == (Turn.UNDER_WAY, b"")  # ASK
            await one.repeats.end("mover", "one", ANSWER, 60)  # MOVED
            assert await other.repeats.begin("mover", "f", "two", 60) == (Turn.ANSWERED, ANSWER)
            assert await other.repeats.begin("mover", "g", "two", 60) == (Turn.OTHER, b"")


@contextmanager
def moving(servers: Sequence[RedisServer], name: str) -> Iterator[None]:
    """Inside, the one key is on another node, and its slot is not yet."""
    number = str(slot(name.encode()))
    here = next(server for server in servers if server.ask("DBSIZE") == "1")
    there = next(server for server in servers if server is not here)
    ids = {server.port: server.ask("CLUSTER", "MYID") for server in servers}
    there.ask("CLUSTER", "SETSLOT", number, "IMPORTING", ids[here.port])
    here.ask("CLUSTER", "SETSLOT", number, "MIGRATING", ids[there.port])
    here.ask("MIGRATE", "127.0.0.1", str(there.port), name, "0", "5000")
    assert here.ask("DBSIZE") == "0"
    yield
    for server in (there, here):
        server.ask("CLUSTER", "SETSLOT", number, "NODE", ids[there.port])


async def test_a_node_of_a_cluster_that_dies_takes_only_its_keys() -> None:
    """Who has one of them is refused by name, and nothing is dispatched a second time; all others hear the kept answer."""
    with clustered() as servers:
        async with two(cluster=[str(servers[0].address)]) as (one, other):
            keys = [f"key-{number}" for number in range(24)]
            async with asyncio.timeout(30):  # a busy machine may take longer than the time-out of a call
                for key in keys:
                    while (await one.keyed(key)).status != 200:
                        pass
            assert all(int(server.ask("DBSIZE")) for server in servers)
            servers[2].signal(signal.SIGKILL)
            await until(lambda: other.state.problem is not None, "the loss is noticed")
            replies = [await other.keyed(key) for key in keys]
            assert {heard(each) for each in replies} == {(200, b"true"), (503, None)}
            assert {each.code for each in replies if each.status == 503} == {"idempotency_unavailable"}
            assert other.reached == []
