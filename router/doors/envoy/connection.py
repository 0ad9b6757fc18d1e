"""One HTTP/2 connection of Envoy to the door, and the gRPC calls on it. Its bytes are zttp's to understand; when they are read, sent and
given up is ours.

zttp ends a connection, with all that is under way there, when the other side has given up 257 calls on it, or begun 4,097, and neither
number can be set. Envoy gives up a call with every request whose caller leaves, and mostly also at a request's end. So zttp is not shown
that a call was given up: it is told that we give it up, which it does not count. And Envoy is asked in time to begin its calls elsewhere
(GOAWAY without a last stream, RFC 9113 section 6.8); those that are under way, or on their way, end here.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import zttp
from google.protobuf.empty_pb2 import Empty

from router.doors.envoy.calls import Method, Methods, answered, unfit
from router.doors.envoy.framing import INTERNAL, RESOURCE_EXHAUSTED, UNIMPLEMENTED, Fields, Messages, StatusError, framed, trailers

log = logging.getLogger("lockgate.envoy")
BEGUN = 1_000  # calls on a connection, before Envoy is asked to go on elsewhere; it may begin three thousand more before it hears
AT_ONCE = 128  # calls on a connection; zttp refuses more
NO_LAST_STREAM = 2**31 - 1
BEGIN_S = 10.0  # until a connection has to say anything
LINGER_S, LINGERS = 5.0, 2  # after the last call of a connection that Envoy was asked to leave; so often while what was said is not taken
GOODBYE_S = 5.0  # for the last that is said
MUCH = 65_536  # bytes that are said before it is looked whether they are taken
IN_A_ROW = 64  # messages that one call reads before others have their turn
WAITING = 32 << 20  # bytes on a connection, beside its largest message, that nobody has read; or that the other side has not taken
NO_ERROR, CANCEL = 0, 8
PREFACE, FRAME_HEAD, RESET = 24, 9, 13  # bytes
HEADERS_FRAME, RESET_FRAME = 1, 3
REFUSED = (
    "envoy_calls_refused: Envoy begins more than %d calls at once on one connection to the door; set `max_concurrent_streams: 100` on its "
    "cluster, as `lockgate envoy config` does"
)
SILENT_S = 60.0  # between two such lines
HEAD: Fields = [(b"content-type", b"application/grpc")]


@dataclass(slots=True)
class Served:
    """What all connections of a listener have in common. `most`: bytes of a message. `connections`: those that there are. `going`: whether
    new ones are asked to leave at once. `silent_until`: when something may be said again that has been said."""

    methods: Methods
    most: int
    encrypted: bool = False
    going: bool = False
    connections: set[Connection] = field(default_factory=set)
    silent_until: float = 0.0


class Call:
    """A `streams.Stream`. Nobody is told anything who is `gone`."""

    __slots__ = (
        "_begun",
        "_connection",
        "_ended",
        "_fields",
        "_in_a_row",
        "_lost",
        "_messages",
        "_reading",
        "_stream",
        "_writing",
        "gone",
        "task",
        "unheard",
    )

    def __init__(self, connection: Connection, stream: Any, fields: Fields, messages: Messages) -> None:
        self._connection = connection
        self._stream = stream
        self._fields = fields
        self._messages = messages
        self._begun = False
        self._ended = False
        self._lost = False
        self._in_a_row = 0
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        self.gone = False
        self.unheard = 0  # bytes that came and were not read
        self.task: asyncio.Task[None] | None = None

    async def read(self) -> Any:
        messages = self._messages
        while (message := messages.take()) is None:
            if self._ended:
                if messages.size and not self.gone:
                    raise StatusError(INTERNAL, "a message is not whole")
                return None
            self._in_a_row = 0
            self._reading = self._connection.loop.create_future()
            try:
                await self._reading
            finally:
                self._reading = None
        self._count()
        self._in_a_row += 1
        if self._in_a_row == IN_A_ROW:
            self._in_a_row = 0
            await asyncio.sleep(0)
        return message

    async def messages(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not None:
            yield message

    async def write(self, message: Any, /) -> None:
        if self._connection.full:
            await self._taken()
        if self.gone:
            return
        if not self._begun:
            self._begun = True
            self._stream.send_response(200, HEAD)
        content = framed(message)
        self._stream.send_data(content)
        self._connection.said(len(content))
        if self._connection.full or self._stream.pending_bytes:
            await self._taken()

    def invocation_metadata(self) -> list[tuple[str, str | bytes]]:
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._fields if not name.endswith(b"-bin")]

    def end(self, status: int, detail: str = "") -> None:
        if self.gone:
            return
        self.gone = True
        try:
            if self._begun:
                self._stream.end_message(trailers(status, detail))
            else:
                self._stream.send_response(200, HEAD + trailers(status, detail), end_stream=True)
        except zttp.LocalProtocolError:
            return  # the other side broke it off in this very read
        self._connection.said(0)

    def came(self, piece: bytes) -> None:
        self._messages.feed(piece)
        self._count()
        self.wake()

    def forget(self) -> None:
        """What nobody will read."""
        self._messages = NOTHING
        self._count()

    def closed(self) -> None:
        """No more comes."""
        self._ended = True
        self.wake()

    def lost(self) -> None:
        """Nobody waits for it any more. Who is told so once may take its time to leave."""
        self.gone = self._ended = True
        if self.task is not None and not self._lost:
            self._lost = True
            self.task.cancel()

    def wake(self) -> None:
        if (reading := self._reading) is not None and not reading.done():
            reading.set_result(None)

    def writable(self) -> None:
        if (writing := self._writing) is not None and not writing.done():
            writing.set_result(None)

    def _count(self) -> None:
        size = self._messages.size
        self._connection.unheard += size - self.unheard
        self.unheard = size

    async def _taken(self) -> None:
        """What was said. Who has said something waits behind those who could not."""
        waiting = self._connection.waiting
        waiting[self] = None
        try:
            while not self.gone and (self._connection.full or self._stream.pending_bytes):
                self._writing = self._connection.loop.create_future()
                await self._writing
        finally:
            self._writing = None
            del waiting[self]


class Connection(asyncio.Protocol):
    """`full`: more was said than the other side has taken. `unheard`: bytes that came, of calls that have not read them yet. `waiting`: the
    calls that wait until what was said is taken; who goes on first is the first."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._http2 = zttp.Connection(zttp.SERVER, protocol=zttp.HTTP2)
        self._transport: Any = None
        self._calls: dict[int, Call] = {}
        self._held_back = b""  # the beginning of a frame that may be a reset
        self._passing = PREFACE  # bytes of what is being read that are no frame's head
        self._highest = 0
        self._begun = 0
        self._taken_up = 0
        self._leaving = False
        self._sending = False
        self._unsent = 0
        self._silent: asyncio.TimerHandle | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._lingered = 0
        self._ending: asyncio.TimerHandle | None = None
        self.loop = asyncio.get_running_loop()
        self.full = False
        self.unheard = 0
        self.waiting: dict[Call, None] = {}

    @property
    def calls(self) -> int:
        return len(self._calls)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._served.connections.add(self)
        if self._served.encrypted and transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            self._close()
            return
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._silent = self.loop.call_later(BEGIN_S, transport.abort)
        self._http2.initiate_connection()
        if self._served.going:
            self.leave()
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._served.connections.discard(self)
        for timer in (self._silent, self._lingering, self._ending):
            if timer is not None:
                timer.cancel()
        self._lose_all()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self._writable()

    def data_received(self, data: bytes) -> None:
        try:
            self._read(self._held_back + data if self._held_back else data)
        except zttp.ProtocolError as error:
            log.warning("a connection to the door for Envoy was ended: %s", error)
            self._end()
            return
        if len(self._calls) >= AT_ONCE and self._begun > self._taken_up:
            self._refused()
        self._send()

    def leave(self) -> None:
        """Asks Envoy to begin its calls elsewhere; what is on its way is answered."""
        if self._leaving or self._transport.is_closing():
            return
        self._leaving = True
        self._http2.close(NO_ERROR, NO_LAST_STREAM)
        self.said(0)
        if not self._calls:
            self._linger()

    def end(self, status: int, detail: str) -> None:
        """Of all that is still under way."""
        for call in list(self._calls.values()):
            call.end(status, detail)
        if not self._transport.is_closing():
            self._http2.close(NO_ERROR)
            self._end()

    def said(self, size: int) -> None:
        """What all calls say in one turn of the loop goes together, unless it is much."""
        self._unsent += size
        if self._unsent > MUCH:
            self._send()
        elif not self._sending:
            self._sending = True
            self.loop.call_soon(self._send_later)

    def _send_later(self) -> None:
        self._sending = False
        self._send()

    def _send(self) -> None:
        self._unsent = 0
        if self._transport.is_closing() or not (data := self._http2.data_to_send()):
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > WAITING + self._served.most:
            log.warning("a connection to the door for Envoy was ended: it is sent more than it takes")
            self._transport.abort()

    def _read(self, data: bytes) -> None:
        """Passes it on up to each call that is given up. A head that is not whole, or a reset, is held back until it is."""
        at = begun = 0
        end = len(data)
        while at < end:
            if self._passing:
                step = min(self._passing, end - at)
                self._passing -= step
                at += step
                continue
            if end - at < FRAME_HEAD:
                break
            length, kind = int.from_bytes(data[at : at + 3], "big"), data[at + 3]
            if kind == RESET_FRAME and length == RESET - FRAME_HEAD:
                if end - at < RESET:
                    break
                self._heard(data[begun:at])
                begun = at if not self._given_up(_stream_of(data, at)) else at + RESET
                at += RESET
                continue
            if kind == HEADERS_FRAME:
                self._opened(_stream_of(data, at))
            self._passing = FRAME_HEAD + length
        self._held_back = data[at:]
        self._heard(data[begun:at])

    def _opened(self, number: int) -> None:
        """Also where it is refused: it counts all the same."""
        if number > self._highest:
            self._highest = number
            self._begun += 1
            if self._begun == BEGUN:
                self.leave()

    def _refused(self) -> None:
        """By zttp, which says so to nobody else."""
        self._taken_up = self._begun
        now = self.loop.time()
        if now >= self._served.silent_until:
            self._served.silent_until = now + SILENT_S
            log.error(REFUSED, AT_ONCE)

    def _given_up(self, number: int) -> bool:
        """Whether zttp need not know. What was never begun is its own to judge."""
        if number == 0 or number > self._highest or self._transport.is_closing():
            return False
        stream = self._http2.stream(number)
        if stream.send_window is not None:  # it is not over on both sides
            stream.reset(CANCEL)
        if (call := self._calls.get(number)) is not None:
            call.lost()
        return True

    def _heard(self, data: bytes) -> None:
        if not data or self._transport.is_closing():
            return
        self._http2.receive_data(data)
        opened = False
        while (event := self._http2.next_event()) is not zttp.NEED_DATA:
            opened = self._took(event) or opened
            if self._transport.is_closing():
                return
        if opened:
            self._writable()

    def _took(self, event: Any) -> bool:
        """Whether any call may be able to say more now."""
        kind = type(event)
        if kind is zttp.Data:
            if (call := self._calls.get(event.stream_id)) is not None and not call.gone:
                self._came(call, event.data)
        elif kind is zttp.Request:
            self._begin(event)
        elif kind is zttp.EndOfMessage:
            if (call := self._calls.get(event.stream_id)) is not None:
                call.closed()
        elif kind is zttp.RstStream:  # that zttp has made, of a call that is wrong
            if (call := self._calls.get(event.stream_id)) is not None:
                call.lost()
        elif kind is zttp.WindowUpdate:
            if event.stream_id == 0:
                return True
            if (call := self._calls.get(event.stream_id)) is not None:
                call.writable()
        elif kind is zttp.Settings:
            if self._silent is not None:
                self._silent.cancel()
                self._silent = None
            return True
        return False

    def _came(self, call: Call, piece: bytes) -> None:
        """HTTP/2 says no more to the other side than that it came, so that nobody is waited for who does not read: what is too much for a
        call's largest message, and the beginning of another, ends that call alone."""
        call.came(piece)
        if call.unheard > 2 * self._served.most or self.unheard > WAITING + self._served.most:
            call.end(RESOURCE_EXHAUSTED, "more was sent than is taken")
            call.lost()

    def _begin(self, asked: Any) -> None:
        self._taken_up += 1
        stream, fields = self._http2.stream(asked.stream_id), asked.headers
        if (status := unfit(asked.method, fields)) is not None:
            stream.send_response(status, [], end_stream=True)
            self.said(0)
        elif (method := self._served.methods.get(asked.target)) is None:
            Call(self, stream, fields, NOTHING).end(UNIMPLEMENTED, "there is no such method")
        else:
            self._answer(asked, Call(self, stream, fields, Messages(method.kind, self._served.most)), method)

    def _answer(self, asked: Any, call: Call, method: Method) -> None:
        number = asked.stream_id
        self._calls[number] = call
        if asked.end_stream:
            call.closed()
        call.task = task = self.loop.create_task(answered(call, method, asked.headers))

        def over(_: Any) -> None:
            self._over(number, call)

        task.add_done_callback(over)

    def _over(self, number: int, call: Call) -> None:
        call.task = None
        if not call.gone:  # it was cancelled by us
            call.gone = True
            if (stream := self._http2.stream(number)).send_window is not None:
                stream.reset(CANCEL)
                self.said(0)
        call.forget()
        self._calls.pop(number, None)
        if self._leaving and not self._calls:
            self._linger()

    def _writable(self) -> None:
        for call in list(self.waiting):
            call.writable()

    def _linger(self) -> None:
        """A call may be on its way that was sent before Envoy heard; and what was said last may wait to be taken."""
        if self._lingering is None and not self._transport.is_closing():
            self._lingering = self.loop.call_later(LINGER_S, self._linger_over)

    def _linger_over(self) -> None:
        self._lingering = None
        if self._calls or self._transport.is_closing():
            return
        self._lingered += 1
        if self._http2.has_pending_send() and self._lingered < LINGERS:
            self._linger()
            return
        self._http2.close(NO_ERROR)
        self._end()

    def _end(self) -> None:
        """What was said last is sent."""
        self._lose_all()
        self._send()
        self._close()

    def _close(self) -> None:
        if not self._transport.is_closing():
            self._ending = self.loop.call_later(GOODBYE_S, self._transport.abort)
            self._transport.close()

    def _lose_all(self) -> None:
        for call in list(self._calls.values()):
            call.lost()


def _stream_of(data: bytes, at: int) -> int:
    return int.from_bytes(data[at + 5 : at + FRAME_HEAD], "big") & NO_LAST_STREAM


NOTHING = Messages(Empty, 0)  # of a call that nobody reads
