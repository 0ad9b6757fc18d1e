"""One HTTP/2 connection of Envoy to the door, and the gRPC calls on it. Its bytes are zttp's to understand; when they are read, sent and
given up is ours.

zttp ends a connection, with all that is under way there, at the 257th call that is given up on it and at the 4,097th that begins. Envoy
gives up a call with every request whose caller leaves, and mostly also at a request's end. So Envoy is asked in time to begin its calls on
another connection (GOAWAY without a last stream, RFC 9113 section 6.8), and those that are under way, or on their way, end here.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import zttp
from google.protobuf.empty_pb2 import Empty

from router.doors.envoy.calls import Method, Methods, answered, unfit
from router.doors.envoy.framing import INTERNAL, RESOURCE_EXHAUSTED, UNIMPLEMENTED, Fields, Messages, StatusError, framed, trailers

log = logging.getLogger("lockgate.envoy")
GIVEN_UP, BEGUN = 100, 3_800  # calls on a connection, before Envoy is asked to go on elsewhere
NO_LAST_STREAM = 2**31 - 1
BEGIN_S = 10.0  # until a connection has to say anything
LINGER_S = 1.0  # after the last call of a connection that Envoy was asked to leave
ECHOES, WINDOW_S = 1_000, 10.0  # frames that only ask to be answered
NO_ERROR, CANCEL, ENHANCE_YOUR_CALM = 0, 8, 11
HELD = 4  # times the largest message: bytes of a call that waits to be heard itself
HEAD: Fields = [(b"content-type", b"application/grpc")]


class Call:
    """A `streams.Stream`. Nobody is told anything who is `gone`."""

    __slots__ = ("_begun", "_connection", "_ended", "_fields", "_reading", "_stream", "_writing", "gone", "messages_held", "task")

    def __init__(self, connection: Connection, stream: Any, fields: Fields, messages: Messages) -> None:
        self._connection = connection
        self._stream = stream
        self._fields = fields
        self._begun = False
        self._ended = False
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        self.messages_held = messages
        self.gone = False
        self.task: asyncio.Task[None] | None = None

    async def read(self) -> Any:
        held = self.messages_held
        while (message := held.take()) is None:
            if self._ended:
                if held.size and not self.gone:
                    raise StatusError(INTERNAL, "a message is not whole")
                return None
            self._reading = self._connection.loop.create_future()
            try:
                await self._reading
            finally:
                self._reading = None
        self._connection.heard(self)
        return message

    async def messages(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not None:
            yield message

    async def write(self, message: Any, /) -> None:
        if self.gone:
            return
        if not self._begun:
            self._begun = True
            self._stream.send_response(200, HEAD)
        self._stream.send_data(framed(message))
        self._connection.send_soon()
        while not self.gone and (self._connection.full or self._stream.pending_bytes):
            self._writing = self._connection.loop.create_future()
            self._connection.heard(self)
            try:
                await self._writing
            finally:
                self._writing = None
                self._connection.heard(self)

    def invocation_metadata(self) -> list[tuple[str, str | bytes]]:
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._fields if not name.endswith(b"-bin")]

    def end(self, status: int, detail: str = "") -> None:
        if self.gone:
            return
        self.gone = True
        if self._begun:
            self._stream.end_message(trailers(status, detail))
        else:
            self._stream.send_response(200, HEAD + trailers(status, detail), end_stream=True)
        self._connection.send_soon()

    def came(self, piece: bytes) -> None:
        self.messages_held.feed(piece)
        self.wake()

    def closed(self) -> None:
        """No more comes."""
        self._ended = True
        self.wake()

    def lost(self) -> None:
        """The other side has given it up."""
        self.gone = self._ended = True
        if self.task is not None:
            self.task.cancel()

    def reset(self) -> None:
        """We give it up."""
        if not self.gone:
            self._stream.reset(CANCEL)
            self._connection.send_soon()
        self.lost()

    def wake(self) -> None:
        if (reading := self._reading) is not None and not reading.done():
            reading.set_result(None)

    def writable(self) -> None:
        if (writing := self._writing) is not None and not writing.done():
            writing.set_result(None)

    @property
    def writing(self) -> bool:
        """Whether it waits until the other side takes what it was sent."""
        return self._writing is not None


class Connection(asyncio.Protocol):
    """`most`: bytes of a message. `among`: all connections of the listener; one is there from its beginning to its end. `full`: more was
    sent than the other side has taken."""

    def __init__(self, methods: Methods, most: int, among: set[Connection], *, encrypted: bool) -> None:
        self._methods = methods
        self._most = most
        self._among = among
        self._encrypted = encrypted
        self._http2 = zttp.Connection(zttp.SERVER, protocol=zttp.HTTP2)
        self._transport: Any = None
        self._calls: dict[int, Call] = {}
        self._crowded: set[Call] = set()  # that have more waiting than the largest message
        self._begun = 0
        self._given_up = 0
        self._leaving = False
        self._sending = False
        self._deaf = False
        self._echoes = 0
        self._echoes_since = 0.0
        self._silent: asyncio.TimerHandle | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self.loop = asyncio.get_running_loop()
        self.full = False

    @property
    def calls(self) -> int:
        return len(self._calls)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._among.add(self)
        if self._encrypted and transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            transport.close()
            return
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._silent = self.loop.call_later(BEGIN_S, transport.abort)
        self._http2.initiate_connection()
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._among.discard(self)
        for timer in (self._silent, self._lingering):
            if timer is not None:
                timer.cancel()
        self._lose_all()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self._writable()

    def data_received(self, data: bytes) -> None:
        http2 = self._http2
        try:
            http2.receive_data(data)
            while (event := http2.next_event()) is not zttp.NEED_DATA:
                self._took(event)
        except zttp.RemoteProtocolError as error:
            log.warning("a connection to the door for Envoy was ended: %s", error)
            self._end()
            return
        self._send()

    def leave(self) -> None:
        """Asks Envoy to begin its calls elsewhere; what is on its way is answered."""
        if self._leaving or self._transport.is_closing():
            return
        self._leaving = True
        self._http2.close(NO_ERROR, NO_LAST_STREAM)
        self.send_soon()
        if not self._calls:
            self._linger()

    def end(self, status: int, detail: str) -> None:
        """Of all that is still under way."""
        for call in list(self._calls.values()):
            call.end(status, detail)
            call.lost()
        if not self._transport.is_closing():
            self._http2.close(NO_ERROR)
            self._end()

    def send_soon(self) -> None:
        """What all calls have to say in one turn of the loop goes together."""
        if not self._sending:
            self._sending = True
            self.loop.call_soon(self._send)

    def heard(self, call: Call) -> None:
        """The connection is read unless some call has too much waiting. One that waits to be heard itself does not count: what it waits for
        is read here."""
        if call.messages_held.size <= self._most:
            self._crowded.discard(call)
        if self._crowded or self._deaf:
            self._listen()

    def _send(self) -> None:
        self._sending = False
        if (data := self._http2.data_to_send()) and not self._transport.is_closing():
            self._transport.write(data)

    def _took(self, event: Any) -> None:
        kind = type(event)
        if kind is zttp.Data:
            if (call := self._calls.get(event.stream_id)) is not None:
                self._came(call, event.data)
        elif kind is zttp.Request:
            self._begin(event)
        elif kind is zttp.EndOfMessage:
            if (call := self._calls.get(event.stream_id)) is not None:
                call.closed()
        elif kind is zttp.RstStream:
            self._gave_up(event.stream_id)
        elif kind is zttp.WindowUpdate:
            self._writable()
        elif kind is zttp.Settings or kind is zttp.Ping:
            self._echoed()

    def _came(self, call: Call, piece: bytes) -> None:
        call.came(piece)
        size = call.messages_held.size
        if size > self._most * HELD:
            call.end(RESOURCE_EXHAUSTED, "more was sent than is taken")
            call.lost()
        elif size > self._most:
            self._crowded.add(call)
            self._listen()

    def _begin(self, asked: Any) -> None:
        self._begun += 1
        stream, fields = self._http2.stream(asked.stream_id), asked.headers
        if (status := unfit(asked.method, fields)) is not None:
            stream.send_response(status, [], end_stream=True)
            self.send_soon()
            return
        method = self._methods.get(asked.target)
        if method is None:
            Call(self, stream, fields, NOTHING).end(UNIMPLEMENTED, "there is no such method")
        else:
            self._answer(asked, Call(self, stream, fields, Messages(method.kind, self._most)), method)
        if self._begun >= BEGUN:
            self.leave()

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
        call.reset()
        self._calls.pop(number, None)
        self._crowded.discard(call)
        if self._deaf:
            self._listen()
        if self._leaving and not self._calls:
            self._linger()

    def _gave_up(self, number: int) -> None:
        self._given_up += 1
        if (call := self._calls.get(number)) is not None:
            call.lost()
        if self._given_up >= GIVEN_UP:
            self.leave()

    def _writable(self) -> None:
        for call in self._calls.values():
            call.writable()

    def _listen(self) -> None:
        deaf = any(not each.writing for each in self._crowded)
        if deaf != self._deaf:
            self._deaf = deaf
            if not self._transport.is_closing():
                (self._transport.pause_reading if deaf else self._transport.resume_reading)()

    def _echoed(self) -> None:
        """Each of them is answered, whoever sends how many."""
        if self._silent is not None:
            self._silent.cancel()
            self._silent = None
        now = self.loop.time()
        if now - self._echoes_since > WINDOW_S:
            self._echoes, self._echoes_since = 0, now
        self._echoes += 1
        if self._echoes > ECHOES and not self._transport.is_closing():
            log.warning("a connection to the door for Envoy was ended: it only asks to be answered")
            self._http2.close(ENHANCE_YOUR_CALM)
            self._end()

    def _linger(self) -> None:
        """A call may be on its way that was sent before Envoy heard."""
        if self._lingering is None:
            self._lingering = self.loop.call_later(LINGER_S, self._lingered)

    def _lingered(self) -> None:
        self._lingering = None
        if not self._calls and not self._transport.is_closing():
            self._http2.close(NO_ERROR)
            self._end()

    def _end(self) -> None:
        """What was said last is sent."""
        self._lose_all()
        self._send()
        self._transport.close()

    def _lose_all(self) -> None:
        for call in list(self._calls.values()):
            call.lost()


NOTHING = Messages(Empty, 0)  # of a call that nobody reads
