"""Health and readiness on a listener of their own, for as long as the control process serves: whoever watches over the process has no
client certificate to show."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from router.control.app import create_probes
from router.control.services import ControlServices
from router.doors.http1 import HEADER_TIMEOUT_S, MAX_HEADER_BYTES, MAX_HEADER_COUNT, guarded
from router.processes.server import server, started
from router.processes.sockets import listen
from router.settings import Address

log = logging.getLogger("lockgate.control")
GRACE_S = 2.0
MOST_CONNECTIONS = 32


@asynccontextmanager
async def serving_probes(sock: socket.socket | None, services: ControlServices) -> AsyncIterator[None]:
    """On a socket that is bound; nothing where none is given. Raises ConfigError where it cannot be listened on."""
    if sock is None:
        yield
        return
    listen(sock, "control.probes")
    http = guarded(HEADER_TIMEOUT_S, MAX_HEADER_COUNT, MAX_HEADER_BYTES, MOST_CONNECTIONS)
    running = server(create_probes(services), http=http, grace_s=GRACE_S)
    task = asyncio.create_task(running.serve([sock]))
    try:
        await started(running, task)
        log.info("health and readiness are served on %s besides, to everybody", Address(*sock.getsockname()[:2]))
        yield
    finally:
        running.stop()
        await task
