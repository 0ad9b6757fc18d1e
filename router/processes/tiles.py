"""The tiles' listener, for as long as the control process serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from router.audit.questions.reader import Stored
from router.control.judging import Judge
from router.control.tiles import TilesApp
from router.doors.http1 import HEADER_TIMEOUT_S, MAX_HEADER_BYTES, MAX_HEADER_COUNT, guarded
from router.identity.key_service import KeyService
from router.ports import Clock
from router.processes.evidence import Evidence
from router.processes.server import server, started
from router.processes.sockets import bound, listen
from router.settings import Address
from router.wiring.control import tls_context
from router.wiring.ledger_place import ledger_place
from router.wiring.tiles import LedgerTiles, Readers
from router.workspace import Workspace

log = logging.getLogger("lockgate.audit")
GRACE_S = 5.0
MOST_CONNECTIONS = 64  # each may hold a bundle of 16 MiB, and this process has more to do


@asynccontextmanager
async def serving_tiles(workspace: Workspace, evidence: Evidence, keys: KeyService, clock: Clock, judge: Judge) -> AsyncIterator[None]:
    """Nothing where tiles are not configured. Raises ConfigError where the address cannot be had."""
    config = workspace.config.audit.tiles
    if config is None:
        yield
        return
    sock = listen(bound(config.listen.host, config.listen.port))
    tiles = LedgerTiles(partial(ledger_place(workspace).reader, Stored))
    readers = None if config.public else Readers(keys, evidence.keys, evidence, clock, judge)
    app = TilesApp(tiles, None if readers is None else readers.admit)
    http = guarded(HEADER_TIMEOUT_S, MAX_HEADER_COUNT, MAX_HEADER_BYTES, MOST_CONNECTIONS)
    running = server(app, http=http, grace_s=GRACE_S, ssl=tls_context(workspace, config.tls))
    task = asyncio.create_task(running.serve([sock]))
    try:
        await started(running, task)
        log.info(
            "the ledger's tiles are served on %s, to %s", Address(*sock.getsockname()[:2]), "everybody" if config.public else "API keys"
        )
        yield
    finally:
        running.stop()
        await task
        await tiles.close()
