"""Destinations that answer the question themselves: a decided request is asked, a held one when somebody else has said yes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.kinds import behind
from tests.e2e.processes import Process
from tests.e2e.running import Lockgate, free_ports
from tests.e2e.test_reviews import approve, state_of
from tests.e2e.wire import ask
from tests.needs import needs


@dataclass(frozen=True)
class Kind:
    """`module`: the peer, run with a port. `settings` by that port. `arrived`: what the peer got for a decision, and under which trace.
    `answered`: what the caller gets."""

    needed: str
    module: str
    settings: Callable[[int], Mapping[str, Any]]
    arrived: Callable[[int, str], list[tuple[Any, str]]]
    answered: Callable[[Any], Any]
    answer: Any


def _asked_llm(port: int, decision: str) -> list[tuple[Any, str]]:
    told = ask(port, "GET", "/_arrivals").json
    return [
        (asked["messages"][1]["content"], fields["traceparent"]) for fields, asked in told if fields["x-lockgate-decision-id"] == decision
    ]


LLM = Kind(
    "litellm",
    "tests.contract.llm_server",
    lambda port: {
        "adapter": "llm",
        "url": f"http://127.0.0.1:{port}/v1",
        "model": "small",
        "system": "You answer.",
        "budget": {"per_day": 9999},
    },
    _asked_llm,
    lambda answer: answer["answer"],
    "It is so.",
)


def _called(port: int, decision: str) -> list[tuple[Any, str]]:
    told = ask(port, "GET", "/_arrivals").json
    here = [each for each in told if each["meta"]["lockgate/decision-id"] == decision]
    return [(each["arguments"]["question"], each["meta"]["traceparent"]) for each in here]


MCP = Kind(
    "mcp",
    "tests.contract.tool_server",
    lambda port: {"adapter": "mcp", "url": f"http://127.0.0.1:{port}/mcp", "tool": "answer", "input": {"question": "{{ request.path }}"}},
    _called,
    lambda answer: answer["said"],
    "/items/7!",
)


def _told(port: int, decision: str) -> list[tuple[Any, str]]:
    told = ask(port, "GET", "/_arrivals").json
    here = [each for each in told if each["metadata"]["lockgate/decision-id"] == decision]
    return [(each["parts"][0]["text"], each["fields"]["traceparent"]) for each in here]


A2A = Kind(
    "a2a",
    "tests.contract.agent_server",
    lambda port: {"adapter": "a2a", "url": f"http://127.0.0.1:{port}"},
    _told,
    lambda answer: answer["parts"],
    [{"text": "/items/7"}],
)


def _searched(port: int, decision: str) -> list[tuple[Any, str]]:
    told = ask(port, "GET", "/_arrivals").json
    return [(each["asked"]["question"], each["fields"]["traceparent"]) for each in told if each["asked"]["id"] == decision]


RETRIEVAL = Kind(
    "aiohttp",
    "tests.contract.retrieval_server",
    lambda port: {"adapter": "retrieval", "url": f"http://127.0.0.1:{port}/v1/search", "passages": 1, "sources": "cited"},
    _searched,
    lambda answer: (answer["answer"], answer["passages"][0]["source"]["id"]),
    ("/items/7: yes", "travel"),
)
KINDS = {"llm": LLM, "mcp": MCP, "a2a": A2A, "retrieval": RETRIEVAL}


@pytest.fixture(scope="module", params=KINDS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lockgate, int, Kind]]:
    kind = KINDS[request.param]
    needs(kind.needed, "run `make test`")
    folder = tmp_path_factory.mktemp(request.param)
    (port,) = free_ports(1)
    peer = Process([sys.executable, "-m", kind.module, str(port)], folder / "peer.log")
    settings = {"input": "{{ request.path }}", **kind.settings(port)}
    with behind(folder, peer, port, settings) as lockgate:
        yield lockgate, port, kind


def test_a_decided_request_is_asked_and_answered(running: tuple[Lockgate, int, Kind]) -> None:
    """Under its decision's id and in its trace."""
    lockgate, port, kind = running
    answer = lockgate.ask("ann", "GET", "/items/7")
    assert (answer.status, kind.answered(answer.json)) == (200, kind.answer)
    ((question, trace),) = kind.arrived(port, answer.decision)
    assert question == "/items/7"
    assert len(trace) == 55
    outcome = lockgate.outcome(answer.decision)
    assert (outcome["result"], outcome["http_status"] if "http_status" in outcome else outcome.get("status")) == ("routed", 200)


def test_a_held_request_is_asked_once_somebody_else_has_approved_it(running: tuple[Lockgate, int, Kind]) -> None:
    lockgate, port, kind = running
    answer = lockgate.ask("ann", "POST", "/pay/1", {"amount": 5})
    assert (answer.status, kind.arrived(port, answer.decision)) == (202, [])
    assert approve(lockgate, answer.decision).status == 200
    state_of(lockgate, answer.decision, "done")
    ((question, _),) = kind.arrived(port, answer.decision)
    assert question == "/pay/1"
