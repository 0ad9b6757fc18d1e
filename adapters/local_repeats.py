"""Requests with an idempotency key, and their answers, in this process's memory. Who restarts it has forgotten them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from router.errors import StateError
from router.ports import Clock, Turn

SECOND = 1_000_000_000
TURNED_OVER = 8
UNAVAILABLE = "idempotency_unavailable"


@dataclass(slots=True)
class _Kept:
    fingerprint: str
    token: str
    until_ns: int
    turn: Turn = Turn.UNDER_WAY
    answer: bytes = b""


class LocalRepeats:
    """`capacity` keys and `room` bytes of answers at most; what does not fit is a StateError, and an answer that does not is not kept. Of a
    key its digest is kept, so that each takes as much as any other."""

    def __init__(self, clock: Clock, capacity: int = 100_000, room: int = 64 << 20) -> None:
        self._clock = clock
        self._capacity = capacity
        self._room = room
        self._kept: dict[bytes, _Kept] = {}
        self._bytes = 0

    async def begin(self, key: str, fingerprint: str, token: str, seconds: int) -> tuple[Turn, bytes]:
        """See `ports.Repeats`."""
        name, now = _name(key), self._clock.monotonic_ns()
        self._make_room(now)
        kept = self._live(name, now)
        if kept is None:
            if len(self._kept) >= self._capacity:
                raise StateError("There are too many idempotency keys to remember another.", UNAVAILABLE)
            self._kept[name] = _Kept(fingerprint, token, now + seconds * SECOND)
            return Turn.FIRST, b""
        return (kept.turn, kept.answer) if kept.fingerprint == fingerprint else (Turn.OTHER, b"")

    async def end(self, key: str, token: str, answer: bytes | None, seconds: int) -> None:
        """See `ports.Repeats`."""
        now = self._clock.monotonic_ns()
        kept = self._live(_name(key), now)
        if kept is None or kept.token != token or kept.turn is not Turn.UNDER_WAY:
            return
        fits = answer is not None and self._bytes + len(answer) <= self._room
        kept.turn, kept.until_ns = (Turn.ANSWERED if fits else Turn.UNANSWERED), now + seconds * SECOND
        kept.answer = answer if fits and answer is not None else b""
        self._bytes += len(kept.answer)

    async def release(self, key: str, token: str) -> None:
        """See `ports.Repeats`."""
        name = _name(key)
        kept = self._live(name, self._clock.monotonic_ns())
        if kept is not None and kept.token == token and kept.turn is Turn.UNDER_WAY:
            self._drop(name)

    def __len__(self) -> int:
        return len(self._kept)

    def _live(self, name: bytes, now: int) -> _Kept | None:
        kept = self._kept.get(name)
        if kept is not None and kept.until_ns <= now:
            self._drop(name)
            return None
        return kept

    def _drop(self, name: bytes) -> None:
        self._bytes -= len(self._kept.pop(name).answer)

    def _make_room(self, now: int) -> None:
        """Looks at a few, those longest ago first, and drops what is over."""
        for name in [name for name, _ in zip(self._kept, range(TURNED_OVER), strict=False)]:
            if self._live(name, now) is not None:
                self._kept[name] = self._kept.pop(name)


def _name(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
