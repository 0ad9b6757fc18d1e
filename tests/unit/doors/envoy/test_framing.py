"""gRPC's framing over ASGI: messages in any pieces, and whatever is none of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import given
from hypothesis import strategies as st

from router.doors.envoy.calls import Calls, Method
from router.doors.envoy.framing import Framed, StatusError, timeout

MOST = 1000
HEADERS = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
GONE = None


class Peer:
    """What a caller sends, and what it is sent."""

    def __init__(
        self, *pieces: bytes | None, headers: Sequence[tuple[bytes, bytes]] = HEADERS, path: str = "/s/Echo", method: str = "POST"
    ):
        self.scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "headers": list(headers)}
        self._pieces = list(pieces)
        self.sent: list[Any] = []

    async def receive(self) -> dict[str, Any]:
        if not self._pieces:
            await asyncio.Event().wait()
        piece = self._pieces.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}

    async def send(self, event: Any) -> None:
        self.sent.append(event)

    def framed(self) -> Framed:
        return Framed(self.scope, self.receive, self.send, BytesValue, MOST)

    @property
    def status(self) -> int | None:
        fields = [dict(each["headers"]) for each in self.sent if each["type"] == "http.response.trailers"]
        return int(fields[0][b"grpc-status"]) if fields else None

    @property
    def detail(self) -> bytes:
        (trailers,) = (each for each in self.sent if each["type"] == "http.response.trailers")
        return dict(trailers["headers"]).get(b"grpc-message", b"")

    @property
    def messages(self) -> list[bytes]:
        body = b"".join(each["body"] for each in self.sent if each["type"] == "http.response.body")
        found = []
        while body:
            assert body[0] == 0
            length = int.from_bytes(body[1:5], "big")
            found.append(BytesValue.FromString(body[5 : 5 + length]).value)
            body = body[5 + length :]
        return found


def message(value: bytes) -> bytes:
    content = BytesValue(value=value).SerializeToString()
    return b"\0" + len(content).to_bytes(4, "big") + content


async def echo(stream: Framed) -> None:
    while (each := await stream.read()) is not None:
        await stream.write(each)


async def called(peer: Peer, answer: Any = echo) -> Peer:
    await Calls({"/s/Echo": Method(answer, BytesValue)}, MOST)(peer.scope, peer.receive, peer.send)
    return peer


@given(st.lists(st.binary(max_size=40), max_size=5), st.lists(st.integers(0, 400), max_size=12))
def test_messages_come_as_they_were_sent_in_whatever_pieces(values: list[bytes], cuts: list[int]) -> None:
    """Two in one piece, one in many, none at all."""
    whole = b"".join(map(message, values))
    places = sorted({min(cut, len(whole)) for cut in cuts})
    pieces = [whole[start:end] for start, end in zip([0, *places], [*places, len(whole)], strict=True)]
    peer = asyncio.run(called(Peer(*pieces)))
    assert peer.messages == values
    assert peer.status == 0


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=6))
def test_bytes_of_any_kind_end_the_call_and_nothing_else(pieces: list[bytes]) -> None:
    """With a status, always: the application raises nothing."""
    assert asyncio.run(called(Peer(*pieces))).status in (0, 8, 12, 13)


@pytest.mark.parametrize(
    ("pieces", "status", "detail"),
    [
        ([b"\1" + message(b"a")[1:]], 12, b"compressed"),
        ([b"\0\0\0\3\xe9" + b"x" * 1001], 8, b"longer than 1000 bytes"),
        ([b"\0\xff\xff\xff\xff"], 8, b"longer"),
        ([message(b"abc")[:-1]], 13, b"not whole"),
        ([b"\0\0"], 13, b"not whole"),
        ([b"\0\0\0\0\2\xff\xff"], 13, b"not of its kind"),
        ([message(b"a"), b"\0\0\0\0\2\xff\xff"], 13, b"not of its kind"),
    ],
)
async def test_what_is_not_framed_as_it_has_to_be_has_a_status(pieces: list[bytes], status: int, detail: bytes) -> None:
    """A length that is too large is refused before any of it is waited for."""
    peer = await called(Peer(*pieces))
    assert peer.status == status
    assert detail in peer.detail


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"method": "GET"}, 405),
        ({"headers": [(b"content-type", b"application/json"), (b"te", b"trailers")]}, 415),
        ({"headers": [(b"content-type", b"application/grpc-web"), (b"te", b"trailers")]}, 415),
        ({"headers": [(b"te", b"trailers")]}, 415),
        ({"headers": HEADERS[:1]}, 400),
    ],
)
async def test_what_is_no_call_is_told_so_in_http(changes: Any, status: int) -> None:
    """Whoever asks so could not read a status in trailers."""
    peer = await called(Peer(b"", **changes))
    assert [each.get("status") for each in peer.sent] == [status, None]


async def test_there_is_nothing_but_its_methods() -> None:
    for path in ("/s/Other", "/", "", "/s/Echo/", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"):
        assert (await called(Peer(message(b""), path=path))).status == 12


async def test_nobody_is_told_anything_who_is_gone() -> None:
    """Neither a message nor a status."""
    peer = await called(Peer(message(b"a"), GONE))
    assert peer.messages == [b"a"]
    assert peer.status is None


async def test_a_call_has_the_time_that_it_was_given() -> None:
    """A handler that waits is cancelled, and its caller told why."""

    async def waits(stream: Framed) -> None:
        await stream.read()

    peer = await called(Peer(headers=[*HEADERS, (b"grpc-timeout", b"10m")]), waits)
    assert (peer.status, peer.detail) == (4, b"the call took longer than it may")


async def test_a_handler_that_fails_is_told_of_without_its_reasons(caplog: pytest.LogCaptureFixture) -> None:
    """They are in the log."""

    async def fails(_: Framed) -> None:
        raise TimeoutError("secret")

    peer = await called(Peer(b"", headers=[*HEADERS, (b"grpc-timeout", b"10S")]), fails)
    assert (peer.status, peer.detail) == (13, b"the call failed inside Lockgate")
    assert "secret" in caplog.text


async def test_a_message_of_trailers_is_written_in_percent() -> None:
    """What no header field may have in it, and the sign itself."""

    async def says(_: Framed) -> None:
        raise StatusError(9, "50 %\r\nnaïve")

    assert (await called(Peer(b""), says)).detail == b"50 %25%0D%0Ana%C3%AFve"


@pytest.mark.parametrize(
    ("said", "seconds"), [(b"3H", 10800.0), (b"2M", 120.0), (b"1S", 1.0), (b"5m", 0.005), (b"7u", 7e-6), (b"9n", 9e-9)]
)
def test_a_time_has_a_unit(said: bytes, seconds: float) -> None:
    assert timeout({"headers": [(b"grpc-timeout", said)]}) == pytest.approx(seconds)


@pytest.mark.parametrize("said", [b"", b"S", b"1", b"-1S", b"1s", b"123456789S", b"1S "])
def test_a_time_that_is_not_understood_is_refused(said: bytes) -> None:
    with pytest.raises(StatusError):
        timeout({"headers": [(b"grpc-timeout", said)]})
