"""uvicorn as we run it: on sockets that were opened before, without signal handlers, headers or logs of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

KEEP_ALIVE_S = 75


class Server(uvicorn.Server):
    """Stops when `stop` is called: listening ends at once, requests under way are finished within the grace period."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals belong to the process, which may run several servers

    def stop(self) -> None:
        self.should_exit = True


def server(app: Any, *, http: Any = "httptools", grace_s: float, ssl: Any = None, date: bool = True) -> Server:
    """`date`: whether every response gets a Date field; a proxy's responses mostly have their upstream's."""
    config = uvicorn.Config(
        app,
        http=http,
        ws="websockets-sansio",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=date,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(grace_s)),
        ssl_context_factory=ssl,
    )
    return Server(config)


async def started(running: Server, task: asyncio.Task[None]) -> None:
    """Returns when the server accepts connections. Raises what its task raised."""
    while not running.started:
        if task.done():
            task.result()
            raise RuntimeError("a server ended before it had started")
        await asyncio.sleep(0.005)


def inherited(descriptor: int) -> socket.socket:
    return socket.socket(fileno=descriptor)
