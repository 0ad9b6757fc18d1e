"""What was refused in the control API is put on record now and then; while somebody is in by break-glass, the log says so all the time."""

from __future__ import annotations

import asyncio
import logging

from router.control.services import ControlServices
from router.errors import StateError

log = logging.getLogger("lockgate.control")
EVERY_S = 10.0
LOUD_EVERY = 6


async def keep_acts(services: ControlServices) -> None:
    """Until it is cancelled."""
    turn = 0
    while True:
        await asyncio.sleep(EVERY_S)
        await services.acts.flush()
        await look(services, loud=turn % LOUD_EVERY == 0)
        turn += 1


async def look(services: ControlServices, *, loud: bool) -> None:
    """Takes up how many break-glass sessions are open, for the metric."""
    if services.sign_in is None:
        return
    try:
        services.sign_in.open_glass[0] = await services.sign_in.sessions.broken()
    except StateError as error:
        log.warning("how many break-glass sessions are open is not known: %s", error)
    if services.sign_in.open_glass[0] and loud:
        log.critical("break-glass: %d session(s) of an administrator are open", services.sign_in.open_glass[0])
