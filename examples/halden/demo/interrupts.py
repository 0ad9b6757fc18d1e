"""Ctrl-C and requests to end, which wait for the moment in which a process is started: none may be running that nobody knows of."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def by_exceptions() -> None:
    """So that `finally` is reached, also where a shell started this in the background with Ctrl-C ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    signal.signal(signal.SIGINT, signal.default_int_handler)


def ignored() -> None:
    """Who asks once more is not quicker: what runs has to end first."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def postponed() -> Iterator[None]:
    """What comes meanwhile is heeded at the end. Signals are the main thread's: others are never interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
