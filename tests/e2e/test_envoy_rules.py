"""Rules whose bodies are read before rules that stream, over the real Envoy: the first rule decides, as over the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from examples.halden.demo.company import free_ports
from tests.e2e.envoy import Envoy
from tests.e2e.running import Lockgate, prepared
from tests.e2e.test_envoy_config import MODES, configured
from tests.e2e.wire import raw
from tests.e2e.yard import load, save

EARLIER = [
    {"name": "scan", "match": {"method": "POST", "path": "/upload/scan/{id}"}, "no_intent": True, "route": "plain"},
    {"name": "bang", "match": {"path": "/echo/{rest...}", "header": {"user-agent": "caf!"}}, "no_intent": True, "route": "lonely"},
    {"name": "flag", "match": {"path": "/upload/flag/{rest...}", "json": {"$.message": "hi"}}, "no_intent": True, "route": "plain"},
]


@pytest.fixture(scope="module")
def lockgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    (port,) = free_ports(1)
    with prepared(tmp_path_factory.mktemp("lockgate"), envoy={"listen": f"127.0.0.1:{port}", "notice": "0ms"}) as lockgate:
        file = lockgate.yard.folder / "catalog.yaml"
        catalog = load(file)
        catalog["rules"] = [*EARLIER, *catalog["rules"]]
        save(file, catalog)
        lockgate.start()
        yield lockgate


@pytest.fixture(scope="module", params=list(MODES))
def envoy(request: pytest.FixtureRequest, lockgate: Lockgate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Envoy]:
    with configured(lockgate, tmp_path_factory.mktemp("envoy"), *MODES[request.param]) as envoy:
        yield envoy


@pytest.mark.parametrize(
    ("method", "path", "body", "route"),
    [
        ("POST", "/upload/scan/1", {"message": "hi"}, "plain"),
        ("POST", "/upload/scan/1/", {"message": "hi"}, "plain"),
        ("PUT", "/upload/scan/1", {"message": "hi"}, "streamed"),
        ("POST", "/upload/flag/1", {"message": "hi"}, "plain"),
        ("POST", "/upload/flag/1", {"message": "ho"}, "streamed"),
        ("POST", "/upload/other/1", {"message": "hi"}, "streamed"),
    ],
)
def test_the_first_rule_decides(envoy: Envoy, method: str, path: str, body: Any, route: str) -> None:
    """Also where it needs the body, and a later one, which streams, would take the request."""
    for ask in (envoy.lockgate.ask, envoy.ask):
        answer = ask("ann", method, path, body)
        assert answer.status == 200, answer.body
        assert (dict(answer.json["headers"])["x-lockgate-route"], answer.json["body_bytes"]) == (route, 17)


def test_what_no_earlier_rule_takes_goes_on_unread(envoy: Envoy) -> None:
    """Of any size."""
    answer = envoy.ask("ann", "POST", "/upload/other/1", b"x" * (1 << 20), content_type="application/octet-stream")
    assert (answer.status, answer.json["body_bytes"]) == (200, 1 << 20)


@pytest.mark.parametrize(("agent", "status"), [(b"caf!", 502), (b"caf\xe9", 200), (b"caf\xc3\xa9", 200), (b"caf\xef\xbf\xbd", 200)])
def test_a_field_is_judged_as_it_is_sent(envoy: Envoy, agent: bytes, status: int) -> None:
    """Bytes that are no UTF-8 are not taken for others."""
    key = envoy.lockgate.keys["ann"].encode()
    asked = b"GET /echo/agent HTTP/1.1\r\nhost: yard\r\nuser-agent: %s\r\nauthorization: Bearer %s\r\nconnection: close\r\n\r\n" % (
        agent,
        key,
    )
    answer = raw(envoy.ports["envoy"], asked)
    assert answer.status == status
    if status == 200:
        assert dict(answer.json["headers"])["user-agent"].encode("latin-1") == agent
