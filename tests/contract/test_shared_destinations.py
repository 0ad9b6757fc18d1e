"""Two nodes and one Redis: what a webhook's endpoint said to one is heeded by both. (Language models' budgets: `test_llm_destination`.)"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adapters.redis_state.marks import RedisMarks
from adapters.redis_state.state import RedisState
from adapters.redis_state.tallies import RedisTallies
from adapters.webhook.gone import ended, ended_everywhere
from router.cli.endpoints import endpoints
from router.errors import StateError
from tests import redis_server
from tests.contract.redis_by_hand import Unheard, settings
from tests.contract.redis_nodes import node, sent
from tests.contract.test_webhooks import destination as webhook
from tests.contract.webhook_receiver import Receiver, receiving
from tests.e2e.running import cli
from tests.redis_server import RedisServer


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
