"""Where Redis is: behind sentinels that move the master, in a cluster that moves its keys, behind TLS that must prove itself."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import hiredis
import pytest
from cryptography import x509

from adapters.redis_state.limits import RedisAllowances
from adapters.redis_state.places import slot
from adapters.redis_state.quotas import RedisQuotas
from examples.halden.demo.company import free_ports
from router.errors import ConfigError, StateError
from router.ports import Draw, Quota
from router.settings import Address
from tests import redis_server
from tests.faults import test_shared_state
from tests.faults.test_shared_state import ONE, Heard, failure, until
from tests.faults.test_upstream_tls import Authority
from tests.redis_server import RedisServer

KEYS = [f"caller-{number}" for number in range(40)]
opened = partial(test_shared_state.opened, patience=2.0)
"""Longer than may be configured: several servers keep a small machine busy, and none of them is to be slow."""


@contextmanager
def watched() -> Iterator[tuple[RedisServer, RedisServer, RedisServer]]:
    """A master, its replica, and a sentinel that takes a second to be sure."""
    with redis_server.running() as master, redis_server.made() as replica, redis_server.made() as sentinel:
        replica.settings["replicaof"] = f"127.0.0.1 {master.port}"
        replica.start()
        redis_server.until(lambda: "state=online" in master.ask("INFO", "replication"), "the replica follows")
        sentinel.program = "redis-sentinel"
        sentinel.settings["sentinel"] = "\n".join(
            (f"monitor gate 127.0.0.1 {master.port} 1", "down-after-milliseconds gate 1000", "failover-timeout gate 5000")
        )
        sentinel.start()
        redis_server.until(lambda: "slaves=1" in sentinel.ask("INFO", "sentinel"), "the sentinel knows the replica")
        yield master, replica, sentinel


async def test_the_master_is_followed_when_it_fails_over() -> None:
    """What the replica had heard of goes on; requests are judged without it meanwhile."""
    with watched() as (master, replica, sentinel):
        nodes = ["127.0.0.1:1", str(sentinel.address)]  # one that is away costs a try
        async with opened(sentinel={"nodes": nodes, "master": "gate"}) as state:
            slow = [Draw("k", 0.001, 2)]
            assert await RedisAllowances(state).draw(slow) is None
            redis_server.until(lambda: replica.ask("DBSIZE") == "1", "the replica has it")
            master.signal(signal.SIGKILL)
            await until(lambda: state.problem is not None, "the loss is noticed")
            assert await failure(state) == "shared_state_unavailable"
            await until(lambda: state.problem is None, "the new master is found")
            assert replica.ask("ROLE").startswith("master")
            assert await RedisAllowances(state).draw(slow) is None
            assert await RedisAllowances(state).draw(slow) is not None


async def test_a_name_that_no_sentinel_knows() -> None:
    """It is as if there were no server, and the log says which name."""
    with watched() as (_, _, sentinel):
        async with opened(sentinel={"nodes": [str(sentinel.address)], "master": "other"}) as state:
            assert await failure(state) == "shared_state_unavailable"


@contextmanager
def clustered() -> Iterator[list[RedisServer]]:
    with ExitStack() as stack:
        buses = free_ports(3)
        made = [redis_server.running(cluster_enabled="yes", cluster_node_timeout="2000", cluster_port=str(bus)) for bus in buses]
        servers = [stack.enter_context(each) for each in made]
        nodes = [str(server.address) for server in servers]
        command = ["redis-cli", "--cluster", "create", *nodes, "--cluster-replicas", "0", "--cluster-yes"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        for server in servers:
            redis_server.until(lambda server=server: "cluster_state:ok" in server.ask("CLUSTER", "INFO"), "the cluster stands")  # type: ignore[misc]
        yield servers


async def test_a_cluster_keeps_each_key_where_it_belongs() -> None:
    """Whichever node is named, and whatever is asked for together; and when one node dies only its keys are judged without it."""
    with clustered() as servers:
        heard = Heard()
        async with opened(heard, cluster=[str(servers[0].address)]) as state:
            draws = [Draw(key, 0.001, 1) for key in KEYS]
            assert await RedisAllowances(state).draw(draws) is None
            assert [await RedisAllowances(state).draw([each]) is None for each in draws] == [False] * len(draws)
            counts = [int(server.ask("DBSIZE")) for server in servers]
            assert sum(counts) == len(KEYS)
            assert all(counts)
            quotas = [Quota(key, 1 + (place < 9), 60) for place, key in enumerate(KEYS[:10])]  # one by one, within one answer's time
            assert await RedisQuotas(state).take(quotas) is None
            over = await RedisQuotas(state).take(quotas)
            assert over is not None
            assert over[0] == 9
            assert await RedisQuotas(state).take(quotas[:9]) is None, "what was taken was put back"
            servers[2].signal(signal.SIGKILL)
            await until(lambda: state.problem is not None, "the loss is noticed")
            lost = 0
            for each in draws:
                try:
                    await RedisAllowances(state).draw([each])
                except StateError:
                    lost += 1
            assert 0 < lost < len(draws)


async def test_whether_a_cluster_is_there_is_told_without_looking_through_its_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked with every text that is looked for, and there are 16,384."""
    with clustered() as servers:
        async with opened(cluster=[str(servers[0].address)]) as state:
            looked, told = 0, Address.__hash__

            def counted(address: Address) -> int:
                nonlocal looked
                looked += 1
                return told(address)

            monkeypatch.setattr(Address, "__hash__", counted)
            assert state.problem is None
            assert looked <= 2 * len(servers)


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Nothing at the end, however the other side leaves."""
    try:
        return await reader.read(65536)
    except ConnectionError:
        return b""


async def test_a_node_that_the_others_do_not_reach_is_not_the_only_one_believed() -> None:
    """It still says that the slots are its own, and that the cluster is down; another says who has them now."""
    ports: list[int] = []
    talking = set[object]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands, place = hiredis.Reader(), ports.index(writer.get_extra_info("sockname")[1])
        talking.add(writer)
        with closing(writer):
            while data := await _read(reader):
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    if command[0] == b"CLUSTER":
                        writer.write(b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % ports[place])
                    elif command[0] == b"PING":
                        writer.write(b"+PONG\r\n")
                    else:
                        writer.write(b"*2\r\n:0\r\n:0\r\n" if place else b"-CLUSTERDOWN The cluster is down\r\n")
        talking.remove(writer)

    async with AsyncExitStack() as stack:
        for _ in range(2):
            server = await stack.enter_async_context(await asyncio.start_server(answer, "127.0.0.1", 0))
            ports.append(server.sockets[0].getsockname()[1])
        async with opened(cluster=[f"127.0.0.1:{port}" for port in ports]) as state:
            assert await failure(state) == "shared_state_unavailable"
            deadline = time.monotonic() + 20
            while (await asyncio.gather(RedisAllowances(state).draw(ONE), return_exceptions=True)) != [None]:
                assert time.monotonic() < deadline, "the other node is asked"
                await asyncio.sleep(0.01)
        await until(lambda: not talking, "the connections end")


async def test_a_key_that_moves_is_followed() -> None:
    """While a slot is on its way, and when it has arrived, its key is asked for where it is."""
    with clustered() as servers:
        async with opened(cluster=[str(server.address) for server in servers]) as state:
            draw = [Draw("mover", 0.001, 3)]
            name = state.names.of("limit", "mover")
            number = str(slot(name.encode()))
            assert await RedisAllowances(state).draw(draw) is None
            here = next(server for server in servers if server.ask("DBSIZE") == "1")
            there = next(server for server in servers if server is not here)
            ids = {server.port: server.ask("CLUSTER", "MYID") for server in servers}
            assert here.ask("CLUSTER", "KEYSLOT", name) == number
            there.ask("CLUSTER", "SETSLOT", number, "IMPORTING", ids[here.port])
            here.ask("CLUSTER", "SETSLOT", number, "MIGRATING", ids[there.port])
            here.ask("MIGRATE", "127.0.0.1", str(there.port), name, "0", "5000")
            assert await RedisAllowances(state).draw(draw) is None  # ASK
            for server in (there, here):
                server.ask("CLUSTER", "SETSLOT", number, "NODE", ids[there.port])
            assert await RedisAllowances(state).draw(draw) is None  # MOVED
            assert await RedisAllowances(state).draw(draw) is not None


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[tuple[RedisServer, Authority]]:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("redis", x509.IPAddress(ip_address("127.0.0.1")))
    with redis_server.made(tls_cert_file=certificate, tls_key_file=key, tls_ca_cert_file=authority.ca, tls_auth_clients="yes") as server:
        server.settings |= {"tls-port": str(server.port), "port": "0"}
        server.start()
        yield server, authority


async def test_tls_both_ways(encrypted: tuple[RedisServer, Authority]) -> None:
    """The server proves who it is, and so do we."""
    server, authority = encrypted
    certificate, key = authority.issue("lockgate")
    async with opened(server=server.address, tls={"ca": authority.ca, "certificate": certificate, "key": key}) as state:
        assert await RedisAllowances(state).draw(ONE) is None


async def test_who_does_not_prove_itself_is_not_spoken_to(encrypted: tuple[RedisServer, Authority], tmp_path: Path) -> None:
    """An authority that we do not know, a certificate that we do not show, no TLS at all."""
    server, authority = encrypted
    (tmp_path / "other").mkdir()
    certificate, key = authority.issue("lockgate")
    for tls in ({"ca": Authority(tmp_path / "other").ca, "certificate": certificate, "key": key}, {"ca": authority.ca}, None):
        async with opened(server=server.address, tls=tls) as state:
            assert await failure(state) == "shared_state_unavailable"


async def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    """A mistake in the configuration is none of the server's."""
    with pytest.raises(ConfigError, match=r"^'shared_state.tls' names files that cannot be used: .*No such file or directory.*\.$"):
        async with opened(root=tmp_path, server="127.0.0.1:1", tls={"ca": "missing.pem"}):
            pass
