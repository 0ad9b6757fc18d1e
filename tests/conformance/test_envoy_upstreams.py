"""Several upstreams behind a real Envoy, as `lockgate envoy config` tells it of them: who is asked, and who is left alone."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import yaml

from tests.conformance.envoy_workspaces import workspace
from tests.conformance.test_envoy_config import Before, before
from tests.e2e.processes import until
from tests.e2e.wire import Answer

ONCE = {"retries": {"attempts": 1}, "circuit": {"failures": 1000}}
PAIRS: dict[str, dict[str, Any]] = {
    "turns": {},
    "weights": {},
    "least": {"balance": "least_requests"},
    "subject": {"balance": "hash", "hash_by": "subject"},
    "path": {"balance": "hash", "hash_by": "path"},
    "field": {"balance": "hash", "hash_by": "header:x-cart"},
    "outliers": {"outliers": {"consecutive": 2, "ejection": "60s"}},
    "share": {"outliers": {"consecutive": 1000, "failures": "50%", "requests": 10, "interval": "1s", "ejection": "60s"}},
    "flawless": {
        "outliers": {"consecutive": 1000, "failures": "1%", "requests": 1, "interval": "500ms", "ejection": "10m", "longest": "5m"}
    },
    "checked": {"health": {"path": "/healthz", "interval": "100ms", "timeout": "1s", "unhealthy": 1}},
}
ALONE: dict[str, dict[str, Any]] = {
    "circuit": {"circuit": {"failures": 2, "open": "60s"}},
    "closing": {"circuit": {"failures": 2, "open": "500ms"}},
    "only": {"outliers": {"consecutive": 2, "ejection": "60s"}, "circuit": {"failures": 3, "open": "60s"}},
    "idle": {"timeouts": {"idle": "500ms"}},
    "capped": {"concurrency": 1},
    "unbudgeted": {"retries": {"attempts": 3, "budget": 0, "floor": 0}},
    "budgeted": {"retries": {"attempts": 3, "budget": 1, "floor": 3}},
}


@dataclass(slots=True)
class Upstream:
    """Says `status`, and after it what else there is in `others`, in turns; after `go` where a path begins with /hold."""

    status: int = 200
    others: tuple[int, ...] = ()
    healthy: bool = True
    asked: list[str] = field(default_factory=list)
    go: Event = field(default_factory=Event)
    port: int = 0


@contextmanager
def upstream() -> Iterator[Upstream]:
    made = Upstream()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/healthz":
                self._say(200 if made.healthy else 500)
                return
            made.asked.append(self.path)
            if self.path.startswith("/hold"):
                made.go.wait(20)
            self._say((made.status, *made.others)[len(made.asked) % (1 + len(made.others))])

        def _say(self, status: int) -> None:
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made.port = server.server_address[1]
    try:
        yield made
    finally:
        made.go.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True, slots=True)
class Edge:
    envoy: Before
    upstreams: dict[str, list[Upstream]]

    def ask(self, route: str, path: str, **fields: str) -> Answer:
        return self.envoy.ask("GET", path, x_route=route, **fields)

    def counts(self, route: str) -> list[int]:
        return [len(each.asked) for each in self.upstreams[route]]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A route to each destination, which the test names as the door would."""
    folder = tmp_path_factory.mktemp("edge")
    with ExitStack() as stack:
        found = {name: [stack.enter_context(upstream()) for _ in range(2 if name in PAIRS else 1)] for name in (*PAIRS, *ALONE)}
        weights = {"weights": (3, 1)}
        destinations = {
            name: {
                "adapter": "http",
                "upstreams": [
                    {"url": f"http://127.0.0.1:{each.port}", "weight": weight}
                    for each, weight in zip(found[name], weights.get(name, (1, 1)), strict=False)
                ],
                **ONCE,
                **settings,
            }
            for name, settings in (PAIRS | ALONE).items()
        }
        yield Edge(stack.enter_context(before(folder, workspace(folder, destinations), "%REQ(X-ROUTE)%", who="%REQ(X-WHO)%")), found)


def test_they_take_turns(edge: Edge) -> None:
    assert {edge.ask("turns", f"/{number}").status for number in range(10)} == {200}
    assert edge.counts("turns") == [5, 5]


def test_shares_are_by_weight(edge: Edge) -> None:
    for number in range(16):
        edge.ask("weights", f"/{number}")
    first, second = edge.counts("weights")
    assert (first + second, abs(first - 12) <= 1) == (16, True)


def test_the_less_busy_one_is_asked(edge: Edge) -> None:
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(edge.ask, "least", "/hold")
        until(lambda: sum(edge.counts("least")) == 1, "one was busy")
        busy = edge.counts("least").index(1)
        for number in range(8):
            assert edge.ask("least", f"/{number}").status == 200
        assert edge.counts("least")[busy] == 1
        edge.upstreams["least"][busy].go.set()
        assert held.result().status == 200


@pytest.mark.parametrize("route", ["subject", "path", "field"])
def test_by_hash_each_has_its_own(edge: Edge, route: str) -> None:
    """The same for a subject, a path without its query, a field; and not one for all."""
    where: dict[int, set[int]] = {}
    for number in range(24):
        for turn in range(3):
            before_it = edge.counts(route)
            path = f"/{number}?turn={turn}" if route == "path" else f"/{turn}"
            assert edge.ask(route, path, x_who=f"s{number}", x_cart=f"c{number}").status == 200
            where.setdefault(number, set()).add([a - b for a, b in zip(edge.counts(route), before_it, strict=True)].index(1))
    assert {len(each) for each in where.values()} == {1}
    assert min(Counter(min(each) for each in where.values()).values()) >= 2


def test_one_that_answers_with_errors_is_left_alone(edge: Edge) -> None:
    """Soon after its second: Envoy puts it out on another thread than the one that carries requests."""
    first, _ = edge.upstreams["outliers"]
    first.status = 500
    until(lambda: _turns(edge, "outliers", 4) == [0, 4], "it was left alone")
    asked = len(first.asked)
    assert 2 <= asked <= 4
    assert {edge.ask("outliers", f"/{number}").status for number in range(10)} == {200}
    assert len(first.asked) == asked


def test_one_that_fails_too_often_is_left_alone(edge: Edge) -> None:
    """Half of what it is asked, which is as much as it may not; a third of that goes on for as long as it likes."""
    first, second = edge.upstreams["share"]
    first.others, second.others = (500,), (200, 200, 200, 200, 500)
    until(lambda: _turns(edge, "share", 24)[0] == 0, "it was left alone")
    assert _turns(edge, "share", 24) == [0, 24]


def test_who_never_fails_is_not_left_alone_however_little_he_may(edge: Edge) -> None:
    for _ in range(3):
        assert _turns(edge, "flawless", 10) == [5, 5]
        time.sleep(0.7)  # the next interval: it is judged at its end
    assert _turns(edge, "flawless", 10) == [5, 5]


def test_the_only_one_is_not(edge: Edge) -> None:
    """By how well it answers; its circuit opens all the same."""
    (only,) = edge.upstreams["only"]
    only.status = 500
    assert [edge.ask("only", f"/{number}").status for number in range(6)] == [500] * 6
    only.status = 503
    until(lambda: "content-type" in edge.ask("only", "/x").fields, "Envoy answered itself")


def test_active_checks_take_one_out_and_back(edge: Edge) -> None:
    first, _ = edge.upstreams["checked"]
    first.healthy = False
    until(lambda: _turns(edge, "checked", 4) == [0, 4], "the sick one was left alone")
    first.healthy = True
    until(lambda: _turns(edge, "checked", 4) == [2, 2], "it was asked again")


def test_a_circuit_opens(edge: Edge) -> None:
    """Soon after as many failures in a row nobody asks; the caller is told why."""
    (broken,) = edge.upstreams["circuit"]
    broken.status = 503
    until(lambda: "content-type" in edge.ask("circuit", "/x").fields, "Envoy answered itself")
    asked = len(broken.asked)
    assert 2 <= asked <= 4
    assert {edge.ask("circuit", f"/{number}").code for number in range(5)} == {"no_healthy_upstream"}
    assert len(broken.asked) == asked


def test_a_circuit_closes_again(edge: Edge) -> None:
    (broken,) = edge.upstreams["closing"]
    broken.status = 503
    until(lambda: "content-type" in edge.ask("closing", "/x").fields, "Envoy answered itself")
    broken.status = 200
    until(lambda: edge.ask("closing", "/x").status == 200, "it was asked again")


def test_a_silent_one_is_given_up(edge: Edge) -> None:
    """After the idle time, long before the total one."""
    answer = edge.ask("idle", "/hold")
    assert (answer.status, answer.code) == (504, "upstream_timeout")


def test_a_silent_one_is_told_of_in_the_same_words_by_whichever_sees_it_first(edge: Edge, tmp_path: Path) -> None:
    """The stream's own timer instead of the router's, which is as long."""
    (silent,) = edge.upstreams["idle"]
    destinations = {"idle": {"adapter": "http", "upstreams": [{"url": f"http://127.0.0.1:{silent.port}"}], **ONCE, **ALONE["idle"]}}
    envoy = Before(tmp_path, workspace(tmp_path, destinations), "idle", None)
    written = yaml.safe_load((tmp_path / "envoy.yaml").read_text())
    manager = written["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    policies = [each["route"]["retry_policy"] for each in manager["route_config"]["virtual_hosts"][0]["routes"] if "route" in each]
    assert [each.pop("per_try_idle_timeout") for each in policies]
    (tmp_path / "envoy.yaml").write_text(yaml.safe_dump(written))
    try:
        envoy.start()
        answer = envoy.ask("GET", "/hold")
        assert (answer.status, answer.code) == (504, "upstream_timeout")
    finally:
        envoy.process.kill()


def test_a_body_that_stops_coming_is_told_so(edge: Edge) -> None:
    """Where nobody but the stream's timer sees it."""
    with socket.create_connection(("127.0.0.1", edge.envoy.port), timeout=10) as wire:
        wire.sendall(b"GET /hold HTTP/1.1\r\nhost: x\r\nx-route: idle\r\ncontent-length: 10\r\n\r\nabc")
        answer = http.client.HTTPResponse(wire)
        answer.begin()
        assert (answer.status, json.loads(answer.read())["code"]) == (408, "body_timeout")


def test_concurrency_is_capped_and_given_back(edge: Edge) -> None:
    """One is under way and one waits; more are refused with the gateway's code."""
    (capped,) = edge.upstreams["capped"]
    with ThreadPoolExecutor(4) as pool:
        held = pool.submit(edge.ask, "capped", "/hold")
        until(lambda: capped.asked, "one was under way")
        others = [pool.submit(edge.ask, "capped", f"/{number}") for number in range(3)]
        until(lambda: sum(each.done() for each in others) == 2, "two of three were refused")
        refused = [each.result() for each in others if each.done()]
        capped.go.set()
        assert [each.result().status for each in (held, *others)].count(200) == 2
    assert [(each.status, each.code) for each in refused] == [(503, "concurrency_exceeded")] * 2
    assert edge.ask("capped", "/after").status == 200


@pytest.mark.parametrize(("route", "sent"), [("unbudgeted", 1), ("budgeted", 3)])
def test_retries_have_a_budget(edge: Edge, route: str, sent: int) -> None:
    edge.upstreams[route][0].status = 503
    assert edge.ask(route, "/x").status == 503
    assert edge.counts(route) == [sent]


def _turns(edge: Edge, route: str, times: int) -> list[int]:
    """How many of so many requests each got."""
    before_them = edge.counts(route)
    for number in range(times):
        edge.ask(route, f"/{number}")
    return [now - then for now, then in zip(edge.counts(route), before_them, strict=True)]
