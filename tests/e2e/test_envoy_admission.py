"""Whom a Lockgate behind Envoy lets in at all, with what `lockgate envoy config` writes: as its own gateway does."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from examples.halden.demo.company import free_ports
from tests.e2e.envoy import Envoy
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, company
from tests.e2e.test_envoy_config import configured
from tests.e2e.wire import is_closed, opened, said

BURST = 4
GATEWAY = {"trusted_proxies": ["127.0.0.0/8"], "deny": ["10.66.0.0/16"], "limits": {"concurrency": 2, "queue": 0}}
LIMIT = {"name": "each", "by": "subject_intent", "rate": "36/h", "burst": BURST, "intents": ["look"]}


@pytest.fixture(scope="module")
def lockgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    (port,) = free_ports(1)
    block = {"listen": f"127.0.0.1:{port}", "notice": "0ms", "deadline": "5s"}
    with company(tmp_path_factory.mktemp("lockgate"), envoy=block, gateway=GATEWAY, limits=[LIMIT]) as lockgate:
        yield lockgate


@pytest.fixture(scope="module")
def envoy(lockgate: Lockgate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Envoy]:
    with configured(lockgate, tmp_path_factory.mktemp("envoy")) as envoy:
        yield envoy


def test_a_denied_network_is_refused_before_anybody_is_asked(lockgate: Lockgate, envoy: Envoy) -> None:
    """By the address that a trusted proxy gives; a credential does not help."""
    answer = envoy.ask("ann", "GET", "/echo/1", x_forwarded_for="10.66.1.2")
    assert (answer.status, answer.code) == (403, "address_refused")
    until(lambda: any("address_refused" in str(each) for each in lockgate.system("refused")), "it was counted")
    assert envoy.ask("ann", "GET", "/echo/1", x_forwarded_for="10.67.1.2").status == 200


def test_a_limit_holds(envoy: Envoy) -> None:
    """A burst passes once; what is beyond it hears when to come again; others have their own."""
    answers = [envoy.ask("bob", "GET", "/items/1") for _ in range(BURST + 3)]
    assert Counter(each.status for each in answers) == {200: BURST, 429: 3}
    assert {(each.code, int(each.fields["retry-after"]) > 60) for each in answers if each.status == 429} == {("intent_rate_limited", True)}
    assert envoy.ask("ann", "GET", "/items/1").status == 200


def test_what_does_not_fit_is_shed(lockgate: Lockgate, envoy: Envoy) -> None:
    """Nothing can be recorded for a moment: two decisions wait for it, more are refused at once."""
    lockgate.process.signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(envoy.ask, "ann", "GET", f"/echo/{number}") for number in range(6)]
            until(lambda: sum(each.done() for each in asked) == 4, "four of six were refused")
            refused = [each.result() for each in asked if each.done()]
            lockgate.process.signal(signal.SIGCONT)
            assert Counter(each.result().status for each in asked) == {200: 2, 503: 4}
    finally:
        lockgate.process.signal(signal.SIGCONT)
    assert {(each.code, each.fields["retry-after"]) for each in refused} == {("overloaded", "1")}


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /echo/x HTTP/1.1\r\nhost: yard\r\nx-slow: ",
        b"POST /echo/x HTTP/1.1\r\nhost: yard\r\nauthorization: Bearer %s\r\ncontent-length: 9\r\n\r\n1",
    ],
    ids=["header", "body"],
)
def test_a_caller_that_never_ends_is_ended(lockgate: Lockgate, envoy: Envoy, sent: bytes) -> None:
    """In the time that the workspace gives callers of its own gateway."""
    began = time.monotonic()
    with opened(envoy.ports["envoy"]) as connection:
        connection.sendall(sent.replace(b"%s", lockgate.keys["ann"].encode()))
        answer = said(connection)
    assert answer.status == 408
    assert time.monotonic() - began > 0.5


def test_http_1_0_is_served_and_ended(lockgate: Lockgate, envoy: Envoy) -> None:
    with opened(envoy.ports["envoy"]) as connection:
        connection.sendall(b"GET /echo/old HTTP/1.0\r\nhost: yard\r\nauthorization: Bearer %s\r\n\r\n" % lockgate.keys["ann"].encode())
        assert said(connection).status == 200
        assert is_closed(connection)


def test_hop_by_hop_fields_end_at_envoy_or_the_door(lockgate: Lockgate, envoy: Envoy) -> None:
    """Also those that a caller's `Connection` names: they do not reach the service."""
    names = ("x-hop", "keep-alive", "te", "proxy-authorization", "proxy-connection", "upgrade")
    with opened(envoy.ports["envoy"]) as connection:
        fields = b"".join(b"%s: 1\r\n" % name.encode() for name in names)
        head = b"GET /echo/hop HTTP/1.1\r\nhost: yard\r\nauthorization: Bearer %s\r\nconnection: close, x-hop\r\n%s\r\n"
        connection.sendall(head % (lockgate.keys["ann"].encode(), fields))
        answer = said(connection)
    assert answer.status == 200, answer.body
    assert not {name for name, _ in answer.json["headers"]} & set(names)


def test_a_header_that_is_too_large_is_refused(envoy: Envoy) -> None:
    assert envoy.ask("ann", "GET", "/echo/large", x_large="x" * 40_000).status == 431
