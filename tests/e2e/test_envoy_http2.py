"""Requests whose framing hides a part of them, through a real Envoy: nothing goes on undecided, nor with a body that nobody judged."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import http2_framing as http2
from tests.e2e.envoy import Envoy, authorizer, envoy_before, fronted
from tests.e2e.http2_framing import Fields, Told
from tests.e2e.running import Lockgate
from tests.e2e.test_envoy_config import configured

FORGED = (("x-lockgate-route", "plain"), ("x-lockgate-subject", "root"))


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Envoy]:
    """Configured by hand, without the rule by which it would drop what callers say in our name."""
    with fronted(tmp_path_factory.mktemp("fronted")) as (_, envoy):
        yield envoy


@pytest.fixture
def lockgate(envoy: Envoy) -> Lockgate:
    envoy.lockgate.forget()
    return envoy.lockgate


def told(
    envoy: Envoy,
    who: str,
    path: str,
    *fields: tuple[str, str],
    method: str = "POST",
    body: bytes | None = None,
    trailers: Fields | None = None,
) -> Told:
    bearer = ("authorization", f"Bearer {envoy.lockgate.keys[who]}")
    return http2.ask(envoy.ports["envoy"], method, path, [bearer, *fields], body, trailers)


def saying(body: str, **changes: Any) -> dict[str, Any]:
    """A filter whose configuration says what becomes of bodies."""
    said = [{"key": "x-lockgate-body", "value": body}]
    service = {"envoy_grpc": {"cluster_name": "lockgate"}, "timeout": "3s", "initial_metadata": said}
    return authorizer(grpc_service=service, **changes)


def test_a_body_that_is_only_a_trailer_does_not_take_a_callers_own_route(lockgate: Lockgate, envoy: Envoy) -> None:
    """Envoy asks about no body then, and goes on with the head: it must not find the route that the caller wrote into it."""
    for who in ("eve", "ann"):
        assert told(envoy, who, "/pay/1", *FORGED, trailers=[("x-end", "1")]).status == 503
    assert not lockgate.arrivals()


def test_a_route_that_a_caller_names_is_not_taken_with_a_body_either(lockgate: Lockgate, envoy: Envoy) -> None:
    """The decision's own takes its place."""
    for body in (b"", b'{"n": 1}'):
        assert told(envoy, "ann", "/echo/1", ("x-lockgate-route", "secret"), body=body).status == 200
        assert told(envoy, "eve", "/pay/1", *FORGED, body=body).status == 403
    seen = [dict(each["headers"])["x-lockgate-route"] for each in lockgate.arrivals()]
    assert seen == ["plain", "plain"]


def test_a_body_that_is_not_announced_is_no_empty_one(lockgate: Lockgate, tmp_path: Path) -> None:
    """`ext_authz` is not told whether a body follows that Envoy does not look for: it is judged as one whose body nobody saw."""
    unread = ("content-type", "application/grpc")
    with configured(lockgate, tmp_path, "--filter", "ext_authz") as written:
        assert told(written, "ann", "/echo/1", unread, body=b"unread").fields["grpc-status"] == "7"
        assert not lockgate.arrivals()
        assert told(written, "ann", "/upload/1", body=b"unread").status == 200
        assert told(written, "ann", "/echo/1", body=b"read").status == 200
        assert told(written, "ann", "/echo/1", ("content-length", "0")).status == 200
    lockgate.forget()
    with envoy_before(lockgate, tmp_path / "blind", [authorizer(with_request_body=None)]) as blind:
        assert told(blind, "ann", "/echo/1", body=b"unread").status == 403
    assert not lockgate.arrivals()


def test_a_filter_that_was_not_told_to_show_bodies_is_found_out(lockgate: Lockgate, tmp_path: Path) -> None:
    """By the first body that is announced and not there, whatever policy would say to one that nobody saw; its log says what is missing."""
    with envoy_before(lockgate, tmp_path / "blind", [authorizer(with_request_body=None)]) as blind:
        refused = told(blind, "ann", "/upload/1", ("content-length", "6"), body=b"unread")
        assert refused.status == 500
        assert json.loads(refused.body)["code"] == "envoy_mode_unfit"
        assert blind.ask("ann", "DELETE", "/echo/1", {"n": 1}).code == "envoy_mode_unfit"
        assert blind.ask("ann", "GET", "/echo/1").status == 200
        assert [each["body_bytes"] for each in lockgate.arrivals()] == [0]
    assert "with_request_body" in lockgate.process.said


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
def test_what_a_filter_says_of_bodies_is_what_is_believed(lockgate: Lockgate, tmp_path: Path, method: str) -> None:
    """Where it says that it shows none, there may be one that nobody announces; where it says that it shows them, there is none that it
    does not show."""
    with envoy_before(lockgate, tmp_path / "none", [saying("none", with_request_body=None)]) as unread:
        assert told(unread, "ann", "/echo/1", method=method, body=b"unread").status == 403
        assert not lockgate.arrivals()
    with envoy_before(lockgate, tmp_path / "shown", [saying("buffered")]) as shown:
        assert told(shown, "ann", "/echo/1", method=method).status == 200
        assert told(shown, "ann", "/echo/1", method=method, body=b"read").status == 200
        assert told(shown, "ann", "/echo/1", method=method, trailers=[("x-end", "1")]).status == 200
    decided = [dict(each["headers"])["x-lockgate-decision-id"] for each in lockgate.arrivals()]
    assert [lockgate.story(each)[0]["request"]["body"]["truncated"] for each in decided] == [False] * 3
    assert [each["body_bytes"] for each in lockgate.arrivals()] == [0, 4, 0]


@pytest.mark.parametrize("head", ["POST /chat/1 HTTP/1.1", "GET /chat/1 HTTP/1.1\r\ncontent-length: 5"])
def test_a_handshake_with_a_body_is_refused(lockgate: Lockgate, envoy: Envoy, head: str) -> None:
    """A service that does not answer it with 101 would take it as a request, with a body that nobody judged."""
    with socket.create_connection(("127.0.0.1", envoy.ports["envoy"]), timeout=30) as connection:
        key = lockgate.keys["ann"]
        fields = f"host: yard\r\nauthorization: Bearer {key}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello"
        connection.sendall(f"{head}\r\n{fields}".encode())
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"websocket_malformed" in answer


def test_a_head_that_envoy_refuses_by_itself_is_no_fault_of_its_configuration(lockgate: Lockgate, envoy: Envoy) -> None:
    """A path with a fragment, say: its own 400 goes to the caller, and nobody fills the log with complaints about the filter."""
    with socket.create_connection(("127.0.0.1", envoy.ports["envoy"]), timeout=30) as connection:
        connection.sendall(f"GET /echo/1#part HTTP/1.1\r\nhost: yard\r\nauthorization: Bearer {lockgate.keys['ann']}\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")
    assert "request_header_mode" not in lockgate.process.said
