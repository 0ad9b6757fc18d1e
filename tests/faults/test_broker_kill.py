"""A broker that is killed at random while events flow from it, through a decision, and to it: none is lost, and none is decided twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.nats_server import HOW, NatsServer, nats_server
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, prepared
from tests.e2e.yard import load, save
from tests.needs import needs

needs("nats", HOW)

import nats
import orjson

DRAIN_S = 120.0  # a message whose worker was killed comes again, and a lease of 30 s may have to lapse


class Sender(threading.Thread):
    """Publishes one message after the other, each until the stream says that it keeps it; then it is acknowledged."""

    def __init__(self, server: NatsServer) -> None:
        super().__init__(daemon=True)
        self._server = server
        self.stopping = threading.Event()
        self.acknowledged: list[int] = []

    def run(self) -> None:
        asyncio.run(self._send())

    async def _send(self) -> None:
        while not self.stopping.is_set():
            await self._acknowledged(len(self.acknowledged))
            self.acknowledged.append(len(self.acknowledged))
            await asyncio.sleep(0.01)

    async def _acknowledged(self, number: int) -> None:
        """A connection for each try: nothing of the client's is taken on trust."""
        async with asyncio.timeout(DRAIN_S):
            while True:
                try:
                    await self._once(number)
                except (nats.errors.Error, OSError, TimeoutError):
                    await asyncio.sleep(0.05)
                else:
                    return

    async def _once(self, number: int) -> None:
        connected = await nats.connect(self._server.url, allow_reconnect=False, connect_timeout=1, error_cb=_quiet)
        try:
            body, headers = orjson.dumps({"n": number}), {"Nats-Msg-Id": f"m-{number}"}
            await connected.jetstream(timeout=2).publish("in.orders", body, headers=headers)
        finally:
            await connected.close()


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[tuple[Lockgate, NatsServer]]:
    with nats_server() as server:
        asyncio.run(_streams(server))
        source = {
            "consume": {
                "adapter": "nats", "servers": server.url, "stream": "IN", "durable": "lockgate", "bury": "aside.orders", "ack_wait": "4s",
            },
            "names": {"id": "{{ request.headers['nats-msg-id'] }}", "type": "order"},
            "speaks_for": {"subject": "shop", "roles": ["employee"]},
            "attempts": 1000,
        }  # fmt: skip
        with prepared(tmp_path, "--workers", "2", events={"listen": None, "sources": {"orders": source}}) as lockgate:
            _routed(lockgate, server)
            lockgate.start()
            yield lockgate, server


def _routed(lockgate: Lockgate, server: NatsServer) -> None:
    config = load(lockgate.yard.config)
    config["events"]["listen"] = None
    save(lockgate.yard.config, config)
    catalog = load(lockgate.yard.folder / "catalog.yaml")
    catalog["destinations"]["target"] = {
        "adapter": "nats", "servers": server.url, "subject": "out.orders", "retries": {"attempts": 1},
        "circuit": {"failures": 1000, "open": "100ms"},
    }  # fmt: skip
    catalog["routes"]["orders"] = {"destination": "target", "delivery": {"for": "1h", "backoff": "100ms", "max_backoff": "500ms"}}
    catalog["rules"][:0] = [{"name": "orders", "match": {"path": "/events/{source}"}, "intent": "look", "route": "orders"}]
    save(lockgate.yard.folder / "catalog.yaml", catalog)
    data = load(lockgate.yard.data)
    data["lockgate"]["config"]["access"]["routes"]["orders"] = {"employee": ["*"]}
    save(lockgate.yard.data, data)


@pytest.mark.parametrize(
    ("kills", "workers"), [pytest.param(4, False, id="short"), pytest.param(25, True, id="long", marks=pytest.mark.slow)]
)
def test_every_acknowledged_message_is_decided_once_and_delivered(
    flow: tuple[Lockgate, NatsServer], kills: int, *, workers: bool, request: pytest.FixtureRequest
) -> None:
    lockgate, server = flow
    chance, sender = random.Random(request.node.name), Sender(server)
    sender.start()
    until(lambda: sender.acknowledged, "a message was taken")
    for _ in range(kills):
        time.sleep(0.1 + chance.random() * 0.4)
        server.kill()
        if workers and chance.random() < 0.5:
            os.kill(chance.choice(until(lockgate.workers, "there was a worker")), signal.SIGKILL)
        time.sleep(chance.random() * 0.3)
        server.start()
    before = len(sender.acknowledged)
    until(lambda: len(sender.acknowledged) > before, "it goes on", DRAIN_S)
    sender.stopping.set()
    sender.join(DRAIN_S)
    assert not sender.is_alive()
    wanted = set(sender.acknowledged)

    def missing() -> set[int]:
        return wanted - {number for number, _ in _delivered(server)}

    until(lambda: not missing(), f"everything was delivered; not {sorted(missing())[:9]}", DRAIN_S)
    _check(lockgate, server, wanted)


def _check(lockgate: Lockgate, server: NatsServer, wanted: set[int]) -> None:
    def leaves(kind: str) -> list[Any]:
        return [leaf for leaf in lockgate.leaves() if leaf["schema"] == f"lockgate.{kind}.v1"]

    until(lambda: lockgate.control("GET", "/v1/deliveries").json["deliveries"] == [], "nothing waits", DRAIN_S)
    decided = Counter(leaf["id"] for leaf in leaves("decision"))
    assert (len(decided), set(decided.values())) == (len(wanted), {1})
    assert {decision for _, decision in _delivered(server)} == set(decided)
    assert {leaf["id"] for leaf in leaves("outcome") if leaf["outcome"]["result"] == "routed"} == set(decided)
    assert lockgate.system("event_buried") == []
    assert lockgate.verify().returncode == 0


def _delivered(server: NatsServer) -> list[tuple[int, str]]:
    """(number, decision) of everything that the stream keeps."""

    async def read() -> list[tuple[int, str]]:
        connected = await nats.connect(server.url, allow_reconnect=False, error_cb=_quiet)
        try:
            manager = connected.jetstream()
            last = (await manager.stream_info("OUT")).state.last_seq
            found = [await manager.get_msg("OUT", number) for number in range(1, last + 1)]
        finally:
            await connected.close()
        return [(orjson.loads(each.data)["n"], each.headers["x-lockgate-decision-id"]) for each in found if each.headers is not None]

    return asyncio.run(read())


async def _streams(server: NatsServer) -> None:
    connected = await nats.connect(server.url)
    for name, subjects in {"IN": "in.>", "OUT": "out.>", "ASIDE": "aside.>"}.items():
        await connected.jetstream().add_stream(name=name, subjects=[subjects])
    await connected.close()


async def _quiet(_: Exception) -> None:
    return
