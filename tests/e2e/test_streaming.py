"""Bytes that arrive bit by bit, in both directions, over HTTP and WebSocket."""

from __future__ import annotations

import hashlib
import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.wire import closing_connection, opened, said

MEGABYTE = 1 << 20


def bearer(lockgate: Lockgate, who: str) -> dict[str, str]:
    return {"authorization": f"Bearer {lockgate.keys[who]}"}


def chat(lockgate: Lockgate, path: str = "/chat/room", who: str = "ann", **more: str) -> ClientConnection:
    headers = bearer(lockgate, who) | {name.replace("_", "-"): value for name, value in more.items()}
    return connect(f"ws://127.0.0.1:{lockgate.gateway}{path}", additional_headers=headers, proxy=None, close_timeout=5)


def test_an_event_arrives_while_the_service_holds_the_connection(lockgate: Lockgate) -> None:
    """Server-sent events are not buffered: the first one is here before the service has sent a second."""
    with closing_connection(lockgate.gateway) as connection:
        connection.request("GET", "/events/x", headers=bearer(lockgate, "ann"))
        answer = connection.getresponse()
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.readline() == b"data: first\n"
        lockgate.release()
        assert answer.read() == b"\ndata: second\n\n"
    assert lockgate.outcome(answer.headers["x-lockgate-decision-id"])["result"] == "routed"


def test_a_caller_who_leaves_a_stream_ends_it_at_the_service(lockgate: Lockgate) -> None:
    """When the caller of an event stream goes away the service's connection is closed, and the outcome says why."""
    before = lockgate.gone()
    with closing_connection(lockgate.gateway) as connection:
        connection.request("GET", "/events/x", headers=bearer(lockgate, "ann"))
        answer = connection.getresponse()
        assert answer.readline() == b"data: first\n"
    outcome = lockgate.outcome(answer.headers["x-lockgate-decision-id"])
    assert (outcome["result"], outcome["reason"]) == ("failed", "client_gone")
    until(lambda: lockgate.gone() > before, "the service saw its caller leave")


def test_an_upload_streams_to_the_service(lockgate: Lockgate) -> None:
    """On a `stream: true` route the service has the first part of a body that the caller has not finished."""
    first, second = b"a" * 200_000, b"b" * 300_000
    fields = (
        "POST /upload/x HTTP/1.1",
        "host: yard",
        f"authorization: Bearer {lockgate.keys['ann']}",
        f"content-length: {len(first + second)}",
    )
    head = "\r\n".join((*fields, "", ""))
    with opened(lockgate.gateway) as connection:
        connection.sendall(head.encode() + first)
        until(lambda: any(each["body_bytes"] == len(first) for each in lockgate.arrivals()), "the first part had arrived")
        connection.sendall(second)
        answer = said(connection)
    assert answer.status == 200
    assert answer.json["body_digest"] == hashlib.sha256(first + second).hexdigest()
    assert "content-length" in dict(answer.json["headers"])


def test_a_chunked_upload_streams_to_the_service(lockgate: Lockgate) -> None:
    """A body without an announced length arrives whole as well."""
    parts = [bytes([number]) * 70_000 for number in range(8)]
    with closing_connection(lockgate.gateway) as connection:
        connection.request("PUT", "/upload/x", iter(parts), bearer(lockgate, "ann"), encode_chunked=True)
        answer = json.loads(connection.getresponse().read())
    assert answer["body_digest"] == hashlib.sha256(b"".join(parts)).hexdigest()


def test_a_large_download_arrives_whole(lockgate: Lockgate) -> None:
    """Thirty megabytes come through unchanged, and their number is in the outcome."""
    wanted = 30 * MEGABYTE
    answer = lockgate.ask("ann", "GET", f"/download/{wanted}")
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256((bytes(range(256)) * 256) * (wanted >> 16)).digest()
    assert lockgate.outcome(answer.decision)["response_bytes"] == wanted


def test_messages_pass_both_ways(lockgate: Lockgate) -> None:
    """Text and bytes pass unchanged through a WebSocket that a rule admits; the service knows who speaks and not the credential."""
    with chat(lockgate, x_lockgate_subject="root") as socket:
        handshake = {name.lower(): value for name, value in json.loads(socket.recv(30)).items()}
        assert handshake["x-lockgate-subject"] == "ann"
        assert "authorization" not in handshake
        for message in ("grüße", b"\x00\xff", "x" * 200_000):
            socket.send(message)
            assert socket.recv(30) == message


def test_a_message_over_the_limit_of_bodies_ends_the_websocket(lockgate: Lockgate) -> None:
    """With 1009, here and at the service, which sees nothing of it; one that is as long as a body may be passes."""
    with chat(lockgate) as socket:
        socket.recv(30)
        socket.send(b"x" * MEGABYTE)
        assert len(socket.recv(30)) == MEGABYTE
        socket.send(b"x" * (MEGABYTE + 1))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    until(lambda: 1009 in lockgate.closes(), f"the service saw 1009, not {lockgate.closes()}")


def test_the_services_close_code_reaches_the_caller(lockgate: Lockgate) -> None:
    """A WebSocket that the service closes is closed here with the same code."""
    with chat(lockgate) as socket:
        socket.recv(30)
        socket.send("close 4001")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4001


def test_the_callers_close_code_reaches_the_service(lockgate: Lockgate) -> None:
    """A WebSocket that the caller closes is closed at the service with the same code."""
    with chat(lockgate) as socket:
        decision = json.loads(socket.recv(30))
        socket.close(4002, "bye")
    until(lambda: lockgate.closes() == [4002], f"the service saw 4002, not {lockgate.closes()}")
    named = {name.lower(): value for name, value in decision.items()}["x-lockgate-decision-id"]
    assert lockgate.outcome(named)["result"] == "routed"


@pytest.mark.parametrize(("path", "who"), [("/chat/room", "eve"), ("/secret/room", "ann"), ("/echo/x", "ann"), ("/nowhere", "ann")])
def test_a_refused_websocket_is_never_accepted(lockgate: Lockgate, path: str, who: str) -> None:
    """Without a grant, or without a rule that admits WebSockets, the handshake is answered 403 and the service hears nothing."""
    with pytest.raises(InvalidStatus) as refused, chat(lockgate, path, who):
        pass
    assert refused.value.response.status_code == 403
    assert lockgate.arrivals() == []
    assert lockgate.closes() == []
