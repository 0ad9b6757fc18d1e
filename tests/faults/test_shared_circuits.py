"""Processes that share circuits on a Redis that dies, hangs, fails over: each keeps its own, and no request ever waits."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from adapters.http_upstream.circuit import Circuit
from adapters.http_upstream.sharing import CircuitSharing, SharedCircuit
from adapters.redis_state.circuits import RedisCircuits
from adapters.redis_state.state import RedisState
from tests import redis_server
from tests.faults.test_redis_places import clustered, watched
from tests.faults.test_shared_state import opened, until
from tests.redis_server import RedisServer
from tests.unit.adapters.test_circuit_sharing import Observed

OPEN_S = 1.0


class Process:
    """`fail` and `allows` are what requests do; they are not even coroutines."""

    def __init__(self, state: RedisState) -> None:
        self.state = state
        self.circuit = Circuit(3, OPEN_S)
        self.seen = Observed()
        self.now = asyncio.get_running_loop().time
        self.sharing = CircuitSharing(RedisCircuits(state), [SharedCircuit("d u", self.circuit, Random(1))], 0.05, self.now, self.seen)

    @property
    def allows(self) -> bool:
        return self.circuit.allows(self.now())

    def fail(self) -> None:
        for _ in range(3):
            self.circuit.enter()
            self.circuit.failed(self.now())


@asynccontextmanager
async def two(**settings: Any) -> AsyncIterator[tuple[Process, Process]]:
    async with opened(**settings) as first, opened(**settings) as second:
        processes = Process(first), Process(second)
        for each in processes:
            each.sharing.start()
        try:
            yield processes
        finally:
            for each in processes:
                await each.sharing.close()


async def shares(one: Process, other: Process) -> None:
    other.seen.results.clear()
    one.fail()
    assert not one.allows
    await until(lambda: "heard_open" in other.seen.results, "the other has heard")
    assert not other.allows


async def recovers(one: Process, other: Process) -> None:
    await until(lambda: one.allows, "its time is over")
    one.circuit.enter()
    one.circuit.answered()
    await until(lambda: other.circuit.is_open is False, "the other has heard")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_each_keeps_its_own_while_redis_is_away(number: signal.Signals) -> None:
    """What was heard ends at its time; what opens meanwhile opens here alone; when Redis is back they are one again."""
    with redis_server.running() as server:
        async with two(server=server.address) as (one, other):
            await shares(one, other)
            server.signal(number)
            for each in (one, other):
                await until(lambda each=each: each.seen.results[-1].startswith("shared_state"), "the loss is noticed")  # type: ignore[misc]
                await until(lambda each=each: each.allows, "it asks by itself")  # type: ignore[misc]
                each.circuit.enter()
                each.circuit.answered()
            one.fail()
            assert not one.allows
            assert other.allows
            server.start() if number is signal.SIGKILL else server.signal(signal.SIGCONT)
            await until(lambda: not server_is_away(one) and not server_is_away(other), "Redis is back")
            await until(lambda: one.allows, "its time is over")
            one.circuit.enter()
            one.circuit.answered()
            await until(lambda: other.allows and one.circuit.news is None, "both ask")
            await shares(one, other)
            await recovers(one, other)


def server_is_away(process: Process) -> bool:
    return process.state.problem is not None


async def test_who_starts_without_redis_begins_alone() -> None:
    """And hears of others once it is there."""
    with redis_server.made() as server:
        async with two(server=server.address, retry="50ms") as (one, other):
            one.fail()
            assert not one.allows
            assert other.allows
            server.start()
            await until(lambda: not server_is_away(one) and not server_is_away(other), "Redis is there")
            one.circuit.hear_closed()
            await shares(one, other)


async def test_over_a_failover() -> None:
    """The new master knows, or is told."""
    with watched() as (master, _, sentinel):
        async with two(sentinel={"nodes": [str(sentinel.address)], "master": "gate"}) as (one, other):
            await shares(one, other)
            await recovers(one, other)
            master.signal(signal.SIGKILL)
            await until(lambda: server_is_away(one) and server_is_away(other), "the loss is noticed")
            await until(lambda: not server_is_away(one) and not server_is_away(other), "the new master is found")
            await shares(one, other)


async def test_in_a_cluster() -> None:
    """One node has the board; while that one is gone each is alone."""
    with clustered() as servers:
        async with two(cluster=[str(servers[0].address)]) as (one, other):
            await shares(one, other)
            await recovers(one, other)
            home(servers).signal(signal.SIGKILL)
            await until(lambda: one.seen.results[-1].startswith("shared_state"), "the loss is noticed")
            one.fail()
            assert not one.allows
            assert other.allows


def home(servers: list[RedisServer]) -> RedisServer:
    return next(server for server in servers if "circuits" in server.ask("KEYS", "*"))
