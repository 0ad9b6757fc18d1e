from __future__ import annotations

import asyncio
from functools import cache
from threading import Thread


@cache
def own_loop() -> asyncio.AbstractEventLoop:
    """One for all clients of this process that are asked from threads, on a thread that ends with it: a deadline over a whole call needs a
    loop."""
    loop = asyncio.new_event_loop()
    # What a library leaves running ends with the process, and is nobody's to remark on; our own failures are raised to who asked.
    loop.set_exception_handler(lambda loop, context: None)
    Thread(target=loop.run_forever, name="clients", daemon=True).start()
    return loop
