"""The tiles' listener, for as long as the control process serves."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from ssl import SSLContext

from router.audit.questions.reader import Stored
from router.control.services import ControlServices
from router.control.tiles import TilesApp
from router.doors.http1 import HEADER_TIMEOUT_S, MAX_HEADER_BYTES, MAX_HEADER_COUNT, guarded
from router.ports import Clock
from router.processes.evidence import Evidence
from router.processes.server import server, started
from router.processes.sockets import listen
from router.settings import Address
from router.wiring.ledger_place import ledger_place
from router.wiring.tiles import LedgerTiles, Readers
from router.workspace import Workspace

log = logging.getLogger("lockgate.audit")
GRACE_S = 5.0
MOST_CONNECTIONS = 64  # each may hold a bundle of 16 MiB, and this process has more to do


@asynccontextmanager
async def serving_tiles(
    sock: socket.socket | None,
    workspace: Workspace,
    evidence: Evidence,
    services: ControlServices,
    clock: Clock,
    ssl: SSLContext | None,
) -> AsyncIterator[None]:
    """On a socket that is bound; `ssl` is what the listener serves with. Nothing where tiles are not configured. Raises ConfigError where
    it cannot be listened on."""
    config = workspace.config.audit.tiles
    if config is None or sock is None:
        yield
        return
    listen(sock, "audit.tiles.listen")
    tiles = LedgerTiles(partial(ledger_place(workspace).reader, Stored))
    readers = None if config.public else Readers(services.keys, evidence.keys, evidence, clock, services.judge, services.certificates)
    app = TilesApp(tiles, None if readers is None else readers.admit)
    http = guarded(HEADER_TIMEOUT_S, MAX_HEADER_COUNT, MAX_HEADER_BYTES, MOST_CONNECTIONS)
    running = server(app, http=http, grace_s=GRACE_S, ssl=ssl)
    task = asyncio.create_task(running.serve([sock]))
    try:
        await started(running, task)
        whom = "everybody" if config.public else "who may read the trail"
        log.info("the ledger's tiles are served on %s, to %s", Address(*sock.getsockname()[:2]), whom)
        yield
    finally:
        running.stop()
        await task
        await tiles.close()
