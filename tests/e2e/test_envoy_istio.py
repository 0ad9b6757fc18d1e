"""Istio's ingress gateway with what `lockgate envoy config --format istio` wrote, and the real door: what is decided goes on, and nothing
else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.sync.client import connect

from examples.halden.demo.company import free_ports
from router.envoy.formats import documents
from router.envoy.options import Options
from router.settings import Address
from router.workspace import parse, read
from tests.conformance.istiod import gateway
from tests.e2e.envoy import Envoy, _ready, binary
from tests.e2e.processes import Process, until
from tests.e2e.running import Lockgate, company
from tests.e2e.test_envoy_config import MODES, _asks

OPTIONS: dict[str, dict[str, Any]] = {"buffered": {}, "streamed": {"bodies": "streamed"}, "authz": {"filter": "ext_authz"}}


@pytest.fixture(scope="module")
def lockgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    (port,) = free_ports(1)
    block = {"listen": f"127.0.0.1:{port}", "outcome_patience": "5s", "notice": "0ms"}
    with company(tmp_path_factory.mktemp("lockgate"), envoy=block) as lockgate:
        lockgate.ports = {**lockgate.ports, "envoy": port}
        yield lockgate


@contextmanager
def ingress(lockgate: Lockgate, folder: Path, **more: Any) -> Iterator[Envoy]:
    port, admin = free_ports(2)
    workspace = parse(read(lockgate.yard.folder, os.environ), os.environ)
    options = Options(lockgate=(Address("127.0.0.1", lockgate.ports["envoy"]),), **more)
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(gateway(documents("istio", workspace, options).documents, port, admin), sort_keys=False))
    command = [str(binary()), "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"]
    process = Process(command, folder / "gateway.log")
    envoy = Envoy(process, {"envoy": port, "admin": admin}, lockgate)
    try:
        process.start()
        until(lambda: _ready(admin, process), f"Envoy was ready; it said:\n{process.said[-2000:]}")
        until(lambda: _asks(envoy), "Envoy knew that the door is healthy")
        yield envoy
    finally:
        process.kill()


@pytest.fixture(scope="module", params=list(MODES))
def envoy(request: pytest.FixtureRequest, lockgate: Lockgate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Envoy]:
    with ingress(lockgate, tmp_path_factory.mktemp("ingress"), **OPTIONS[request.param]) as envoy:
        yield envoy


def test_what_is_decided_goes_on(envoy: Envoy) -> None:
    """By the route that was decided, with and without a body, and never by the one that a caller names."""
    for method, path, body, route in (
        ("GET", "/items/1", None, "plain"),
        ("POST", "/echo/1", {"message": "hello"}, "plain"),
        ("POST", "/upload/1", b"x" * 1000, "streamed"),
    ):
        answer = envoy.ask("ann", method, path, body, x_lockgate_route="lonely")
        assert answer.status == 200, answer.body
        assert dict(answer.json["headers"])["x-lockgate-route"] == route


def test_what_is_refused_does_not(envoy: Envoy) -> None:
    """Whatever it says of itself."""
    for who in ("eve", None):
        assert envoy.ask(who, "GET", "/items/1", x_lockgate_route="plain").status in (401, 403)


def test_a_service_may_take_longer_than_a_body(envoy: Envoy) -> None:
    """`limits.body_timeout` is a second here, and a route's own time-outs are longer: until the first byte, too."""
    assert envoy.ask("ann", "GET", "/dawdle/2").status == 200


def test_websockets_go_on(envoy: Envoy) -> None:
    """Istio's listener has the upgrade."""
    key = {"authorization": f"Bearer {envoy.lockgate.keys['ann']}"}
    with connect(f"ws://127.0.0.1:{envoy.ports['envoy']}/chat/1", additional_headers=key, proxy=None) as socket:
        assert "x-lockgate-subject" in socket.recv()
        time.sleep(1.5)  # longer than a body may pause
        socket.send("hello")
        assert socket.recv() == "hello"
