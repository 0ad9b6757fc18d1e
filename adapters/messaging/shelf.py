"""What a consumer has of a broker and nobody handles now: messages that arrived, and those given back, until they may be handed out."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field

from router.ports import Incoming


@dataclass(frozen=True, slots=True, order=True)
class _Waiting:
    number: int
    message: Incoming = field(compare=False)
    not_before: float = field(default=0.0, compare=False)


class Shelf:
    """Times are the loop's. Of one `order` nothing is handed out that follows what still has to wait."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, number: int, message: Incoming, after_s: float = 0.0) -> None:
        """`number`: its place; what is given back has the one that it had."""
        not_before = asyncio.get_running_loop().time() + after_s if after_s > 0 else 0.0
        heapq.heappush(self._waiting, _Waiting(number, message, not_before))
        self.tell()

    def clear(self) -> list[Incoming]:
        waiting, self._waiting = self._waiting, []
        self.tell()
        return [each.message for each in waiting]

    def messages(self) -> list[Incoming]:
        return [each.message for each in self._waiting]

    def next(self, most: int) -> list[Incoming]:
        """Removes and returns what may be handed out now."""
        now = asyncio.get_running_loop().time()
        found, kept, blocked = list[Incoming](), list[_Waiting](), set[bytes]()
        while self._waiting and len(found) < most:
            each = heapq.heappop(self._waiting)
            if each.not_before > now or each.message.order in blocked:
                kept.append(each)
                if each.message.order:
                    blocked.add(each.message.order)
            else:
                found.append(each.message)
        for each in kept:
            heapq.heappush(self._waiting, each)
        return found

    async def wait(self) -> None:
        """Until something is put here or told, or what is here has waited."""
        now = asyncio.get_running_loop().time()
        waits = [each.not_before - now for each in self._waiting if each.not_before > now]
        changed = self._changed
        try:
            async with asyncio.timeout(min(waits, default=None)):
                await changed.wait()
        except TimeoutError:
            return

    def tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
