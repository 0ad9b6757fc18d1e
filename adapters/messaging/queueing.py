"""Messages that wait to be handed out: in their order, each not before its time, and of one `order` none before what it follows."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from router.ports import Incoming


@dataclass(frozen=True, slots=True, order=True)
class Waiting:
    """`number`: its place among all."""

    number: int
    message: Incoming = field(compare=False)
    not_before: float = field(default=0.0, compare=False)


class Queue:
    """Times are any clock's seconds."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, waiting: Waiting) -> None:
        heapq.heappush(self._waiting, waiting)

    def next(self, most: int, now: float) -> list[Waiting]:
        """Removes and returns what may be handed out now."""
        found, kept, blocked = list[Waiting](), list[Waiting](), set[bytes]()
        while self._waiting and len(found) < most:
            each = heapq.heappop(self._waiting)
            if each.not_before > now or each.message.order in blocked:
                kept.append(each)
                if each.message.order:
                    blocked.add(each.message.order)
            else:
                found.append(each)
        for each in kept:
            heapq.heappush(self._waiting, each)
        return found

    def due(self, now: float) -> float | None:
        """Seconds until the next of those that still have to wait."""
        return min((each.not_before - now for each in self._waiting if each.not_before > now), default=None)

    def drop(self, unwanted: Callable[[Waiting], bool]) -> None:
        self._waiting = [each for each in self._waiting if not unwanted(each)]
        heapq.heapify(self._waiting)
