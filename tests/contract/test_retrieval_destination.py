"""A retrieval service, by the contract of its page."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapters.messaging.destination import MessageDestination
from adapters.messaging.ids import own_id
from adapters.messaging.message import message
from adapters.retrieval_destination import Config, build
from router.errors import DestinationError
from router.system import SystemClock, SystemRandom
from tests.contract.message_promises import Case, Promises, asked, whole
from tests.contract.retrieval_server import Retrieval, serving
from tests.e2e.processes import Process, until
from tests.e2e.running import free_ports, listens

PASSAGE = {"text": "Yes.", "source": {"id": "a"}}


def destination(url: str, **settings: Any) -> MessageDestination:
    plain = {"url": url, "retries": {"attempts": 1}, "circuit": {"failures": 1000}}
    return build(Config.model_validate({**plain, **settings}), name="search", clock=SystemClock(), random=SystemRandom())


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


@pytest.fixture
async def service() -> AsyncIterator[Retrieval]:
    async with serving(Retrieval()) as made:
        yield made


class TestRetrieval(Promises):
    @pytest.fixture
    async def case(self, service: Retrieval) -> AsyncIterator[Case]:
        made = await opened(service.url)

        async def arrived(key: str) -> list[bytes]:
            known = own_id(message(asked(b"", key=key), b"", None))
            return [each["asked"]["question"].encode() for each in service.arrivals if each["asked"]["id"] == known]

        yield Case(made, arrived, status=200, once=False)
        await made.close()


async def test_passages_and_their_sources_come_with_the_answer_and_nothing_else(service: Retrieval) -> None:
    settings = {
        "input": "{{ body.q }}",
        "filters": {"tenant": "{{ subject.tenant }}"},
        "passages": 2,
        "headers": {"authorization": "Bearer t"},
    }
    made = await opened(service.url, **settings)
    status, content = await whole(made, asked(b'{"q": "What is paid?"}', [(b"x-lockgate-tenant", b"north")]))
    await made.close()
    found = orjson.loads(content)
    assert (status, found["answer"], found["cites"]) == (200, "What is paid?: yes", [0])
    assert [each["source"] for each in found["passages"]] == [
        {"id": name, "title": name.title(), "url": None} for name in ("travel", "meals")
    ]
    assert "took_ms" not in found
    (arrived,) = service.arrivals
    fields = arrived["fields"]
    assert arrived["asked"] == {
        "question": "What is paid?",
        "most": 2,
        "filters": {"tenant": "north"},
        "id": fields["x-lockgate-decision-id"],
    }
    assert (fields["authorization"], fields["x-lockgate-tenant"]) == ("Bearer t", "north")
    assert fields["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c")


async def test_what_nobody_sees_is_taken_out_of_texts(service: Retrieval) -> None:
    service.said = orjson.dumps({"answer": "a\u202eb\x00", "passages": [{"text": "c\u200bd", "source": {"id": "e\x1b"}}]})
    made = await opened(service.url)
    found = orjson.loads((await whole(made, asked(b'"why"')))[1])
    await made.close()
    assert (found["answer"], found["passages"][0]["text"], found["passages"][0]["source"]["id"]) == ("ab", "cd", "e")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "'passages' (missing)"),
        ([], "breaks the contract"),
        ({"passages": [{"text": "a"}]}, "'passages.0.source' (missing)"),
        ({"passages": [{**PASSAGE, "score": "secret"}]}, "'passages.0.score'"),
        ({"passages": [{**PASSAGE, "source": {"id": "a", "url": "javascript:alert(1)"}}]}, "'passages.0.source.url'"),
        ({"passages": [{**PASSAGE, "source": {"id": "a", "url": "https://user:secret@x.example/"}}]}, "'passages.0.source.url'"),
        ({"passages": [PASSAGE], "cites": [1], "answer": "b"}, "breaks the contract"),
        ({"passages": [PASSAGE] * 9}, "more than 8 passages"),
        ({"passages": [], "answer": "b"}, "has no sources"),
    ],
)
async def test_what_breaks_the_contract_is_refused_by_its_place(service: Retrieval, said: Any, why: str) -> None:
    service.said = orjson.dumps(said)
    error = await refused(await opened(service.url))
    assert error.code == "answer_refused"
    assert why in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("sources", "said", "taken"),
    [
        ("cited", {"answer": "b", "passages": [PASSAGE]}, False),
        ("cited", {"answer": "b", "passages": [PASSAGE], "cites": [0]}, True),
        ("cited", {"passages": []}, True),
        ("given", {"answer": "b", "passages": [PASSAGE]}, True),
        ("optional", {"answer": "b", "passages": []}, True),
    ],
)
async def test_an_answer_needs_the_sources_that_are_wanted(service: Retrieval, sources: str, said: Any, taken: bool) -> None:
    service.said = orjson.dumps(said)
    made = await opened(service.url, sources=sources)
    if taken:
        assert (await whole(made, asked(b'"why"')))[0] == 200
        await made.close()
    else:
        assert "cites none" in str(await refused(made))


@pytest.mark.parametrize(
    ("said", "kind", "headers"),
    [(b"{", "application/json", {}), (b'{"passages": []}', "text/html", {}), (b'{"passages": []}' + b" " * 70_000, "application/json", {})],
)
async def test_what_is_no_json_or_too_long_is_refused(service: Retrieval, said: bytes, kind: str, headers: dict[str, str]) -> None:
    service.said, service.kind, service.headers = said, kind, headers
    assert (await refused(await opened(service.url, most_answer="64KiB"))).code == "answer_refused"


@pytest.mark.parametrize(
    ("status", "code", "final"),
    [
        (400, "upstream_refused", True),
        (401, "upstream_denied", True),
        (302, "upstream_refused", True),
        (429, "upstream_throttled", False),
        (503, "upstream_unavailable", False),
    ],
)
async def test_what_a_status_means(service: Retrieval, status: int, code: str, final: bool) -> None:
    service.status, service.headers = status, {"retry-after": "3", "location": service.url}
    error = await refused(await opened(service.url))
    assert (error.code, error.final, len(service.arrivals)) == (code, final, 1)
    assert "anna" not in str(error)
    if status in (401, 429, 503):
        made = await opened(service.url)
        with pytest.raises(DestinationError) as away:
            await made.ping()
        assert away.value.code == code
        await made.close()


@pytest.mark.parametrize("body", [b"", b"null", b"{", b'"  "'])
async def test_nothing_asked_is_refused_and_not_sent(service: Retrieval, body: bytes) -> None:
    error = await refused(await opened(service.url), body)
    assert (error.code, service.arrivals) == ("input_unmapped", [])


@pytest.mark.parametrize("filters", ["{{ body.filters }}", {"tenant": "{{ subject.tenant }}"}, {"tenant": "{{ body.filters | join }}"}])
async def test_a_filter_that_would_narrow_nothing_is_refused_and_nothing_is_sent(service: Retrieval, filters: Any) -> None:
    """Else a search would show what the caller may not read."""
    error = await refused(await opened(service.url, filters=filters), b'{"filters": []}')
    assert (error.code, service.arrivals) == ("input_unmapped", [])


async def test_a_service_that_is_slow_is_given_up(service: Retrieval) -> None:
    service.delay_s = 30
    assert (await refused(await opened(service.url, timeout="200ms"))).code == "upstream_timeout"


async def test_a_service_that_is_killed_and_comes_back_is_asked_again(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    process = Process([sys.executable, "-m", "tests.contract.retrieval_server", str(port)], tmp_path / "search.log")
    made = await opened(f"http://127.0.0.1:{port}/v1/search")
    try:
        with pytest.raises(DestinationError) as nobody:
            await made.send(asked(b'"why"'))
        assert (nobody.value.code, nobody.value.sent) == ("connect_failed", False)
        for _ in range(2):
            process.start()
            await asyncio.to_thread(until, lambda: listens(port), "the service listened")
            assert (await whole(made, asked(b'"why"')))[0] == 200
            process.kill()
            with pytest.raises(DestinationError) as gone:
                await made.send(asked(b'"why"'))
            assert gone.value.code in ("connect_failed", "upstream_reset")
    finally:
        process.kill()
        await made.close()
