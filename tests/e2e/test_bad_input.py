"""What no good client sends: each gets its status and one RFC 9457 document, nothing of it reaches the service, and Lockgate goes on."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
from collections.abc import Iterator
from typing import BinaryIO

import pytest

from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.wire import is_closed, opened, raw, said

JSON = {"content_type": "application/json"}


@pytest.fixture(autouse=True)
def goes_on(lockgate: Lockgate) -> Iterator[None]:
    """After every one of these tests the same worker still answers, and its log holds no stack trace."""
    workers = lockgate.workers()
    yield
    assert lockgate.ask("ann", "GET", "/echo/still-there").status == 200
    assert lockgate.workers() == workers
    assert "Traceback" not in lockgate.process.said


def head(lockgate: Lockgate, *lines: str, request: str = "POST /echo/x HTTP/1.1", host: str = "host: yard") -> bytes:
    return "\r\n".join((request, host, f"authorization: Bearer {lockgate.keys['ann']}", *lines, "", "")).encode("latin-1")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"message": ', "application/json"),
        (b'{"message": "one", "message": "two"}', "application/json"),
        (b'{"message": NaN}', "application/json"),
        (b'{"message": "\\ud800"}', "application/json"),
        (b"[" * 60_000, "application/json"),
        (b'{"message": "\xff\xfe"}', "application/json"),
        (b"caf\xe9", "text/plain"),
        ("grüße".encode("utf-16"), "text/plain; charset=utf-16"),
        (b'{"a": 1}', "application/json; charset=latin-1"),
    ],
    ids=["cut", "duplicate-key", "nan", "lone-surrogate", "deep", "not-utf8", "not-utf8-text", "utf-16", "latin-1"],
)
def test_a_body_with_no_or_two_meanings_is_refused(lockgate: Lockgate, body: bytes, content_type: str) -> None:
    """What two parsers could read differently, or none can, is denied with a decision on record."""
    answer = lockgate.ask("ann", "POST", "/echo/x", body, content_type=content_type)
    assert (answer.status, answer.code) == (403, "request.body_unreadable")
    assert lockgate.story(answer.decision)[0]["outcome"]["result"] == "denied"
    assert lockgate.arrivals() == []


def test_a_packed_body_is_refused(lockgate: Lockgate) -> None:
    """A compressed body would be judged unseen, so it is denied."""
    answer = lockgate.ask("ann", "POST", "/echo/x", b"\x1f\x8b\x08\x00", content_type="application/json", content_encoding="gzip")
    assert (answer.status, answer.code) == (403, "request.body_unreadable")


def test_ten_megabytes_are_refused_by_their_announcement(lockgate: Lockgate) -> None:
    """A body over the limit is 413 as soon as its length is known."""
    answer = lockgate.ask("ann", "POST", "/echo/x", b"x" * 10_000_000)
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert lockgate.arrivals() == []


def test_ten_megabytes_without_announcement_are_cut_off(lockgate: Lockgate) -> None:
    """A streamed body that grows over the limit is ended: 413 or a broken connection, and no complete body at the service."""
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with opened(lockgate.gateway) as connection:
        connection.sendall(head(lockgate, "transfer-encoding: chunked", request="POST /upload/x HTTP/1.1"))
        try:
            for _ in range(160):
                connection.sendall(chunk)
            connection.sendall(b"0\r\n\r\n")
            answer = said(connection)
        except (BrokenPipeError, ConnectionResetError):
            answer = None
    assert answer is None or (answer.status, answer.code) == (413, "body_too_large")
    assert not any(each["complete"] for each in lockgate.arrivals())


def test_a_body_larger_than_the_view_is_denied(lockgate: Lockgate) -> None:
    """What is only seen in part is denied where policy does not expect large bodies."""
    answer = lockgate.ask("ann", "POST", "/echo/x", b"x" * 100_000, content_type="application/octet-stream")
    assert (answer.status, answer.code) == (403, "request.body_truncated")
    assert lockgate.arrivals() == []


def test_a_hundred_thousand_words_are_not_classified(lockgate: Lockgate) -> None:
    """A very long text is refused without any work on it."""
    answer = lockgate.ask("ann", "POST", "/nowhere", "cancel " * 100_000)
    assert answer.status == 403
    assert answer.code == "request.body_truncated"


@pytest.mark.parametrize(
    "text", ["a\x00b", "pay \u202e4711\u202c now", "\ufeff\u200bhello", "\x1b[31m"], ids=["nul", "bidi", "zero-width", "escape"]
)
def test_odd_characters_are_recorded_and_survived(lockgate: Lockgate, text: str) -> None:
    """NUL, bidirectional overrides, zero-width and control characters get a decision like any text, and the bytes stay as they were."""
    answer = lockgate.ask("ann", "POST", "/echo/x", {"message": text})
    assert answer.status in (200, 403)
    assert lockgate.story(answer.decision)[0]["schema"] == "lockgate.decision.v1"
    if answer.status == 200:
        assert answer.json["body_bytes"] == len(json.dumps({"message": text}).encode())


@pytest.mark.parametrize(
    "lines",
    [
        ("host: other",),
        ("content-length: 4", "content-length: 5"),
        ("content-length: 4", "transfer-encoding: chunked"),
        ("transfer-encoding: chunked", "transfer-encoding: chunked"),
        ("transfer-encoding: xchunked",),
        ("transfer-encoding: chunked, identity",),
        ("content-length: -1",),
        ("content-length: +4",),
        ("content-length: 4, 4",),
        ("content-length : 4",),
        ("x-a: b\r\n folded",),
        ("x-a: b\nx-b: c",),
        ("x-a: \x00",),
        ("authorization: Bearer other",),
        ("content-type: text/plain", "content-type: application/json"),
    ],
    ids=lambda lines: " + ".join(lines).replace("\r", "").replace("\n", " "),
)
def test_headers_that_could_smuggle_are_refused(lockgate: Lockgate, lines: tuple[str, ...]) -> None:
    """Repeated or contradicting framing, host and credentials are 400, the connection ends, and nothing behind it is read as a request."""
    smuggled = b"0\r\n\r\nGET /echo/smuggled HTTP/1.1\r\nhost: yard\r\n\r\n"
    answer = raw(lockgate.gateway, head(lockgate, *lines) + smuggled)
    assert answer.status == 400
    assert answer.code
    assert lockgate.arrivals() == []


def test_two_requests_cannot_share_a_broken_chunk(lockgate: Lockgate) -> None:
    """A bad chunk size ends the connection; what follows on it is not a request."""
    answer = raw(lockgate.gateway, head(lockgate, "transfer-encoding: chunked") + b"zz\r\nGET /echo/smuggled HTTP/1.1\r\n\r\n")
    assert answer.status == 400
    assert lockgate.arrived("/echo/smuggled") == []


def test_a_request_before_nonsense_is_still_answered(lockgate: Lockgate) -> None:
    """What cannot be understood behind a whole request ends the connection, after that request has its own answer."""
    with opened(lockgate.gateway) as connection:
        connection.sendall(head(lockgate, request="GET /echo/first HTTP/1.1") + b"nonsense\r\n\r\n" + head(lockgate))
        answer = said(connection)
        assert is_closed(connection)
    assert (answer.status, answer.json["target"]) == (200, "/echo/first")
    assert [each["target"] for each in lockgate.arrivals()] == ["/echo/first"]


def test_requests_may_follow_each_other_unasked(lockgate: Lockgate) -> None:
    """Pipelined requests are answered in their order."""
    with opened(lockgate.gateway) as connection:
        connection.sendall(b"".join(head(lockgate, request=f"GET /echo/{number} HTTP/1.1") for number in range(3)))
        reader = connection.makefile("rb")
        targets = [json.loads(body_of(reader))["target"] for _ in range(3)]
        reader.close()
    assert targets == ["/echo/0", "/echo/1", "/echo/2"]


def body_of(reader: BinaryIO) -> bytes:
    length = 0
    while (line := reader.readline().lower()) not in (b"\r\n", b""):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return reader.read(length)


def test_a_request_without_a_host_is_refused(lockgate: Lockgate) -> None:
    """RFC 9112 §3.2."""
    answer = raw(lockgate.gateway, head(lockgate, request="GET /echo/x HTTP/1.1", host="x-no: host"))
    assert (answer.status, answer.code) == (400, "host_missing")


@pytest.mark.parametrize("host", ["", "a b", "yard/../x", "user@yard", "yard:port", "[::1"])
def test_a_host_that_is_none_is_refused(lockgate: Lockgate, host: str) -> None:
    """RFC 9112 §3.2: an invalid Host is 400."""
    answer = raw(lockgate.gateway, head(lockgate, request="GET /echo/x HTTP/1.1", host=f"host: {host}"))
    assert (answer.status, answer.code) == (400, "host_invalid")
    assert lockgate.arrivals() == []


def test_a_target_with_a_host_of_its_own_must_be_of_one_mind(lockgate: Lockgate) -> None:
    """An absolute target is served where its host is the Host field's, and refused where policy would judge another one than it names."""
    same = raw(lockgate.gateway, head(lockgate, request="GET http://yard/echo/x HTTP/1.1"))
    other = raw(lockgate.gateway, head(lockgate, request="GET http://other/echo/x HTTP/1.1"))
    assert (same.status, same.json["target"]) == (200, "/echo/x")
    assert (other.status, other.code) == (400, "ambiguous_host")
    assert len(lockgate.arrivals()) == 1


def test_a_tunnel_is_refused(lockgate: Lockgate) -> None:
    """CONNECT is not served, and what follows it is not read as a request."""
    answer = raw(lockgate.gateway, head(lockgate, request="CONNECT other:443 HTTP/1.1") + head(lockgate, request="GET /echo/x HTTP/1.1"))
    assert (answer.status, answer.code) == (501, "method_unsupported")
    assert lockgate.arrivals() == []


def test_an_upgrade_to_another_protocol_is_ignored(lockgate: Lockgate) -> None:
    """Only WebSocket is spoken beside HTTP/1.1: an offer of HTTP/2 is served as the plain request that it is, and not passed on."""
    answer = raw(lockgate.gateway, head(lockgate, "connection: upgrade", "upgrade: h2c", request="GET /echo/x HTTP/1.1"))
    assert answer.status == 200
    assert "upgrade" not in dict(answer.json["headers"])


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_a_body_behind_an_offer_is_a_body(lockgate: Lockgate, framing: str) -> None:
    """Of a request that offers HTTP/2, as some clients' first one does, the body reaches the service whole, also where it comes later and
    looks like a request. The connection serves the next."""
    smuggled = head(lockgate, "content-length: 0", request="PUT /echo/smuggled HTTP/1.1")
    length = f"content-length: {len(smuggled)}" if framing == "content-length" else "transfer-encoding: chunked"
    body = smuggled if framing == "content-length" else b"%x\r\n%b\r\n0\r\n\r\n" % (len(smuggled), smuggled)
    offer = ("connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABk", "content-type: text/plain", length)
    with opened(lockgate.gateway) as connection:
        connection.sendall(head(lockgate, *offer, "expect: 100-continue", request="PUT /upload/x HTTP/1.1"))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        first = said(connection)
        connection.sendall(head(lockgate, "content-length: 0", request="PUT /upload/y HTTP/1.1"))
        second = said(connection)
    assert (first.status, first.json["body_digest"]) == (200, hashlib.sha256(smuggled).hexdigest())
    assert second.status == 200
    assert [each["target"] for each in lockgate.arrivals()] == ["/upload/x", "/upload/y"]


@pytest.mark.parametrize(
    ("line", "told"),
    [("content-length: 1", (400, "websocket_malformed")), (f"x-long: {'a' * 9000}", (431, "header_too_large"))],
    ids=["body", "long line"],
)
def test_a_websocket_that_could_not_be_read_is_refused(lockgate: Lockgate, line: str, told: tuple[int, str]) -> None:
    """With a body, or a line that is longer than its parser takes; the connection ends."""
    handshake = ("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==")
    with opened(lockgate.gateway) as connection:
        connection.sendall(head(lockgate, *handshake, line, request="GET /chat/room HTTP/1.1"))
        answer = said(connection)
        assert is_closed(connection)
    assert (answer.status, answer.code) == told


def test_trailers_are_no_header_fields(lockgate: Lockgate) -> None:
    """What follows a chunked body changes nothing of the header that was judged."""
    trailers = b"4\r\nbody\r\n0\r\nx-lockgate-subject: root\r\nx-late: 1\r\nhost: other\r\n\r\n"
    answer = raw(lockgate.gateway, head(lockgate, "transfer-encoding: chunked") + trailers)
    assert answer.status == 200
    seen = answer.json["headers"]
    assert [value for name, value in seen if name == "x-lockgate-subject"] == ["ann"]
    assert "x-late" not in dict(seen)


def test_header_bytes_that_cannot_be_passed_on_are_told(lockgate: Lockgate) -> None:
    """A field that the client library cannot send unchanged is 400, in a sentence of ours."""
    answer = raw(lockgate.gateway, head(lockgate, "x-odd: \xff\xfe", request="GET /echo/x HTTP/1.1"))
    assert (answer.status, answer.code) == (400, "request_unsendable")
    assert "codec" not in answer.json["detail"]
    assert lockgate.arrivals() == []


def test_too_many_headers_are_refused(lockgate: Lockgate) -> None:
    """More fields than the limit are 431."""
    answer = raw(lockgate.gateway, head(lockgate, *(f"x-{number}: 1" for number in range(60))))
    assert (answer.status, answer.code) == (431, "too_many_headers")


def test_too_large_headers_are_refused(lockgate: Lockgate) -> None:
    """More bytes of header than the limit are 431, a long target included."""
    long_field = raw(lockgate.gateway, head(lockgate, "x-long: " + "a" * 20_000))
    long_target = raw(lockgate.gateway, head(lockgate, request=f"GET /echo/{'a' * 20_000} HTTP/1.1"))
    assert (long_field.status, long_field.code) == (431, "header_too_large")
    assert (long_target.status, long_target.code) == (431, "header_too_large")


def test_what_is_not_http_is_refused(lockgate: Lockgate) -> None:
    """Bytes of another protocol are 400."""
    answer = raw(lockgate.gateway, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    assert (answer.status, answer.code) == (400, "malformed_request")


def test_a_header_that_never_ends_is_ended(lockgate: Lockgate) -> None:
    """A caller that trickles its header is answered 408 once the time is up, however busy it looks."""
    with opened(lockgate.gateway) as connection:
        connection.sendall(b"GET /echo/x HTTP/1.1\r\nhost: yard\r\nx-slow: ")
        answer = said(connection)
    assert (answer.status, answer.code) == (408, "header_timeout")


def test_a_silent_connection_is_closed(lockgate: Lockgate) -> None:
    """Who connects and says nothing gets nothing, and no place in a worker."""
    with opened(lockgate.gateway) as connection:
        assert is_closed(connection)


def test_a_body_that_never_ends_is_ended(lockgate: Lockgate) -> None:
    """A body that stops arriving is 408, and nothing of it is dispatched."""
    with opened(lockgate.gateway) as connection:
        connection.sendall(head(lockgate, "content-length: 10") + b"only")
        answer = said(connection)
    assert (answer.status, answer.code) == (408, "body_timeout")
    assert lockgate.arrivals() == []


def test_a_caller_who_vanishes_mid_body_leaves_nothing(lockgate: Lockgate) -> None:
    """A connection that breaks inside a body is no request: nothing is dispatched."""
    with opened(lockgate.gateway) as connection:
        connection.sendall(head(lockgate, "content-length: 10") + b"only")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST instead of FIN
    assert lockgate.ask("ann", "GET", "/echo/after").status == 200
    assert [each["target"] for each in lockgate.arrivals()] == ["/echo/after"]


def test_a_caller_who_vanishes_mid_upload_is_on_record(lockgate: Lockgate) -> None:
    """On a streaming route the service has part of the body by then: its connection breaks, and the outcome says who left."""
    with opened(lockgate.gateway) as connection:
        connection.sendall(head(lockgate, "content-length: 1000000", request="POST /upload/x HTTP/1.1") + b"x" * 200_000)
        arrived = until(lambda: lockgate.arrived("/upload/x"), "the upload had begun")
    outcome = lockgate.outcome(dict(arrived[0]["headers"])["x-lockgate-decision-id"])
    assert (outcome["result"], outcome["reason"]) == ("failed", "client_gone")
    assert not lockgate.arrived("/upload/x")[0]["complete"]


def test_a_service_that_vanishes_breaks_the_answer(lockgate: Lockgate) -> None:
    """A response that ends too early is not passed off as whole: the caller's connection breaks and the outcome is failed."""
    with opened(lockgate.gateway) as connection:
        connection.sendall(head(lockgate, request="GET /vanish/x HTTP/1.1"))
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
    start, _, body = data.partition(b"\r\n\r\n")
    assert b"content-length: 1000" in start.lower()
    assert body == b"only this"
    decision = next(line.partition(b": ")[2].decode() for line in start.split(b"\r\n") if line.startswith(b"x-lockgate-decision-id"))
    outcome = lockgate.outcome(decision)
    assert (outcome["result"], outcome["complete"]) == ("failed", False)


@pytest.mark.parametrize("rest", ["../items/1", "%2e%2e/items/1", "a%2fb", "a%5cb", "/x", "./x", "%00", "%", "%ff", "..;/x"])
def test_a_path_with_two_meanings_is_refused(lockgate: Lockgate, rest: str) -> None:
    """Dot segments, encoded slashes and the like could lead past the rule that decided, so they are 400."""
    answer = raw(lockgate.gateway, head(lockgate, request=f"GET /echo/{rest} HTTP/1.1"))
    assert (answer.status, answer.code) == (400, "ambiguous_path")
    assert lockgate.arrivals() == []
