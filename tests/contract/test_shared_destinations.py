"""Two nodes and one Redis: what a webhook's endpoint said to one is heeded by both, and a language model's budget is one for both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adapters.messaging.destination import MessageDestination
from adapters.redis_state.marks import RedisMarks
from adapters.redis_state.state import RedisState
from adapters.redis_state.tallies import RedisTallies
from adapters.webhook.gone import ended, ended_everywhere
from router.cli.endpoints import endpoints
from router.errors import DestinationError, StateError
from tests import redis_server
from tests.contract.llm_server import LlmServer, serving
from tests.contract.message_promises import asked
from tests.contract.redis_by_hand import Unheard, settings
from tests.contract.test_llm_destination import Noon
from tests.contract.test_llm_destination import destination as model
from tests.contract.test_webhooks import destination as webhook
from tests.contract.webhook_receiver import Receiver, receiving
from tests.e2e.running import cli
from tests.redis_server import RedisServer

BUDGET = {"per_day": 400, "per_subject": 250}


@asynccontextmanager
async def node(server: RedisServer, made: MessageDestination, **more: Any) -> AsyncIterator[MessageDestination]:
    """A destination of a node with a connection of its own."""
    state = RedisState(settings(server, timeout="100ms", **more), Path(), Unheard())
    await state.open()
    made.share(RedisTallies(state), RedisMarks(state, "endpoints"))
    await made.open()
    try:
        yield made
    finally:
        await made.close()
        await state.close()


async def sent(made: MessageDestination, who: bytes = b"anna") -> str:
    try:
        await made.send(asked(b'"why?"', [(b"x-lockgate-subject", who)]))
    except DestinationError as error:
        return error.code
    return "sent"


async def test_an_endpoint_that_is_gone_is_so_for_both_nodes_until_somebody_enables_it(redis_server: RedisServer, tmp_path: Path) -> None:
    """Its mark holds nothing of the URL but the host, and no file is left beside it."""
    async with receiving(Receiver()) as receiver:
        url, more = f"{receiver.url}/status/410?token=secret", {"prefix": "gone"}
        one, two = (webhook(url, state=tmp_path / each) for each in "ab")
        async with node(redis_server, one, **more) as first, node(redis_server, two, **more) as second:
            assert [await sent(each) for each in (first, second, first)] == ["endpoint_gone"] * 3
            assert len(receiver.arrivals) == 1
            assert ended(tmp_path / "a") == ended(tmp_path / "b") == []
            state = RedisState(settings(redis_server, **more), Path(), Unheard())
            await state.open()
            marks = RedisMarks(state, "endpoints")
            (known,) = await ended_everywhere(marks)
            assert (known.destination, known.host, "token" in str(await marks.all())) == ("hooks", "127.0.0.1", False)
            await marks.remove(f"{known.destination}/{known.endpoint}")
            await state.close()
            assert await sent(second) == "endpoint_gone"
            assert len(receiver.arrivals) == 2


async def test_while_nobody_can_be_asked_a_node_keeps_to_what_it_knows(tmp_path: Path) -> None:
    async with receiving(Receiver()) as receiver:
        with redis_server.running() as server:
            made = webhook(f"{receiver.url}/status/410", state=tmp_path)
            async with node(server, made) as one:
                server.stop()
                assert [await sent(one) for _ in range(2)] == ["endpoint_gone"] * 2
        assert (len(receiver.arrivals), len(ended(tmp_path))) == (1, 1)


async def test_tokens_of_a_day_are_counted_over_both_nodes(redis_server: RedisServer, tmp_path: Path) -> None:
    async with serving(LlmServer(content="It is so.")) as server:
        server.usage = {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100}
        clock, more = Noon(), {"prefix": "budget"}
        one, two = (model(server.url, clock=clock, state=tmp_path / each, budget=BUDGET, max_tokens=50) for each in "ab")
        async with node(redis_server, one, **more) as first, node(redis_server, two, **more) as second:
            assert [await sent(each) for each in (first, second, first)] == ["sent", "sent", "token_budget_spent"]
            assert [await sent(second, who) for who in (b"bob", b"eve", b"max")] == ["sent", "sent", "token_budget_spent"]
            clock.day += 1
            assert await sent(first) == "sent"
        assert not await asyncio.to_thread(lambda: [*tmp_path.rglob("*.sqlite")])


async def test_many_at_once_on_both_nodes_do_not_overdraw(redis_server: RedisServer, tmp_path: Path) -> None:
    async with serving(LlmServer(content="It is so.")) as server:
        server.delay_s = 0.05
        one, two = (model(server.url, state=tmp_path / each, budget={"per_day": 1000}, max_tokens=200) for each in "ab")
        async with node(redis_server, one, prefix="many") as first, node(redis_server, two, prefix="many") as second:
            results = await asyncio.gather(*(sent(each) for each in (first, second) for _ in range(10)))
        assert (results.count("sent"), results.count("token_budget_spent")) == (4, 16)


async def test_nothing_is_asked_while_nobody_can_say_what_is_left(tmp_path: Path) -> None:
    """Nor is it counted on this node alone: that would let each of them use all of it."""
    async with serving(LlmServer(content="It is so.")) as server:
        with redis_server.running() as redis:
            made = model(server.url, state=tmp_path, budget=BUDGET)
            async with node(redis, made) as one:
                redis.stop()
                assert await sent(one) == "token_budget_unavailable"
        assert server.asked == []


async def test_a_tally_is_never_below_nothing_and_names_nobody(redis_server: RedisServer) -> None:
    state = RedisState(settings(redis_server, prefix="tally", timeout="100ms"), Path(), Unheard())
    await state.open()
    tallies = RedisTallies(state)
    await tallies.add("t", "anna", 50)  # of what nobody knows nothing is counted
    assert await tallies.take("t", "anna", 100, 100, None, 60)
    assert not await tallies.take("t", "anna", 1, 100, None, 60)
    await tallies.add("t", "anna", -500)
    assert await tallies.take("t", "bob", 100, 100, 100, 60)
    key = state.names.of("tally", "t")
    kept = await state.ask(key, "HGETALL", key, until=state.until())
    assert not [each for each in kept if b"anna" in each]
    await state.close()
    with pytest.raises(StateError):
        await tallies.add("t", "anna", 1)


def test_the_command_line_lists_and_enables_what_nodes_share(redis_server: RedisServer, tmp_path: Path) -> None:
    async def mark() -> None:
        state = RedisState(settings(redis_server, prefix="cli"), Path(), Unheard())
        await state.open()
        told = {"schema": "lockgate.endpoint.v1", "host": "a.example", "since": 1_795_000_000, "decision": "d-1"}
        await RedisMarks(state, "endpoints").put("partners/abc", json.dumps(told).encode())
        await state.close()

    asyncio.run(mark())

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(endpoints, [*arguments, "--config", str(config)])

    assert cli("init", str(tmp_path / "w")).returncode == 0
    config = tmp_path / "w/lockgate.yaml"
    config.write_text(f"{config.read_text()}\nshared_state: {{adapter: redis, server: '{redis_server.address}', prefix: cli}}\n")
    listed = run("list", "--json")
    assert [(each["destination"], each["host"]) for each in json.loads(listed.stdout)] == [("partners", "a.example")], listed.stderr
    assert run("enable", "partners").exit_code == 0
    assert json.loads(run("list", "--json").stdout) == []
