"""Decided requests go to a real NATS server by a real Lockgate: at once, or when somebody else has said yes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.nats_server import HOW, NatsServer, nats_server
from tests.needs import needs

needs("nats", HOW)

import nats
import orjson

from tests.e2e.running import Lockgate, prepared
from tests.e2e.test_reviews import approve, state_of
from tests.e2e.yard import load, save

Running = tuple[Lockgate, NatsServer]
LOGIN = "authorization { user: lockgate, password: right }"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with nats_server(LOGIN) as server, prepared(tmp_path_factory.mktemp("nats")) as lockgate:
        asyncio.run(make_stream(server))
        catalog = load(lockgate.yard.folder / "catalog.yaml")
        plain = {"adapter": "nats", "servers": server.url, "user": "lockgate", "password": {"file": "password"}, "retries": {"attempts": 1}}
        catalog["destinations"]["service"] = plain | {"subject": "payments.asked", "input": {"path": "{{ request.path }}"}}
        catalog["destinations"]["nowhere"] = plain | {"subject": "missing"}
        catalog["routes"]["lonely"]["destination"] = "nowhere"
        (lockgate.yard.folder / "password").write_text("right")
        save(lockgate.yard.folder / "catalog.yaml", catalog)
        lockgate.start()
        yield lockgate, server


async def make_stream(server: NatsServer) -> None:
    connected = await nats.connect(server.url, user="lockgate", password="right")
    await connected.jetstream().add_stream(name="PAYMENTS", subjects=["payments.>"])
    await connected.close()


def arrived(server: NatsServer) -> list[tuple[Any, dict[str, str]]]:
    async def read() -> list[tuple[Any, dict[str, str]]]:
        connected = await nats.connect(server.url, user="lockgate", password="right")
        manager = connected.jetstream()
        last = (await manager.stream_info("PAYMENTS")).state.last_seq
        found = [await manager.get_msg("PAYMENTS", number) for number in range(1, last + 1)]
        await connected.close()
        return [(orjson.loads(each.data), each.headers) for each in found]

    return asyncio.run(read())


def test_a_decided_request_arrives_with_its_decision_and_trace(running: Running) -> None:
    lockgate, server = running
    answer = lockgate.ask("ann", "GET", "/items/7")
    assert answer.status == 202, answer.body
    body, headers = arrived(server)[-1]
    assert body == {"path": "/items/7"}
    assert headers["x-lockgate-decision-id"] == headers["Nats-Msg-Id"] == answer.decision
    assert headers["traceparent"]
    assert lockgate.outcome(answer.decision)["result"] == "routed"


def test_a_held_request_arrives_once_somebody_else_has_approved_it(running: Running) -> None:
    lockgate, server = running
    before = len(arrived(server))
    answer = lockgate.ask("ann", "POST", "/pay/1", {"amount": 5})
    assert answer.status == 202
    assert len(arrived(server)) == before
    assert approve(lockgate, answer.decision).status == 200
    state_of(lockgate, answer.decision, "done")
    assert [headers["x-lockgate-decision-id"] for _, headers in arrived(server)[before:]] == [answer.decision]


def test_what_no_stream_keeps_has_failed_by_name(running: Running) -> None:
    lockgate, _ = running
    answer = lockgate.ask("ann", "POST", "/lonely/1", {"a": 1})
    assert (answer.status, answer.code) == (503, "upstream_unavailable")
    assert lockgate.outcome(answer.decision)["result"] == "failed"
