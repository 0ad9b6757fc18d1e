"""The real clock, ids and randomness behind the ports."""

from __future__ import annotations

import gc
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

# Collections of the young are cheap at this size, and of everything rare.
GC_THRESHOLDS = (2_000, 10, 100)
HAND_OVER_S = 0.0005
VERSION_AND_VARIANT = (0x7 << 76) | (0b10 << 62)
CHANCE, AT_ONCE = 10, 256  # bytes of an id that are random, and for how many they are fetched
RANDOM_BITS = (0xFFF << 64) | ((1 << 62) - 1)


class SystemClock:
    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


class SystemRandom:
    def random(self) -> float:
        return random.random()  # noqa: S311  # load balancing and jitter, nothing secret


class UuidV7:
    """RFC 9562 version 7 in its canonical text form: 48 bits of milliseconds, 74 random bits."""

    _chance: ClassVar[list[bytes]] = []  # the kernel is asked for many at once; each is taken out once, by whichever thread

    def new(self) -> str:
        millis = time.time_ns() // 1_000_000
        try:
            chance = self._chance.pop()
        except IndexError:
            many = os.urandom(CHANCE * AT_ONCE)
            self._chance.extend([many[at : at + CHANCE] for at in range(CHANCE, len(many), CHANCE)])
            chance = many[:CHANCE]
        bits = int.from_bytes(chance, "big")  # six of them go where the version and the variant stand
        value = (millis << 80) | (bits & RANDOM_BITS) | VERSION_AND_VARIANT
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


os.register_at_fork(after_in_child=UuidV7._chance.clear)


@contextmanager
def loading() -> Iterator[None]:
    """Around imports: modules stay, so that nobody has to look for garbage among them, neither as they become more nor later."""
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if looked:
            gc.enable()


def settle_memory() -> None:
    """Leaves what a process has when it begins to serve out of garbage collection, for good: looking through all of it takes 60 ms, during
    which nobody is served. Once only: what is built later is looked at by `release_memory`."""
    gc.set_threshold(*GC_THRESHOLDS)
    gc.collect()
    gc.freeze()


def release_memory() -> None:
    """Lets go of what a configuration that no longer serves holds in circles, such as its detectors of patterns. A few milliseconds, as it
    looks at nothing that was there when the process began to serve; the first configuration's circles, 500 small objects, so stay."""
    gc.collect()


def hand_over_soon() -> None:
    """A thread that computes gives the interpreter to who serves after half a millisecond. It may keep it for 5 ms otherwise, and a request
    takes it several times: in a worker, and in the control process for each of its records."""
    sys.setswitchinterval(HAND_OVER_S)
