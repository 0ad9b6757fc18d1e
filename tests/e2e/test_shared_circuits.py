"""Two nodes, one service that fails, one Redis: what one node sees of it the other knows."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import redis_server
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, prepared
from tests.e2e.test_shared_state import figure
from tests.e2e.yard import load, save
from tests.redis_server import RedisServer

OPEN_S = 3


class Service:
    """Answers 503 while `failing`."""

    def __init__(self) -> None:
        self.failing = False
        self.asked: list[str] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                service.asked.append(self.path)
                self.send_response(503 if service.failing else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server.running() as server:
        yield server


@contextmanager
def two(folder: Path, redis: RedisServer, service: Service, circuits: Any) -> Iterator[list[Lockgate]]:
    shared = {"adapter": "redis", "server": str(redis.address), "retry": "100ms", "circuits": circuits}
    with ExitStack() as stack:
        nodes = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            node = stack.enter_context(prepared(folder / name, shared_state=shared))
            document = load(node.yard.folder / "catalog.yaml")
            circuit = {"failures": 3, "open": f"{OPEN_S}s"}
            document["destinations"]["service"].update(upstreams=[{"url": service.url}], circuit=circuit)
            save(node.yard.folder / "catalog.yaml", document)
            node.start()
            nodes.append(node)
        yield nodes


def asks(node: Lockgate) -> tuple[int, str]:
    answer = node.ask("ann", "GET", "/echo/x")
    return answer.status, answer.code if answer.status == 503 and answer.body else ""


def heard(node: Lockgate, what: str) -> float:
    return figure(node, f'lockgate_shared_state_circuits_total{{result="{what}"')


def test_a_node_leaves_alone_what_another_saw_fail(tmp_path: Path, redis: RedisServer, service: Service) -> None:
    """The second node refuses without one request of its own having failed; and once the first one's probe is answered, both serve."""
    with two(tmp_path, redis, service, {}) as (one, other):
        assert [asks(node)[0] for node in (one, other)] == [200, 200]
        service.failing = True
        assert [asks(one)[0] for _ in range(3)] == [503] * 3
        until(lambda: heard(other, "heard_open") == 1, "the other has heard")
        before = len(service.asked)
        assert asks(other) == (503, "circuit_open")
        assert len(service.asked) == before
        service.failing = False
        until(lambda: asks(one)[0] == 200, "the first probed")
        until(lambda: asks(other)[0] == 200, "the other serves again")
        assert heard(one, "told_open") >= 1


@pytest.mark.parametrize("number", [pytest.param(signal.SIGKILL, marks=pytest.mark.slow), signal.SIGSTOP])
def test_without_redis_each_has_its_own(tmp_path: Path, redis: RedisServer, service: Service, number: signal.Signals) -> None:
    """A node whose circuit is open says nothing about the other's; and when Redis is back they know of each other again."""
    with two(tmp_path, redis, service, {"interval": "100ms"}) as (one, other):
        redis.signal(number)
        until(lambda: all(heard(node, "shared_state_unavailable") > 0 for node in (one, other)), "both noticed")
        service.failing = True
        assert [asks(one)[0] for _ in range(3)] == [503] * 3
        before = len(service.asked)
        assert asks(one) == (503, "circuit_open")
        assert len(service.asked) == before
        assert asks(other)[1] != "circuit_open"
        assert len(service.asked) == before + 1
        service.failing = False
        until(lambda: all(asks(node)[0] == 200 for node in (one, other)), "both serve")
        redis.start() if number is signal.SIGKILL else redis.signal(signal.SIGCONT)
        until(lambda: all(figure(node, "lockgate_shared_state_healthy") == 1 for node in (one, other)), "Redis was found again")
        service.failing = True
        assert [asks(one)[0] for _ in range(3)] == [503] * 3
        until(lambda: heard(other, "heard_open") == 1, "the other has heard")


@pytest.mark.slow
def test_it_is_off_unless_it_is_configured(tmp_path: Path, redis: RedisServer, service: Service) -> None:
    """Redis alone shares no circuits."""
    with two(tmp_path, redis, service, None) as (one, other):
        service.failing = True
        assert [asks(one)[0] for _ in range(3)] == [503] * 3
        assert asks(one) == (503, "circuit_open")
        assert asks(other)[1] != "circuit_open"
        assert redis.ask("KEYS", "*circuits*") == ""
