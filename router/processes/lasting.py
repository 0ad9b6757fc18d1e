"""What goes on beside everything else for as long as a process serves. Nobody waits for it, so nobody would see that it has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("lockgate.control")
AGAIN_S = 10.0
UNFORESEEN = "%s ended in a way that nobody foresaw, and begins again"


async def lasting(what: str, keep: Callable[[], Awaitable[object]], again_s: float = AGAIN_S) -> object:
    """Returns what `keep` does. What it raises is told, and it begins again: a part that is not there any more looks like one that has
    nothing to do."""
    while True:
        try:
            return await keep()
        except asyncio.CancelledError:  # also raised by what it waits for, where somebody else cancels that
            if (own := asyncio.current_task()) is None or own.cancelling():
                raise
            log.exception(UNFORESEEN, what)
        except Exception:  # whatever it is
            log.exception(UNFORESEEN, what)
        await asyncio.sleep(again_s)
