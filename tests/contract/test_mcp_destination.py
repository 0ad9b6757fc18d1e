"""Tools of a real server of the MCP library."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapters.mcp_tool import peer
from adapters.mcp_tool.config import Config
from adapters.messaging.destination import MessageDestination
from adapters.messaging.message import message
from adapters.messaging.scoped import scoped
from router.errors import DestinationError
from router.registry import ADAPTERS
from router.system import SystemClock, SystemRandom
from tests.contract.message_promises import Case, Promises, asked, whole
from tests.contract.tool_server import Tools, serving
from tests.e2e.processes import Process, until
from tests.e2e.running import free_ports, listens

ASKED = b'{"question": "why"}'


def destination(url: str, **settings: Any) -> MessageDestination:
    plain = {"url": url, "tool": "answer", "retries": {"attempts": 1}, "circuit": {"failures": 1000}}
    config = Config.model_validate({**plain, **settings})
    made: MessageDestination = ADAPTERS.load("destination", "mcp").build(config, name="tool", clock=SystemClock(), random=SystemRandom())
    return made


async def opened(url: str, **settings: Any) -> MessageDestination:
    made = destination(url, **settings)
    await made.open()
    return made


async def refused(made: MessageDestination, body: bytes = ASKED) -> DestinationError:
    try:
        with pytest.raises(DestinationError) as error:
            await made.send(asked(body))
        return error.value
    finally:
        await made.close()


@pytest.fixture(params=["json", "events", "stateless"])
async def tools(request: pytest.FixtureRequest) -> AsyncIterator[Tools]:
    """Servers answer in one piece or as events, with sessions or without."""
    more = {"json": {"json_response": True}, "events": {}, "stateless": {"stateless_http": True}}[request.param]
    async with serving(Tools(), **more) as made:
        yield made


@pytest.fixture
async def one() -> AsyncIterator[Tools]:
    async with serving(Tools()) as made:
        yield made


class TestMcp(Promises):
    @pytest.fixture(params=["auto", "legacy"])
    async def case(self, request: pytest.FixtureRequest, tools: Tools) -> AsyncIterator[Case]:
        """The body is the tool's question, as text."""
        made = await opened(tools.url, protocol=request.param, input={"question": "{{ body | string }}"})

        async def arrived(key: str) -> list[bytes]:
            known = scoped(message(asked(b"", key=key), b"", None))
            here = [each for each in tools.arrivals if each["meta"]["lockgate/idempotency-key"] == known]
            return [orjson.dumps(eval(each["arguments"]["question"])) for each in here]  # as Jinja writes a dict

        yield Case(made, arrived, status=200, once=False)
        await made.close()


@pytest.mark.parametrize("protocol", ["auto", "legacy"])
async def test_the_tool_is_told_the_decision_and_the_trace(tools: Tools, protocol: str) -> None:
    made = await opened(tools.url, protocol=protocol, headers={"authorization": "Bearer t"}, input={"question": "{{ body.q }}", "times": 3})
    status, answer = await whole(made, asked(b'{"q": "why"}', [(b"x-lockgate-subject", b"anna")], key="k-1"))
    await made.close()
    assert (status, orjson.loads(answer)) == (200, {"said": "why!", "times": 3})
    (arrived,) = tools.arrivals
    fields, meta = arrived["fields"], arrived["meta"]
    assert fields["x-lockgate-decision-id"] == meta["lockgate/decision-id"]
    assert (meta["lockgate/idempotency-key"][:4], fields["authorization"]) == ("key-", "Bearer t")
    assert fields["traceparent"] == meta["traceparent"]
    assert fields["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c")
    assert "x-lockgate-subject" not in fields


async def test_words_of_a_tool_without_structure_are_its_content(one: Tools) -> None:
    made = await opened(one.url, tool="plain")
    assert orjson.loads((await whole(made, asked(ASKED)))[1]) == {"content": [{"type": "text", "text": "why!"}]}
    await made.close()


@pytest.mark.parametrize("body", [b'{"q": 1}', b'{"question": 1}', b"[]", b"words", b'{"question": "why", "times": "many"}'])
async def test_what_the_tool_does_not_take_is_refused_before_it_is_called(one: Tools, body: bytes) -> None:
    error = await refused(await opened(one.url), body)
    assert (error.code, error.status, one.arrivals) == ("input_unmapped", 422, [])
    assert "many" not in str(error)


async def test_an_error_of_the_tool_is_a_refusal_without_its_words(tools: Tools) -> None:
    made = await opened(tools.url, retries={"attempts": 3}, deduplicates=True)
    error = await refused(made, b'{"question": "fail"}')
    assert (error.code, error.final, error.sent, len(tools.arrivals)) == ("upstream_refused", True, True, 1)
    assert "anna" not in str(error)


async def test_an_answer_that_does_not_fit_is_of_a_tool_that_ran(one: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is to be done in its place as if it had not."""
    monkeypatch.setattr(peer, "misfit", lambda *_: "a number is missing")
    error = await refused(await opened(one.url))
    assert (error.code, error.sent, error.untold, len(one.arrivals)) == ("answer_refused", True, True, 1)


@pytest.mark.parametrize(
    ("status", "code", "final"),
    [
        (400, "upstream_refused", True),
        (401, "upstream_denied", True),
        (302, "upstream_refused", True),
        (429, "upstream_throttled", False),
        (500, "upstream_unavailable", False),
        (503, "upstream_unavailable", False),
    ],
)
@pytest.mark.parametrize("protocol", ["auto", "legacy"])
async def test_what_a_status_means(one: Tools, protocol: str, status: int, code: str, final: bool) -> None:
    one.status, one.retry_after = status, "9"
    error = await refused(await opened(one.url, protocol=protocol))
    assert (error.code, error.final, error.sent) == (code, final, False)
    assert "anna" not in str(error)
    if status in (429, 503):
        assert error.wait == 9.0


async def test_an_answer_that_is_too_long_is_not_taken(tools: Tools) -> None:
    error = await refused(await opened(tools.url, most_answer="50KiB"), b'{"question": "long"}')
    assert (error.code, error.sent) == ("upstream_protocol", True)


async def test_a_tool_that_is_not_there_is_named_and_may_come(one: Tools) -> None:
    made = await opened(one.url, tool="nothing")
    with pytest.raises(DestinationError, match="no tool 'nothing'"):
        await made.ping()
    error = await refused(made)
    assert (error.code, error.final, error.sent) == ("upstream_refused", False, False)


@pytest.mark.parametrize("mapping", [{"times": 2}, {"words": "{{ body }}"}])
async def test_a_mapping_that_cannot_fit_is_named_by_a_ping(one: Tools, mapping: dict[str, Any]) -> None:
    made = await opened(one.url, input=mapping)
    with pytest.raises(DestinationError, match="lacks 'question'"):
        await made.ping()
    await made.close()


async def test_a_tool_that_is_another_than_was_looked_at_is_not_called(one: Tools) -> None:
    made = await opened(one.url, definition="sha256:" + "0" * 64)
    error = await refused(made)
    assert (error.code, error.final, one.arrivals) == ("upstream_refused", False, [])
    digest = str(error).rpartition(" ")[2]
    pinned = await opened(one.url, definition=digest)
    await pinned.ping()
    assert (await whole(pinned, asked(ASKED)))[0] == 200
    await pinned.close()


async def test_what_is_known_of_a_tool_is_looked_at_again_after_a_while() -> None:
    async with serving(Tools()) as tools:
        port = int(tools.url.rpartition(":")[2].partition("/")[0])
        remembers, looks = await opened(tools.url), await opened(tools.url, recheck="1ms")
        for each in (remembers, looks):
            await whole(each, asked(ASKED))
    async with serving(Tools(without=True), port):
        assert (await refused(remembers)).sent
        assert "no tool" in str(await refused(looks))


async def test_a_tool_that_is_slow_is_given_up_and_others_go_on(tools: Tools) -> None:
    made = await opened(tools.url, timeout="1s")
    slow = asyncio.create_task(made.send(asked(b'{"question": "slow"}')))
    await asyncio.sleep(0.2)
    assert (await whole(made, asked(ASKED)))[0] == 200
    with pytest.raises(DestinationError) as late:
        await slow
    assert (late.value.code, late.value.sent) == ("upstream_timeout", True)
    assert (await whole(made, asked(ASKED)))[0] == 200
    await made.close()


async def test_who_goes_away_breaks_nothing_for_others(one: Tools) -> None:
    made = await opened(one.url)
    slow = asyncio.create_task(made.send(asked(b'{"question": "slow"}')))
    await asyncio.sleep(0.2)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert (await whole(made, asked(ASKED)))[0] == 200
    await made.close()


@pytest.mark.parametrize(("deduplicates", "answered"), [(True, True), (False, False)])
async def test_a_call_is_repeated_only_where_the_tool_heeds_the_key(one: Tools, deduplicates: bool, answered: bool) -> None:
    one.failing_calls = 1
    made = await opened(one.url, deduplicates=deduplicates, retries={"attempts": 2, "backoff": "1ms"})
    try:
        assert answered == ((await whole(made, asked(ASKED)))[0] == 200)
    except DestinationError as error:
        assert (error.code, error.sent, answered) == ("upstream_unavailable", True, False)  # noqa: PT017  # one of two
    await made.close()
    assert (one.failing_calls, len(one.arrivals)) == (0, int(answered))


async def test_what_went_wrong_before_the_call_is_tried_again_for_any_tool(one: Tools) -> None:
    one.failing = 1
    made = await opened(one.url, retries={"attempts": 2, "backoff": "1ms"})
    assert (await whole(made, asked(ASKED)))[0] == 200
    await made.close()
    assert one.failing == 0


async def test_a_server_that_is_killed_and_comes_back_is_called_again(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    process = Process([sys.executable, "-m", "tests.contract.tool_server", str(port)], tmp_path / "tools.log")
    made = await opened(f"http://127.0.0.1:{port}/mcp")
    try:
        with pytest.raises(DestinationError) as nobody:
            await made.send(asked(ASKED))
        assert (nobody.value.code, nobody.value.sent) == ("connect_failed", False)
        for _ in range(2):
            process.start()
            await asyncio.to_thread(until, lambda: listens(port), "the server listened")
            assert (await whole(made, asked(ASKED)))[0] == 200
            slow = asyncio.create_task(made.send(asked(b'{"question": "slow"}')))
            await asyncio.sleep(0.5)
            process.kill()
            with pytest.raises(DestinationError) as gone:
                await slow
            assert (gone.value.code, gone.value.sent) == ("upstream_reset", True)
            with pytest.raises(DestinationError) as away:
                await made.send(asked(ASKED))
            assert (away.value.code, away.value.sent) == ("connect_failed", False)
    finally:
        process.kill()
        await made.close()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"url": "http://tools.example/mcp"}, "https"),
        ({"headers": {"mcp-session-id": "x"}}, "protocol's own"),
        ({"definition": "abc"}, "sha256:"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Config.model_validate({"url": "http://127.0.0.1:1/mcp", "tool": "t", **settings})
