"""One connection of Envoy to the door, against another implementation of HTTP/2: calls, who waits for whom, and how both sides leave."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.settings import SettingCodes
from hyperframe.frame import RstStreamFrame
from hypothesis import given
from hypothesis import strategies as st

from router.doors.envoy.calls import Method
from router.doors.envoy.framing import Messages, StatusError, framed
from router.doors.envoy.streams import Stream
from tests.needs import needs

needs("zttp", "pip install 'lockgate[envoy-zttp]'")

from router.doors.envoy import connection as module
from router.doors.envoy.connection import AT_ONCE, BEGUN, IN_A_ROW, MUCH, NO_LAST_STREAM, Connection, Served

MOST = 1000
GOAWAY = 7
CALL = [("content-type", "application/grpc"), ("te", "trailers")]
Answer = Callable[[Stream], Awaitable[None]]


async def echo(stream: Stream) -> None:
    while (each := await stream.read()) is not None:
        await stream.write(each)


class Peer:
    """Who is at the other end, and the wire between. Nothing goes over it but in `turn`, or while `deaf`."""

    def __init__(self, answer: Answer = echo, *, served: Served | None = None, alpn: str | None = "h2") -> None:
        self.client = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.served = served or Served({}, MOST)
        self.served.methods = {b"/s/Echo": Method(answer, BytesValue)}
        self.events: list[Event] = []
        self.goodbyes: list[tuple[int, int]] = []  # last stream, and why
        self.closed = self.aborted = self.deaf = False
        self._sent: list[bytes] = []
        self._alpn = alpn
        self.client.initiate_connection()
        self.connection = Connection(self.served)
        self.connection.connection_made(self)

    def write(self, data: bytes) -> None:
        self._sent.append(data)
        if self.get_write_buffer_size() > MUCH and not self.connection.full:
            self.connection.pause_writing()

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self._sent))

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> Any:
        return SimpleNamespace(selected_alpn_protocol=lambda: self._alpn) if name == "ssl_object" else None

    def begin(self, fields: Sequence[tuple[str, str]] = CALL, path: str = "/s/Echo", method: str = "POST") -> int:
        number = self.client.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":authority", "door"), (":path", path), *fields]
        self.client.send_headers(number, head, end_stream=method != "POST")
        return number

    def send(self, number: int, content: bytes, *, end: bool = False) -> None:
        self.client.send_data(number, content, end_stream=end)

    async def turn(self, times: int = 3) -> None:
        """What was sent arrives, on both sides, and is worked on."""
        for _ in range(times):
            if (data := self.client.data_to_send()) and not self.closed:
                self.connection.data_received(data)
            for _ in range(5):
                await asyncio.sleep(0)
            while self._sent and not self.deaf:
                self.events += self.client.receive_data(self._but_goodbyes(self._sent.pop(0)))
                if self.connection.full and not self._sent:
                    self.connection.resume_writing()

    def _but_goodbyes(self, data: bytes) -> bytes:
        """h2 takes a goodbye for the end of everything, and not for that of new calls."""
        rest = b""
        while data:
            end = 9 + int.from_bytes(data[:3], "big")
            frame, data = data[:end], data[end:]
            if frame[3] == GOAWAY:
                self.goodbyes.append((int.from_bytes(frame[9:13], "big"), int.from_bytes(frame[13:17], "big")))
            else:
                rest += frame
        return rest

    async def call(self, *pieces: bytes, **more: Any) -> int:
        number = self.begin(**more)
        for piece in pieces:
            self.send(number, piece)
        if more.get("method", "POST") == "POST":
            self.client.end_stream(number)
        await self.turn()
        return number

    def of(self, kind: type[Any], number: int | None = None) -> list[Any]:
        return [each for each in self.events if isinstance(each, kind) and (number is None or getattr(each, "stream_id", None) == number)]

    def messages(self, number: int) -> list[bytes]:
        held, found = Messages(BytesValue, 1 << 20), []
        held.feed(b"".join(each.data for each in self.of(DataReceived, number)))
        while (each := held.take()) is not None:
            assert isinstance(each, BytesValue)
            found.append(each.value)
        assert held.size == 0
        return found

    def head(self, number: int) -> dict[str, str]:
        (response,) = self.of(ResponseReceived, number)
        return dict(response.headers)

    def status(self, number: int) -> tuple[int, str] | None:
        """Of the call, wherever it stands; None where it has not ended."""
        heads = [*self.of(ResponseReceived, number), *self.of(TrailersReceived, number)]
        found = [dict(each.headers) for each in heads if "grpc-status" in dict(each.headers)]
        if not found:
            return None
        assert self.of(StreamEnded, number)
        return int(found[0]["grpc-status"]), found[0].get("grpc-message", "")


def message(value: bytes) -> bytes:
    return framed(BytesValue(value=value))


async def called(*pieces: bytes, answer: Answer = echo, **more: Any) -> tuple[Peer, int]:
    peer = Peer(answer)
    return peer, await peer.call(*pieces, **more)


@given(st.lists(st.binary(max_size=40), max_size=5), st.lists(st.integers(0, 400), max_size=12))
def test_messages_come_back_as_they_were_sent_in_whatever_pieces(values: list[bytes], cuts: list[int]) -> None:
    """And the call ends well."""
    whole = b"".join(map(message, values))
    places = sorted({min(cut, len(whole)) for cut in cuts})
    pieces = [whole[start:end] for start, end in zip([0, *places], [*places, len(whole)], strict=True)]
    peer, number = asyncio.run(called(*pieces))
    assert peer.messages(number) == values
    assert peer.status(number) == (0, "")


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=6))
def test_bytes_of_any_kind_end_the_call_and_nothing_else(pieces: list[bytes]) -> None:
    """With a status, always."""

    async def both() -> None:
        peer, number = await called(*pieces)
        ended = peer.status(number)
        assert ended is not None
        assert ended[0] in (0, 8, 12, 13)
        assert peer.status(await peer.call(message(b"a"))) == (0, "")
        assert not peer.closed

    asyncio.run(both())


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
def test_bytes_that_are_no_http2_end_the_connection(pieces: list[bytes]) -> None:
    """Without anything raised."""

    async def told() -> None:
        peer, begun = Peer(), Peer()
        await begun.turn()
        for piece in pieces:
            peer.connection.data_received(piece)
            begun.connection.data_received(piece)
        assert peer.closed or b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".startswith(b"".join(pieces)[:24])
        peer.connection.data_received(b"GET / HTTP/1.1\r\n\r\n" * 2)
        assert peer.closed

    asyncio.run(told())


async def test_what_is_not_whole_has_a_status() -> None:
    """Where nothing more comes."""
    peer, number = await called(message(b"abc")[:-1])
    assert peer.status(number) == (13, "a message is not whole")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"method": "GET"}, "405"),
        ({"fields": [("content-type", "application/json"), ("te", "trailers")]}, "415"),
        ({"fields": [("content-type", "application/grpc-web"), ("te", "trailers")]}, "415"),
        ({"fields": [("te", "trailers")]}, "415"),
        ({"fields": CALL[:1]}, "400"),
    ],
)
async def test_what_is_no_call_is_told_so_in_http(changes: Any, status: str) -> None:
    """Whoever asks so could not read a status in trailers."""
    peer, number = await called(**changes)
    assert peer.head(number) == {":status": status}
    assert peer.of(StreamEnded, number)


@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+proto", "Application/gRPC; x=1"])
async def test_a_call_may_say_that_it_is_one_in_three_ways(kind: str) -> None:
    peer, number = await called(message(b"a"), fields=[("content-type", kind), ("te", "trailers")])
    assert peer.status(number) == (0, "")


@pytest.mark.parametrize("path", ["/s/Other", "/", "/s/Echo/", "/s/Echo?", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"])
async def test_there_is_nothing_but_its_methods(path: str) -> None:
    peer, number = await called(message(b""), path=path)
    assert peer.status(number) == (12, "there is no such method")


async def test_a_call_has_the_time_that_it_was_given() -> None:
    """A handler that waits is cancelled, and its caller told why."""
    peer = Peer()
    number = peer.begin([*CALL, ("grpc-timeout", "500m")])
    await peer.turn()
    assert peer.status(number) is None
    await asyncio.sleep(0.6)
    await peer.turn()
    assert peer.status(number) == (4, "the call took longer than it may")


async def test_a_handler_that_fails_is_told_of_without_its_reasons(caplog: pytest.LogCaptureFixture) -> None:
    """They are in the log."""

    async def fails(_: Stream) -> None:
        raise TimeoutError("secret")

    peer, number = await called(answer=fails, fields=[*CALL, ("grpc-timeout", "10S")])
    assert peer.status(number) == (13, "the call failed inside Lockgate")
    assert "secret" in caplog.text


async def test_a_status_comes_after_what_was_said_before() -> None:
    async def stops(stream: Stream) -> None:
        await stream.write(BytesValue(value=b"a"))
        raise StatusError(9, "no more")

    peer, number = await called(answer=stops)
    assert peer.messages(number) == [b"a"]
    assert peer.status(number) == (9, "no more")


async def test_what_a_call_was_begun_with_is_text() -> None:
    """But for what is binary, which nobody reads."""
    seen: list[Any] = []

    async def looks(stream: Stream) -> None:
        seen.extend(stream.invocation_metadata())

    await called(answer=looks, fields=[*CALL, ("x-lockgate-body", "none"), ("trace-bin", "AA")])
    assert ("x-lockgate-body", "none") in seen
    assert "trace-bin" not in dict(seen)


async def test_who_gives_up_hears_nothing_and_nobody_works_on() -> None:
    """A handler that waits is cancelled; what it says on its way out goes nowhere, and others' calls go on."""
    ended: list[str] = []

    async def waits(stream: Stream) -> None:
        first = await stream.read()
        if first.value == b"stay":
            await stream.write(first)
            await stream.read()
            return
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await stream.write(BytesValue(value=b"too late"))
            ended.append("cancelled")
            raise

    peer = Peer(waits)
    stays, leaves = peer.begin(), peer.begin()
    peer.send(stays, message(b"stay"))
    peer.send(leaves, message(b"go"))
    await peer.turn()
    peer.client.reset_stream(leaves, ErrorCodes.CANCEL)
    await peer.turn()
    assert ended == ["cancelled"]
    assert peer.of(ResponseReceived, leaves) == []
    assert peer.connection.calls == 1
    peer.client.end_stream(stays)
    await peer.turn()
    assert (peer.messages(stays), peer.status(stays), peer.connection.calls) == ([b"stay"], (0, ""), 0)


async def test_who_is_told_to_leave_is_told_once() -> None:
    """Given up twice, or given up and then lost with its connection: it has its time to clean up."""
    ended: list[str] = []

    async def waits(stream: Stream) -> None:
        try:
            await stream.read()
        finally:
            await asyncio.sleep(0.01)
            ended.append("tidy")

    peer = Peer(waits)
    number = peer.begin()
    await peer.turn()
    for _ in range(2):
        peer.connection.data_received(RstStreamFrame(number, 8).serialize())
        await peer.turn(1)
    peer.connection.connection_lost(None)
    await asyncio.sleep(0.05)
    assert ended == ["tidy"]


async def test_a_connection_that_breaks_ends_what_is_on_it() -> None:
    ended = asyncio.Event()

    async def waits(_: Stream) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    peer, _ = await called(answer=waits)
    assert len(peer.served.connections) == 1
    peer.connection.connection_lost(None)
    await asyncio.wait_for(ended.wait(), 30)
    await asyncio.sleep(0)
    assert (peer.served.connections, peer.connection.calls) == (set(), 0)


async def test_who_does_not_take_what_it_is_sent_is_waited_for_and_nobody_else() -> None:
    """By the windows of HTTP/2: 64 KiB, and no more before they are opened."""
    written: list[int] = []

    async def much(stream: Stream) -> None:
        asked = await stream.read()
        for number in range(int(asked.value)):
            await stream.write(BytesValue(value=b"x" * 40_000))
            written.append(number)

    peer = Peer(much)
    peer.client.increment_flow_control_window(1 << 20)
    await peer.turn()
    large, small = peer.begin(), peer.begin()
    peer.send(large, message(b"3"), end=True)
    await peer.turn()
    assert written == [0]
    peer.send(small, message(b"1"), end=True)
    await peer.turn()
    assert peer.messages(small) == [b"x" * 40_000]
    assert peer.status(large) is None
    peer.client.increment_flow_control_window(1 << 20, large)
    await peer.turn()
    assert peer.messages(large) == [b"x" * 40_000] * 3
    assert peer.status(large) == (0, "")


async def test_a_wire_that_is_full_is_waited_for() -> None:
    """Whoever writes waits, and all go on when it is not any more."""
    written: list[bytes] = []

    async def says(stream: Stream) -> None:
        await stream.write(BytesValue(value=b"a"))
        written.append(b"a")

    peer = Peer(says)
    await peer.turn()
    peer.connection.pause_writing()
    numbers = [peer.begin(), peer.begin()]
    await peer.turn()
    assert written == []
    peer.connection.resume_writing()
    await peer.turn()
    assert written == [b"a", b"a"]
    assert [peer.status(each) for each in numbers] == [(0, ""), (0, "")]


async def talks(stream: Stream) -> None:
    """Without hearing anybody."""
    for _ in range(10):
        await stream.write(BytesValue(value=b"x" * 40_000))


async def test_a_call_that_waits_to_be_heard_is_read_all_the_same() -> None:
    """What it waits for comes over the same wire."""
    peer = Peer(talks)
    number = peer.begin()
    await peer.turn()
    peer.send(number, message(b"x" * 900) * 2)
    await peer.turn()
    for each in (None, number):
        peer.client.increment_flow_control_window(1 << 20, each)
    await peer.turn(20)
    assert (len(peer.messages(number)), peer.status(number)) == (10, (0, ""))


async def test_who_sends_more_than_is_read_is_told_so_and_nobody_else_waits() -> None:
    """Two of the largest messages; also of a method that reads one message alone, and nobody looks at it any more."""

    async def never(stream: Stream) -> None:
        if (await stream.read()).value == b"":
            await asyncio.Event().wait()

    peer = Peer(never)
    large, small = peer.begin(), peer.begin()
    peer.send(large, message(b"") + message(b"x" * 900) * 2)
    await peer.turn()
    assert peer.status(large) is None
    peer.send(large, b"x" * 200)
    peer.send(small, message(b"a"), end=True)
    await peer.turn()
    assert peer.status(large) == (8, "more was sent than is taken")
    assert (peer.status(small), peer.connection.calls, peer.connection.unheard) == ((0, ""), 0, 0)


async def test_what_all_calls_have_not_read_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who brings it over the bound is told; what is read does not count."""
    monkeypatch.setattr(module, "WAITING", 1000)
    go = asyncio.Event()

    async def late(stream: Stream) -> None:
        await go.wait()
        await echo(stream)

    peer = Peer(late)
    numbers = [peer.begin() for _ in range(4)]
    for each in numbers:
        peer.send(each, message(b"x" * 600))
    await peer.turn()
    assert [peer.status(each) for each in numbers] == [None, None, None, (8, "more was sent than is taken")]
    go.set()
    await peer.turn()
    assert peer.connection.unheard == 0
    await peer.call(message(b"x" * 600))
    for each in numbers[:3]:
        peer.client.end_stream(each)
    await peer.turn()
    assert [peer.messages(each) for each in numbers[:3]] == [[b"x" * 600]] * 3


async def test_bytes_of_a_call_that_failed_do_not_count_any_more() -> None:
    for content in (b"\0\0\0\0\2\xff\xff", b"\1" + message(b"a")[1:], b"\0\xff\xff\xff\xff", b"\0\0"):
        peer, _ = await called(content, message(b"a"))
        assert (peer.connection.calls, peer.connection.unheard) == (0, 0)


async def test_others_have_their_turn_while_one_reads_much() -> None:
    """However much has come at once."""
    order: list[str] = []

    async def counts(stream: Stream) -> None:
        while (each := await stream.read()) is not None:
            order.append(each.value.decode())

    peer = Peer(counts)
    many, one = peer.begin(), peer.begin()
    peer.send(many, message(b"m") * (IN_A_ROW * 3), end=True)
    peer.send(one, message(b"o"), end=True)
    await peer.turn(10)
    assert order.index("o") == IN_A_ROW - 1
    assert len(order) == IN_A_ROW * 3 + 1


async def test_a_window_that_settings_open_is_one() -> None:
    """Whoever waits for it goes on."""
    peer = Peer()
    peer.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    await peer.turn()
    number = peer.begin()
    peer.send(number, message(b"a"), end=True)
    await peer.turn()
    assert peer.status(number) is None
    peer.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65_535})
    await peer.turn()
    assert (peer.messages(number), peer.status(number)) == ([b"a"], (0, ""))


async def test_who_says_much_in_one_turn_is_held_up_all_the_same() -> None:
    """Though HTTP/2 would let it, and nothing has been sent yet."""
    written: list[int] = []

    async def much(stream: Stream) -> None:
        for number in range(100):
            await stream.write(BytesValue(value=b"x" * 40_000))
            written.append(number)

    peer = Peer(much)
    peer.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 30})
    peer.client.increment_flow_control_window(1 << 30)
    await peer.turn()
    peer.deaf = True
    number = peer.begin()
    await peer.turn()
    assert len(written) < 4
    peer.deaf = False
    await peer.turn(80)
    assert (len(peer.messages(number)), peer.status(number)) == (100, (0, ""))


async def test_who_says_much_is_not_always_the_first_to_go_on() -> None:
    """On a wire that is full, who has said something waits behind who could not."""
    order: list[str] = []

    async def says(stream: Stream) -> None:
        many = int((await stream.read()).value)
        for _ in range(many):
            await stream.write(BytesValue(value=b"x" * 40_000))
        order.append(f"of {many}")

    peer = Peer(says)
    peer.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 30})
    peer.client.increment_flow_control_window(1 << 30)
    await peer.turn()
    for many in (20, 1):
        peer.send(peer.begin(), message(b"%d" % many), end=True)
    await peer.turn(40)
    assert order == ["of 1", "of 20"]


async def test_who_takes_nothing_of_what_it_makes_us_say_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Answers to pings and settings, and to what is refused, pile up for who does not read."""
    monkeypatch.setattr(module, "WAITING", 2000)
    peer = Peer()
    await peer.turn()
    peer.deaf = True
    for _ in range(170):
        peer.client.ping(b"12345678")
        await peer.turn(1)
    assert not peer.closed
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            peer.client.ping(b"12345678")
            await peer.turn(1)
    assert peer.aborted
    assert "sent more than it takes" in caplog.text


@pytest.mark.parametrize("live", [True, False], ids=["under way", "that have ended"])
async def test_calls_that_are_given_up_cost_nobody_anything(live: bool) -> None:
    """Ten times as many as the library bears, in one piece or each alone, cut anywhere; whoever stays is answered."""

    async def waits(stream: Stream) -> None:
        if live:
            await echo(stream)

    peer = Peer(waits)
    stays = peer.begin()
    await peer.turn()
    for many in (300, 1, 7, 250, 140):
        for number in [peer.begin() for _ in range(min(many, 100))] if live else []:
            peer.client.reset_stream(number)
        for _ in range(0 if live else min(many, 100)):
            number = peer.begin()
            await peer.turn(1)
            peer.client.reset_stream(number)
        data = peer.client.data_to_send()
        for start in range(0, len(data), many):
            peer.connection.data_received(data[start : start + many])
        await peer.turn()
    assert not peer.closed
    assert peer.goodbyes == []
    if live:
        assert peer.connection.calls == 1
        peer.send(stays, message(b"a"), end=True)
        await peer.turn()
        assert (peer.messages(stays), peer.status(stays)) == ([b"a"], (0, ""))


async def test_a_call_that_never_began_cannot_be_given_up() -> None:
    """The library judges that."""
    peer = Peer()
    await peer.turn()
    peer.connection.data_received(RstStreamFrame(9, 8).serialize())
    await peer.turn()
    assert peer.closed
    assert [error for _, error in peer.goodbyes] == [int(ErrorCodes.PROTOCOL_ERROR)]


async def test_envoy_is_asked_to_leave_before_there_were_too_many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are under way, or were sent before it heard, are answered; then the connection goes."""
    monkeypatch.setattr(module, "LINGER_S", 0.01)
    peer = Peer()
    stays = peer.begin()
    for number in range(BEGUN - 2):
        assert peer.status(await peer.call()) == (0, ""), number
        peer.events.clear()
    assert peer.goodbyes == []
    peer.deaf = True
    await peer.call()
    late = peer.begin()
    peer.send(late, message(b"b"), end=True)
    await peer.turn()
    peer.deaf = False
    await peer.turn()
    assert peer.goodbyes == [(NO_LAST_STREAM, 0)]
    assert peer.messages(late) == [b"b"]
    await asyncio.sleep(0.05)
    assert not peer.closed
    peer.send(stays, message(b"a"), end=True)
    await peer.turn()
    assert (peer.messages(stays), peer.status(stays)) == ([b"a"], (0, ""))
    await asyncio.sleep(0.05)
    await peer.turn()
    assert peer.closed
    assert peer.goodbyes == [(NO_LAST_STREAM, 0), (late, 0)]


async def test_three_thousand_may_begin_and_leave_before_envoy_has_heard() -> None:
    """None of them costs the connection what is under way there."""
    peer = Peer()
    stays = peer.begin()
    peer.deaf = True
    for _ in range(40):
        for number in [peer.begin() for _ in range(100)]:
            peer.client.reset_stream(number)
        await peer.turn(1)
    peer.send(stays, message(b"a"), end=True)
    await peer.turn()
    peer.deaf = False
    await peer.turn()
    assert not peer.closed
    assert peer.goodbyes == [(NO_LAST_STREAM, 0)]
    assert (peer.messages(stays), peer.status(stays)) == ([b"a"], (0, ""))


async def test_a_connection_that_nobody_takes_anything_from_goes_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said last is not waited for endlessly."""
    monkeypatch.setattr(module, "LINGER_S", 0.01)
    peer = Peer(talks)
    peer.begin([*CALL, ("grpc-timeout", "1m")])
    await peer.turn()
    await asyncio.sleep(0.02)
    await peer.turn()
    peer.connection.leave()
    await asyncio.sleep(0.1)
    assert peer.closed


async def test_what_was_said_last_is_taken_before_a_connection_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a call that is over and that the other side's windows hold up."""
    monkeypatch.setattr(module, "LINGER_S", 0.01)
    monkeypatch.setattr(module, "LINGERS", 100_000)

    async def much(stream: Stream) -> None:
        await stream.write(BytesValue(value=b"x" * 70_000))

    peer = Peer(much)
    number = peer.begin([*CALL, ("grpc-timeout", "500m")])
    await peer.turn()
    await asyncio.sleep(0.6)
    await peer.turn()
    assert peer.connection.calls == 0
    peer.connection.leave()
    await asyncio.sleep(0.05)
    assert not peer.closed
    for each in (None, number):
        peer.client.increment_flow_control_window(1 << 20, each)
    await peer.turn()
    assert peer.status(number) == (4, "the call took longer than it may")
    await asyncio.sleep(0.05)
    assert peer.closed


async def test_a_connection_that_is_over_does_not_wait_for_who_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than for a goodbye."""
    monkeypatch.setattr(module, "GOODBYE_S", 0.01)
    peer = Peer()
    await peer.turn()
    peer.connection.end(14, "gone")
    assert (peer.closed, peer.aborted) == (True, False)
    await asyncio.sleep(0.05)
    assert peer.aborted


async def test_nothing_is_raised_where_both_end_a_call_at_once() -> None:
    """A body of another length than was said, that is also more than is taken."""
    peer = Peer(talks)
    number = peer.begin([*CALL, ("content-length", "9")])
    await peer.turn()
    peer.send(number, b"\0" * 1900)
    peer.send(number, b"\0" * 200, end=True)
    await peer.turn()
    assert peer.connection.calls == 0
    assert not peer.closed


async def test_who_connects_to_a_worker_that_goes_is_asked_to_leave() -> None:
    """At once."""
    peer = Peer(served=Served({}, MOST, going=True))
    await peer.turn()
    assert peer.goodbyes == [(NO_LAST_STREAM, 0)]


async def test_nothing_is_left_of_a_connection() -> None:
    """No circle that only the collection of garbage would find."""
    gc.disable()
    try:
        peer, _ = await called(message(b"a"))
        number = peer.begin()
        await peer.turn()
        peer.client.reset_stream(number)
        peer.begin()
        await peer.turn()
        left = weakref.ref(peer.connection)
        peer.connection.connection_lost(None)
        await asyncio.sleep(0.01)
        del peer.connection  # as a transport lets go of it
        del peer
        await asyncio.sleep(0.01)
        assert left() is None
    finally:
        gc.enable()


async def test_an_idle_connection_that_is_asked_to_leave_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """And asked twice, no sooner."""
    monkeypatch.setattr(module, "LINGER_S", 0.01)
    peer = Peer()
    await peer.turn()
    peer.connection.leave()
    peer.connection.leave()
    await asyncio.sleep(0.05)
    await peer.turn()
    assert peer.closed
    assert peer.goodbyes == [(NO_LAST_STREAM, 0), (0, 0)]


async def test_a_worker_that_goes_tells_whoever_still_waits() -> None:
    """A status, and then the connection's end."""

    async def waits(_: Stream) -> None:
        await asyncio.Event().wait()

    peer, number = await called(answer=waits)
    peer.connection.end(14, "this worker is gone")
    await peer.turn()
    assert peer.status(number) == (14, "this worker is gone")
    assert (peer.closed, peer.connection.calls, peer.goodbyes) == (True, 0, [(number, 0)])


async def test_who_connects_and_says_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has begun is not, however long it says nothing more."""
    monkeypatch.setattr(module, "BEGIN_S", 0.5)
    silent, begun = Peer(), Peer()
    await begun.turn()
    await asyncio.sleep(0.6)
    assert (silent.aborted, begun.aborted) == (True, False)


@pytest.mark.parametrize(("alpn", "closed"), [("h2", False), ("http/1.1", True), (None, True)])
async def test_what_is_spoken_is_agreed_with_tls(alpn: str | None, closed: bool) -> None:
    """As gRPC wants it."""
    assert Peer(served=Served({}, MOST, encrypted=True), alpn=alpn).closed is closed


async def test_more_calls_than_may_be_under_way_are_refused_and_the_others_answered(caplog: pytest.LogCaptureFixture) -> None:
    """Who heard of that bound does not begin them; who did not is told of in the log, once in a while."""
    go = asyncio.Event()

    async def late(stream: Stream) -> None:
        await go.wait()
        await echo(stream)

    peer = Peer(late)
    peer.deaf = True
    numbers = [peer.begin() for _ in range(AT_ONCE)]
    for each in numbers:
        peer.send(each, message(b"a"), end=True)
    await peer.turn()
    assert "envoy_calls_refused" not in caplog.text
    for _ in range(3):
        peer.begin()
        await peer.turn()
    peer.deaf = False
    await peer.turn()
    assert [each.error_code for each in peer.of(StreamReset)] == [ErrorCodes.REFUSED_STREAM] * 3
    assert caplog.text.count("envoy_calls_refused") == 1
    assert peer.client.remote_settings.max_concurrent_streams == AT_ONCE
    go.set()
    await peer.turn()
    assert {peer.status(each) for each in numbers} == {(0, "")}
