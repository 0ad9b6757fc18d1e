"""Destinations that answer the question themselves: a decided request is asked, a held one when somebody else has said yes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pytest

from tests.e2e.processes import Process, until
from tests.e2e.running import Lockgate, free_ports, listens, prepared
from tests.e2e.test_reviews import approve, state_of
from tests.e2e.wire import ask
from tests.e2e.yard import load, save
from tests.needs import needs


@dataclass(frozen=True)
class Kind:
    """`module`: the peer, run with a port. `settings` by that port. `arrived`: what the peer got for a decision, and under which trace.
    `answered`: what the caller gets, which is to be `answer` where that path is asked."""

    needed: str
    module: str
    settings: Callable[[int], Mapping[str, Any]]
    arrived: Callable[[int, str], list[tuple[Any, str]]]
    answered: Callable[[Any], Any]
    answer: Callable[[str], Any]


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
    lambda _: "It is so.",
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
    lambda path: f"{path}!",
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
    lambda path: [{"text": path}],
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
    lambda path: (f"{path}: yes", "travel"),
)
KINDS = {"llm": LLM, "mcp": MCP, "a2a": A2A, "retrieval": RETRIEVAL}


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lockgate, Mapping[str, int]]]:
    """One with a destination of every kind that is installed; its peers by port."""
    folder = tmp_path_factory.mktemp("kinds")
    installed = [name for name, kind in KINDS.items() if find_spec(kind.needed) is not None]
    ports = dict(zip(installed, free_ports(len(installed)), strict=True))
    with ExitStack() as stack:
        lockgate = stack.enter_context(prepared(folder))
        for name, port in ports.items():
            peer = Process([sys.executable, "-m", KINDS[name].module, str(port)], folder / f"{name}.log")
            stack.callback(peer.kill)
            peer.start()
            _leads(lockgate, name, {"input": "{{ request.path }}", **KINDS[name].settings(port)})
            until(lambda port=port: listens(port), f"the peer listened; it said:\n{peer.said}")  # type: ignore[misc]
        lockgate.start()
        yield lockgate, ports


def _leads(lockgate: Lockgate, name: str, settings: Mapping[str, Any]) -> None:
    """What is asked for below `/NAME` goes there; what is paid there is held first."""
    file = lockgate.yard.folder / "catalog.yaml"
    catalog, data = load(file), load(lockgate.yard.data)
    catalog["destinations"][name] = dict(settings)
    catalog["routes"][name] = {"destination": name}
    for intent, method, path in (("look", "GET", "items"), ("pay", "POST", "pay")):
        match = {"method": method, "path": f"/{name}/{path}/{{id}}"}
        catalog["rules"].append({"name": f"{name}-{intent}", "match": match, "intent": intent, "route": name})
    save(file, catalog)
    data["lockgate"]["config"]["access"]["routes"][name] = {"employee": ["*"]}
    save(lockgate.yard.data, data)


@pytest.fixture(params=KINDS)
def running(request: pytest.FixtureRequest, standing: tuple[Lockgate, Mapping[str, int]]) -> tuple[Lockgate, int, str]:
    lockgate, ports = standing
    needs(KINDS[request.param].needed, "run `make test`")
    return lockgate, ports[request.param], request.param


def test_a_decided_request_is_asked_and_answered(running: tuple[Lockgate, int, str]) -> None:
    """Under its decision's id and in its trace."""
    lockgate, port, name = running
    kind, path = KINDS[name], f"/{name}/items/7"
    answer = lockgate.ask("ann", "GET", path)
    assert (answer.status, kind.answered(answer.json)) == (200, kind.answer(path))
    ((question, trace),) = kind.arrived(port, answer.decision)
    assert question == path
    assert len(trace) == 55
    outcome = lockgate.outcome(answer.decision)
    assert (outcome["result"], outcome["http_status"] if "http_status" in outcome else outcome.get("status")) == ("routed", 200)


def test_a_held_request_is_asked_once_somebody_else_has_approved_it(running: tuple[Lockgate, int, str]) -> None:
    lockgate, port, name = running
    kind, path = KINDS[name], f"/{name}/pay/1"
    answer = lockgate.ask("ann", "POST", path, {"amount": 5})
    assert (answer.status, kind.arrived(port, answer.decision)) == (202, [])
    assert approve(lockgate, answer.decision).status == 200
    state_of(lockgate, answer.decision, "done")
    ((question, _),) = kind.arrived(port, answer.decision)
    assert question == path
