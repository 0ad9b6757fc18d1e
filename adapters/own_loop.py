from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import cache
from threading import Thread
from typing import Any, TypeVar

Answer = TypeVar("Answer")

GRACE_S = 1.0  # beyond a call's own deadline: only a loop that stands still takes so long


@cache
def own_loop() -> asyncio.AbstractEventLoop:
    """One for all clients of this process that are asked from threads, on a thread that ends with it: a deadline over a whole call needs a
    loop."""
    loop = asyncio.new_event_loop()
    # What a library leaves running ends with the process, and is nobody's to remark on; our own failures are raised to who asked.
    loop.set_exception_handler(lambda loop, context: None)
    Thread(target=loop.run_forever, name="clients", daemon=True).start()
    return loop


def wait_for(call: Coroutine[Any, Any, Answer], loop: asyncio.AbstractEventLoop, seconds: float) -> Answer:
    """From another thread than the loop's. Raises TimeoutError where the loop did not finish the call; it is then cancelled as soon as the
    loop has a turn. A deadline inside the call holds only while the loop runs, and clients share it."""
    waiting = asyncio.run_coroutine_threadsafe(call, loop)
    try:
        return waiting.result(seconds)
    except TimeoutError:
        waiting.cancel()
        raise
