"""What was said before in conversations, sealed, in this process's memory. Who restarts it has forgotten them."""

from __future__ import annotations

from collections import OrderedDict

from router.ports import Clock

SECOND = 1_000_000_000


class LocalConversations:
    """At most `capacity` conversations and `room` bytes; the ones that were silent longest go first."""

    def __init__(self, clock: Clock, capacity: int = 50_000, room: int = 64 << 20) -> None:
        self._clock = clock
        self._capacity = capacity
        self._room = room
        self._kept: OrderedDict[str, tuple[int, bytes]] = OrderedDict()
        self._bytes = 0

    async def read(self, key: str) -> bytes | None:
        """See `ports.Conversations`."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept[0] <= self._clock.monotonic_ns():
            self._drop(key)
            return None
        return kept[1]

    async def write(self, key: str, sealed: bytes, seconds: int) -> None:
        """See `ports.Conversations`."""
        self._drop(key)
        self._kept[key] = (self._clock.monotonic_ns() + seconds * SECOND, sealed)
        self._bytes += len(sealed)
        while len(self._kept) > self._capacity or self._bytes > self._room:
            self._drop(next(iter(self._kept)))

    def __len__(self) -> int:
        return len(self._kept)

    def _drop(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= len(kept[1])
