"""uvicorn as we run it: on sockets that were opened before, without signal handlers, headers or logs of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from ssl import SSLContext
from typing import Any

import uvicorn

from router.doors.http1_websocket import GuardedWebSocket
from router.doors.unread import ENDING_S, GOODBYE_S, SEND_TIMEOUT_S, Patient, impatient

KEEP_ALIVE_S = 75


class Server(uvicorn.Server):
    """Stops when `stop` is called: listening ends at once, requests under way are finished within the grace period."""

    handshake_s = 10.0
    patience_s = SEND_TIMEOUT_S

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, for sockets alone; and nobody takes a minute for a TLS handshake or half a one for its end."""
        await self.lifespan.startup()
        config, state = self.config, self.server_state

        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn calls it
                config=config, server_state=state, app_state=self.lifespan.state
            )
            return made

        bounds: dict[str, Any] = {}
        if config.ssl is not None:
            end = ENDING_S if issubclass(config.http_protocol_class, Patient) else GOODBYE_S
            bounds = {"ssl_handshake_timeout": self.handshake_s, "ssl_shutdown_timeout": end}
        for sock in sockets or ():
            impatient(sock, self.patience_s)
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(protocol, sock=sock, ssl=config.ssl, backlog=config.backlog, **bounds) for sock in sockets or ()
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals belong to the process, which may run several servers

    def stop(self) -> None:
        self.should_exit = True


def server(
    app: Any,
    *,
    http: Any = "httptools",
    grace_s: float,
    ssl: SSLContext | None = None,
    date: bool = True,
    handshake_s: float = 10.0,
    messages: int | None = None,
) -> Server:
    """`date`: whether every response gets a Date field; a proxy's responses mostly have their upstream's. `messages`: most bytes of one
    that comes by WebSocket; None where that is not spoken, and who asks for one asks for what is at that path."""
    config = uvicorn.Config(
        app,
        http=http,
        ws="none" if messages is None else GuardedWebSocket,
        ws_max_size=messages or 0,
        ws_per_message_deflate=False,
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=date,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(grace_s)),
        ssl_context_factory=None if ssl is None else lambda *_: ssl,
    )
    made = Server(config)
    made.handshake_s = handshake_s
    return made


async def started(running: Server, task: asyncio.Task[None]) -> None:
    """Returns when the server accepts connections. Raises what its task raised."""
    while not running.started:
        if task.done():
            task.result()
            raise RuntimeError("a server ended before it had started")
        await asyncio.sleep(0.005)


def inherited(descriptor: int) -> socket.socket:
    return socket.socket(fileno=descriptor)
