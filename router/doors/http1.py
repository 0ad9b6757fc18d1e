"""uvicorn's HTTP/1.1 protocol with the defences a front door needs: a deadline wherever a caller could keep us waiting, limits on the
header's size and on connections, strict framing. A caller's certificate goes along in the `state` of every request of its connection.

llhttp (inside httptools) already refuses Content-Length beside Transfer-Encoding, repeated Content-Length, bad chunk sizes and bare LF in
headers. What it does not bound is how long and how large a header, or a line of one, may be; and uvicorn takes trailers for header fields.
Behind a header that offers another protocol llhttp looks for no body, and uvicorn reads on as if a new request began there.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS

from router.doors.http1_unframed import BEFORE_CHUNKS, unframed
from router.doors.http1_websocket import GuardedWebSocket
from router.doors.unread import Patient
from router.identity.certificates import STATE, peer_certificate
from router.problems import problem

HEADER_TIMEOUT_S = 10.0
MAX_HEADER_COUNT = 100
MAX_HEADER_BYTES = 32 * 1024
MAX_WAITING = 100  # requests of one connection behind the one that is being answered
LINGER_S = 5.0  # for the rest of a body whose request is answered already


class _EnoughError(Exception):
    """Raised in the parser, which reads no further."""


class GuardedHttp(Patient, HttpToolsProtocol):
    """Limits are class attributes so that `guarded` can make a class for a configuration; uvicorn constructs it itself."""

    header_timeout = HEADER_TIMEOUT_S
    max_header_count = MAX_HEADER_COUNT
    max_header_bytes = MAX_HEADER_BYTES
    max_connections: int | None = None
    max_waiting = MAX_WAITING
    linger = LINGER_S
    leaving = False  # every answer that has not begun is the last of its connection, and says so

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._header_bytes = 0
        self._untold = 0  # bytes since the parser last told of anything
        self._header_complete = False
        self._refused = False
        self._upgraded = False
        self._unheeded = False
        self._running: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._arm()
        if self.max_connections is not None and len(self.connections) > self.max_connections:
            self._refused = True
            transport.abort()
        elif (connection := transport.get_extra_info("ssl_object")) is not None:
            self._note_certificate(connection)

    def _note_certificate(self, connection: ssl.SSLObject) -> None:
        try:
            certificate = peer_certificate(connection)
        except ValueError:  # OpenSSL made sense of it, and we would have to guess whose it is
            logging.getLogger("lockgate.gateway").warning("a client certificate cannot be read; the connection is refused")
            self._refused = True
            self.transport.abort()
            return
        if certificate is not None:
            self.app_state = {**self.app_state, STATE: certificate}

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)
        running = self._running
        if running is not None and not running.response_complete:  # uvicorn tells the last that was asked, and it may only be queued
            running.disconnected = True
            running.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, unframed(cycle, app) if cycle.scope["http_version"] in BEFORE_CHUNKS else app)

    def on_message_begin(self) -> None:
        """uvicorn reads on with every answer, however many wait, and each takes a hundred times what it took to send it."""
        if len(self.pipeline) >= self.max_waiting and not self._refused:
            self._refused = True
            self.cycle.keep_alive = False
        if self._refused:
            raise _EnoughError
        self._untold = 0
        super().on_message_begin()
        self._header_bytes = 0
        self._header_complete = False
        if self._deadline is None:
            self._arm()

    def on_url(self, url: bytes) -> None:
        self._untold = 0
        if self._fits(len(url)):
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers come here too, and are left out: whoever vouched for the header never saw them (RFC 9110 §6.5.1)."""
        self._untold = 0
        if len(self.headers) >= self.max_header_count:
            self._refuse(431, "too_many_headers", f"More than {self.max_header_count} header fields.")
        elif self._fits(len(name) + len(value) + 4) and not self._header_complete:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._untold = 0
        self._disarm()
        self._header_complete = True
        self._unheeded = self.parser.should_upgrade() and not self._should_upgrade()
        if self._unheeded:  # nothing is begun: see `_heed_no_offer`
            if self.parser.get_method() == b"CONNECT":  # no header of it says where what follows would end (RFC 9110 §9.3.6)
                self._refuse(501, "method_unsupported", "CONNECT is not served here.")
            return
        if self._host_is_doubtful():
            self._refuse(400, "ambiguous_host", "The request's target names another host than its Host header.")
        if not self._refused:
            super().on_headers_complete()
        if self.leaving:
            self.let_go()

    def _should_upgrade(self) -> bool:
        """Whatever else is offered, or in another way, is no reason to leave HTTP/1.1 (RFC 9110 §7.8, RFC 6455 §4.1)."""
        return super()._should_upgrade() and self.parser.get_method() == b"GET" and self.parser.get_http_version() == "1.1"

    def let_go(self) -> None:
        """Whoever waits for an answer here asks for the next elsewhere. A connection on which nothing is asked stays open: closed from
        here, it would break a request that is on its way."""
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def _host_is_doubtful(self) -> bool:
        """A target with a host of its own outranks the Host field (RFC 9112 §3.2.2), which is the one that policy sees."""
        authority = self.url.partition(b"://")[2].partition(b"/")[0].lower()
        return self.url[:1] not in (b"/", b"*") and all(value.lower() != authority for name, value in self.headers if name == b"host")

    def on_body(self, body: bytes) -> None:
        self._untold = 0
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._disarm()
        if not (self._refused or self._unheeded):
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body and self._deadline is None:
            self._deadline = self.loop.call_later(self.linger, self.transport.close)

    def data_received(self, data: bytes) -> None:
        if self._refused or self.parser is None:
            return
        self._unset_keepalive_if_required()
        self._untold += len(data)
        try:
            self._read(data)
        except httptools.HttpParserError:
            self._refuse(400, "malformed_request", "The request is not well-formed HTTP/1.1.")
        if self._untold > self.max_header_bytes:  # the parser keeps a field until it ends, and copies all of it for each piece
            self._refuse(431, "header_too_large", f"A line of the request is longer than {self.max_header_bytes} bytes.")
        # uvicorn stops its keep-alive timer for any byte, also for empty lines and the rest of a body, which begin no request.
        waiting = self.cycle is not None and self.cycle.response_complete and self._deadline is None
        if waiting and self.timeout_keep_alive_task is None and not self._upgraded:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _read(self, data: bytes) -> None:
        """Raises HttpParserError."""
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as found:
                rest = memoryview(rest)[found.args[0] :]
            if self._refused:
                return
            if not self._unheeded:
                self._shake_hands(early=bool(rest))
                return
            self._heed_no_offer()

    def _heed_no_offer(self) -> None:
        """The header was read whole, and the parser would take what follows it for another protocol's, whatever it says of a body. So it is
        read again without the offer, by a parser that knows nothing of it and goes on to the body: one reading of one header gives the
        fields and the framing, as with any request. llhttp sees an offer only where there is a field of that name."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = self._lines(b"%b %b HTTP/%b\r\n" % (method, self.url, version), but=b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's first one
        self.parser.feed_data(b"".join(lines))

    def _shake_hands(self, *, early: bool) -> None:
        """What the caller says of it is all there, so nothing is waited for: it is a handshake or it is refused, before anybody is asked.
        `early`: more has come behind it."""
        lines = self._lines(b"GET %b HTTP/1.1\r\n" % self.url)
        if self.cycle is not None and not self.cycle.response_complete:  # its answer comes first, and is the last here
            self._refuse(400, "websocket_malformed", "A WebSocket begins when what was asked before is answered.")
        elif any(len(line) > MAX_LINE_LENGTH for line in lines):
            self._refuse(431, "header_too_large", f"A WebSocket's handshake has a line of more than {MAX_LINE_LENGTH} bytes.")
        elif len(self.headers) > MAX_NUM_HEADERS:
            self._refuse(431, "too_many_headers", f"A WebSocket's handshake has more than {MAX_NUM_HEADERS} header fields.")
        elif early or not self._changed(b"".join(lines)):
            self._refuse(400, "websocket_malformed", "A WebSocket begins with a GET that has no body, and goes on once that is answered.")

    def _changed(self, handshake: bytes) -> bool:
        """Whether the connection is a WebSocket's now. Of what its parser cannot read it says nothing, ever, and nobody would end it."""
        protocol = GuardedWebSocket(self.config, self.server_state, self.app_state)
        protocol.send_timeout = self.send_timeout
        protocol.connection_made(self.transport)
        protocol.data_received(handshake)
        self._upgraded = protocol.handshake_initiated
        self.connections.discard(self if self._upgraded else protocol)
        if self._upgraded:
            self.transport.set_protocol(protocol)
            if self._stalled is not None:  # of an answer before
                self._flowing()
                protocol.pause_writing()
        return self._upgraded

    def _lines(self, first: bytes, but: bytes = b"") -> list[bytes]:
        """The header anew, from what was read of it."""
        return [first, *(b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != but), b"\r\n"]

    def _fits(self, size: int) -> bool:
        self._header_bytes += size
        if self._header_bytes > self.max_header_bytes:
            self._refuse(431, "header_too_large", f"The header is larger than {self.max_header_bytes} bytes.")
        return not self._refused

    def _late(self) -> None:
        self._deadline = None
        answered = self.cycle is None or self.cycle.response_complete
        if self._header_bytes == 0 and answered:  # who has sent nothing, or one word of the next request, deserves no answer
            self.transport.close()
            return
        self._refuse(408, "header_timeout", f"The header did not arrive within {self.header_timeout:g} seconds.")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Nothing more is read from the connection. A request that was whole before is still answered, and then the connection ends."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._disarm()
        logging.getLogger("lockgate.gateway").debug("refused a connection: %s", code)
        if self.pipeline and self.cycle.more_body and self._running is not None:  # not begun, so that the one before it is the last
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._running
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            cycle.keep_alive = False
            return
        if cycle is None or cycle.response_complete or not cycle.response_started:
            body = problem(status, code, detail=detail)
            head = b"content-type: application/problem+json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
        if cycle is not None and not cycle.response_complete:  # its body is broken: whoever waits for the rest must not answer any more
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.header_timeout, self._late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def guarded(header_timeout: float, max_header_count: int, max_header_bytes: int, max_connections: int | None = None) -> type[GuardedHttp]:
    limits = {"header_timeout": header_timeout, "max_header_count": max_header_count, "max_header_bytes": max_header_bytes}
    return type("GuardedHttp", (GuardedHttp,), {**limits, "max_connections": max_connections})
