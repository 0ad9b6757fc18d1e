"""Has it recorded that sessions ended where Lockgate was lost, or the ledger was down, after they had ended and before it was on record.

Whoever signs out cannot do it again, for nobody believes a session that has ended. What ended is marked so, durably, before anything else;
what still is marked at the second look is nobody's any more. A node that is lost at the very moment leaves it to another one, or to itself
after it has started; two that look at once may both record it.
"""

from __future__ import annotations

import asyncio
import logging

from router.control.services import ControlServices
from router.errors import LockgateError
from router.identity.sessions import SessionService
from router.ports import Which

log = logging.getLogger("lockgate.sign_in")
EVERY_S = 15.0


async def keep_ended(services: ControlServices, every_s: float = EVERY_S) -> None:
    """For as long as it is not cancelled."""
    if services.sign_in is None:
        return
    before = frozenset[str]()
    while True:
        before = await look(services, services.sign_in.sessions, before)
        await asyncio.sleep(every_s)


async def look(services: ControlServices, sessions: SessionService, before: frozenset[str]) -> frozenset[str]:
    """Records those that had ended at the look `before` already; gives those that wait for the next one."""

    async def record(ids: list[str]) -> None:
        await services.record("sessions_ended", {"sessions": ids, "by_key": "", "late": True})

    try:
        waiting = {each.id: each for each in await sessions.unrecorded()}
        late = [Which(digest=waiting[each].digest) for each in sorted(before & waiting.keys())]
        if late:
            await sessions.end_on_record(late, record)
        return frozenset(waiting.keys() - before)
    except LockgateError as error:
        log.warning("that sessions ended cannot be recorded now: %s", error)
        return before
