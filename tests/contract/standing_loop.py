"""The loop that clients share, doing nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from adapters.own_loop import own_loop


@contextmanager
def standing_still() -> Iterator[None]:
    """As where one of the clients blocks it."""
    begun, over = Event(), Event()
    own_loop().call_soon_threadsafe(lambda: (begun.set(), over.wait(20)))
    if not begun.wait(5):
        raise TimeoutError("the loop did not begin to stand still")
    try:
        yield
    finally:
        over.set()
