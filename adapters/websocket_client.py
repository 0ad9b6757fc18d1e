"""WebSockets to upstreams with the `websockets` library: no redirects, no compression, no environment proxy, close codes as they came."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from adapters.http_upstream.config import Tls, WebSocketConfig
from adapters.http_upstream.failures import failure
from adapters.http_upstream.tls import context
from router.errors import DestinationError
from router.ports import Headers

OURS = frozenset((b"host", b"connection", b"upgrade", b"content-length", b"transfer-encoding"))
NORMAL = 1000
BAD_GATEWAY = 1014  # registered with IANA for just this
SENDABLE = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))  # RFC 6455 §7.4: the others are never on the wire


class WebSocketClient:
    def __init__(self, tls: Tls, config: WebSocketConfig) -> None:
        self._tls = tls
        self._config = config
        self._context: ssl.SSLContext | None = None

    async def connect(
        self, origin: str, target: str, headers: Headers, subprotocols: Sequence[str], wait: float | None, closed: Callable[[], None]
    ) -> UpstreamSocket:
        """`origin` is `http(s)://host:port`, `wait` bounds the whole handshake in seconds; `closed` is called once, when the socket is."""
        try:
            connection = await _Direct(
                _address(origin, target, headers),
                subprotocols=[Subprotocol(name) for name in subprotocols] or None,
                additional_headers=_forwarded(headers),
                user_agent_header=None,
                compression=None,
                proxy=None,
                open_timeout=wait,
                ping_interval=self._config.ping,
                max_size=self._config.max_message,
                **self._transport(origin),
            )
        except (OSError, WebSocketException, ValueError) as error:
            raise translated(error) from error
        return UpstreamSocket(connection, closed)

    def _transport(self, origin: str) -> dict[str, Any]:
        parts = urlsplit(origin)
        transport: dict[str, Any] = {"host": parts.hostname, "port": parts.port}
        if parts.scheme == "https":
            if self._context is None:
                self._context = context(self._tls.ca, self._tls.certificate, self._tls.key)
            transport |= {"ssl": self._context, "server_hostname": self._tls.server_name or parts.hostname}
        return transport


class UpstreamSocket:
    def __init__(self, connection: ClientConnection, closed: Callable[[], None]) -> None:
        self.subprotocol: str | None = connection.subprotocol
        self._connection = connection
        self._code = NORMAL
        self._closed: Callable[[], None] | None = closed

    async def send(self, message: str | bytes) -> None:
        try:
            await self._connection.send(message)
        except ConnectionClosed as error:
            raise failure("upstream_reset", "the upstream closed the WebSocket", sent=True) from error

    async def receive(self) -> str | bytes | None:
        try:
            return await self._connection.recv()
        except ConnectionClosed as closed:
            said = closed.rcvd or closed.sent
            self._code = sendable(said.code) if said is not None else BAD_GATEWAY
            return None

    @property
    def close_code(self) -> int:
        """After `receive` gave None: what the upstream said, else what we had to say (1009: its message was too large), else 1014 (it
        vanished). Always a code that may be sent on."""
        return self._code

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()
        await self._connection.close(sendable(code), reason)


def sendable(code: int) -> int:
    """Codes that only say what was missing (1005, 1006, 1015) become a plain close."""
    return code if code in SENDABLE else NORMAL


class _Direct(connect):
    """The library follows redirects; a gateway must not be sent elsewhere by an upstream."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def translated(error: Exception) -> DestinationError:
    """The only place where the library's errors become ours."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        refused = failure("websocket_refused", f"the upstream answered the WebSocket handshake with {status}", sent=True)
        refused.status = status if 400 <= status < 500 else refused.status
        return refused
    if isinstance(error, InvalidURI) or (isinstance(error, ValueError) and not isinstance(error, ssl.SSLError)):
        return failure("request_unsendable", "the WebSocket request cannot be sent as it is")
    if isinstance(error, InvalidHandshake | WebSocketException):
        return failure("upstream_protocol", "the upstream did not complete the WebSocket handshake", sent=True)
    if isinstance(error, TimeoutError):
        return failure("connect_timeout", "the upstream did not complete the WebSocket handshake in time", sent=True)
    if isinstance(error, ssl.SSLError):
        return failure("tls_failed", "no TLS connection with the upstream could be made")
    return failure("connect_failed", "no connection to the upstream could be made")


def _address(origin: str, target: str, headers: Headers) -> str:
    """The library takes `Host` from the address; where to connect is given beside it."""
    scheme, _, host = origin.partition("://")
    named = next((value.decode("latin-1") for name, value in headers if name.lower() == b"host"), host)
    if "#" in target or "@" in named or "/" in named:
        raise failure("request_unsendable", "the WebSocket request cannot be sent as it is")
    return f"{'wss' if scheme == 'https' else 'ws'}://{named}{target}"


def _forwarded(headers: Headers) -> list[tuple[str, str]]:
    return [
        (str(name, "ascii"), str(value, "utf-8"))
        for name, value in headers
        if name.lower() not in OURS and not name.lower().startswith(b"sec-websocket-")
    ]
