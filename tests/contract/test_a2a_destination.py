"""An agent of the A2A library's own server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapters.a2a_agent.config import Config
from adapters.messaging.destination import MessageDestination
from adapters.messaging.ids import own_id
from adapters.messaging.message import message
from router.errors import DestinationError
from router.registry import ADAPTERS
from router.system import SystemClock, SystemRandom
from tests.contract.agent_server import Agent, serving
from tests.contract.message_promises import Case, Promises, asked, whole
from tests.e2e.processes import Process, until
from tests.e2e.running import free_ports, listens


def destination(url: str, **settings: Any) -> MessageDestination:
    plain = {"url": url, "retries": {"attempts": 1}, "circuit": {"failures": 1000}, "timeout": "20s", "poll": "100ms"}
    config = Config.model_validate({**plain, **settings})
    made: MessageDestination = ADAPTERS.load("destination", "a2a").build(config, name="agent", clock=SystemClock(), random=SystemRandom())
    return made


async def opened(url: str, **settings: Any) -> MessageDestination:
    made = destination(url, **settings)
    await made.open()
    return made


async def refused(made: MessageDestination, body: bytes = b'"why"') -> DestinationError:
    try:
        with pytest.raises(DestinationError) as error:
            await made.send(asked(body))
        return error.value
    finally:
        await made.close()


async def answer(made: MessageDestination, body: bytes = b'"why"', **more: Any) -> Any:
    status, content = await whole(made, asked(body, **more))
    assert status == 200
    return orjson.loads(content)


@pytest.fixture(params=[False, True], ids=["1.0", "0.3"])
async def agent(request: pytest.FixtureRequest) -> AsyncIterator[Agent]:
    async with serving(Agent(legacy=request.param)) as made:
        yield made


@pytest.fixture
async def one() -> AsyncIterator[Agent]:
    async with serving(Agent()) as made:
        yield made


class TestA2a(Promises):
    @pytest.fixture
    async def case(self, agent: Agent) -> AsyncIterator[Case]:
        made = await opened(agent.url)

        async def arrived(key: str) -> list[bytes]:
            known = own_id(message(asked(b"", key=key), b"", None))
            return [orjson.dumps(each["parts"][0]["data"]) for each in agent.arrivals if each["messageId"] == known]

        yield Case(made, arrived, status=200, once=False)
        await made.close()


async def test_the_agent_is_told_the_decision_and_the_trace_and_its_task_is_the_answer(agent: Agent) -> None:
    parts = [{"text": "{{ body.q }}"}, {"data": {"n": "{{ body.n }}", "ratio": 0.5}}]
    made = await opened(agent.url, parts=parts, skill="echo", headers={"authorization": "Bearer t"})
    found = await answer(made, b'{"q": "why", "n": 4711}', more=[(b"x-lockgate-subject", b"anna")])
    await made.close()
    assert found["parts"] == [{"text": "why"}, {"data": {"n": 4711, "ratio": 0.5}}]
    assert found["task"]
    (arrived,) = agent.arrivals
    fields, metadata = arrived["fields"], arrived["metadata"]
    assert fields["x-lockgate-decision-id"] == metadata["lockgate/decision-id"] == arrived["messageId"]
    assert fields["traceparent"] == metadata["traceparent"]
    assert fields["authorization"] == "Bearer t"
    assert "x-lockgate-subject" not in fields


async def test_a_message_that_is_answered_at_once_has_no_task(agent: Agent) -> None:
    made = await opened(agent.url)
    assert await answer(made, b'"at once"') == {"task": None, "parts": [{"text": "at once"}]}
    await made.close()


@pytest.mark.parametrize(("said", "final"), [("fail", False), ("reject", True), ("ask", True)])
async def test_a_task_that_ends_otherwise_is_a_refusal_without_its_words(agent: Agent, said: str, final: bool) -> None:
    made = await opened(agent.url, retries={"attempts": 3}, deduplicates=True)
    error = await refused(made, orjson.dumps(said))
    assert (error.code, error.final, error.sent, len(agent.arrivals)) == ("upstream_refused", final, True, 1)
    assert "anna" not in str(error)


async def test_a_task_that_nobody_waits_for_any_more_is_cancelled(agent: Agent) -> None:
    made = await opened(agent.url, timeout="500ms")
    with pytest.raises(DestinationError) as late:
        await made.send(asked(b'"slow"'))
    assert (late.value.code, late.value.sent) == ("upstream_timeout", True)
    await made.close()
    assert len(agent.cancelled) == 1


async def test_who_is_away_for_a_moment_knows_of_the_task_afterwards(agent: Agent) -> None:
    """Looking again is no second message."""
    made = await opened(agent.url)
    sending = asyncio.create_task(answer(made))
    await agent.arrived.wait()
    agent.failing = 2
    assert (await sending)["parts"] == [{"text": "why"}]
    await made.close()
    assert (agent.failing, len(agent.arrivals)) == (0, 1)


@pytest.mark.parametrize(
    ("status", "code", "final", "sent"),
    [
        (400, "upstream_refused", True, False),
        (403, "upstream_denied", True, False),
        (307, "upstream_refused", True, False),
        (429, "upstream_throttled", False, False),
        (500, "upstream_unavailable", False, True),
        (503, "upstream_unavailable", False, True),
    ],
)
async def test_what_a_status_means(agent: Agent, status: int, code: str, final: bool, sent: bool) -> None:
    agent.status, agent.failing = status, 1
    error = await refused(await opened(agent.url))
    assert (error.code, error.final, error.sent) == (code, final, sent)
    assert "anna" not in str(error)


@pytest.mark.parametrize("deduplicates", [True, False])
async def test_a_message_is_repeated_only_where_the_agent_heeds_its_id(one: Agent, deduplicates: bool) -> None:
    one.failing = 1
    made = await opened(one.url, deduplicates=deduplicates, retries={"attempts": 2, "backoff": "1ms"})
    if deduplicates:
        await answer(made)
        await made.close()
    else:
        assert (await refused(made)).code == "upstream_unavailable"
    assert len(one.arrivals) == int(deduplicates)


async def test_a_card_that_leads_elsewhere_is_not_followed() -> None:
    async with serving(Agent(elsewhere=True)) as agent:
        made = await opened(agent.url)
        with pytest.raises(DestinationError, match="scheme, host and port"):
            await made.ping()
        error = await refused(made)
        assert (error.code, error.final, error.sent, agent.arrivals) == ("upstream_refused", False, False, [])


async def test_a_card_without_the_skill_is_none_of_ours(one: Agent) -> None:
    made = await opened(one.url, skill="payments")
    with pytest.raises(DestinationError, match="no skill 'payments'"):
        await made.ping()
    await made.close()


async def test_a_card_is_read_again_after_a_while() -> None:
    async with serving(Agent()) as agent:
        port = int(agent.url.rpartition(":")[2])
        remembers, looks = await opened(agent.url), await opened(agent.url, recheck="1ms")
        for each in (remembers, looks):
            await answer(each)
    async with serving(Agent(elsewhere=True), port):
        await answer(remembers)
        assert "scheme, host" in str(await refused(looks))
    await remembers.close()


@pytest.mark.parametrize("path", ["/nothing", "/_arrivals"])
async def test_what_is_no_card_is_said(one: Agent, path: str) -> None:
    made = await opened(one.url, card=path)
    error = await refused(made)
    assert error.code in ("upstream_refused", "upstream_protocol")
    assert not error.sent


@pytest.mark.parametrize("body", [b"", b"null", b"{", b'{"n": 9007199254740993}', b'[{"n": -9007199254740993}]'])
async def test_what_the_agent_would_not_get_as_it_is_does_not_go_out(one: Agent, body: bytes) -> None:
    error = await refused(await opened(one.url), body)
    assert (error.code, error.status, one.arrivals) == ("input_unmapped", 422, [])


async def test_an_answer_that_is_too_long_is_not_taken(agent: Agent) -> None:
    error = await refused(await opened(agent.url, most_answer="50KiB"), b'"long"')
    assert (error.code, error.sent) == ("upstream_protocol", True)


async def test_an_agent_that_is_killed_and_comes_back_is_asked_again(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    process = Process([sys.executable, "-m", "tests.contract.agent_server", str(port)], tmp_path / "agent.log")
    made = await opened(f"http://127.0.0.1:{port}")
    try:
        with pytest.raises(DestinationError) as nobody:
            await made.send(asked(b'"why"'))
        assert (nobody.value.code, nobody.value.sent) == ("connect_failed", False)
        for _ in range(2):
            process.start()
            await asyncio.to_thread(until, lambda: listens(port), "the agent listened")
            await answer(made)
            process.kill()
            with pytest.raises(DestinationError) as gone:
                await made.send(asked(b'"why"'))
            assert gone.value.code in ("connect_failed", "upstream_reset")
    finally:
        process.kill()
        await made.close()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"url": "http://agent.example"}, "https"),
        ({"parts": [{"text": "a", "data": "b"}]}, "and not both"),
        ({"parts": [{"text": "a"}], "input": "b"}, "'input' and 'parts'"),
        ({"headers": {"a2a-version": "1"}}, "protocol's own"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Config.model_validate({"url": "http://127.0.0.1:1", **settings})
