"""The loop that clients share, doing nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

from adapters.own_loop import own_loop

STILL_S = 120.0  # at the most


@contextmanager
def standing_still() -> Iterator[Callable[[], bool]]:
    """As where one of the clients blocks it. Gives whether it still stands: whoever waited for it does not find it so any more."""
    begun, over, ended = Event(), Event(), Event()
    own_loop().call_soon_threadsafe(lambda: (begun.set(), over.wait(STILL_S), ended.set()))
    if not begun.wait(STILL_S):
        raise TimeoutError("the loop did not begin to stand still")
    try:
        yield lambda: not ended.is_set()
    finally:
        over.set()
