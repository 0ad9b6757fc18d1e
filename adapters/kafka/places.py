"""Which offsets of a partition are done with: a group's place may only go on over what is acknowledged without a gap."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

Partition = tuple[str, int]


class Place:
    """Of one partition, for as long as it is ours. `next`: the first offset that is not yet done with."""

    __slots__ = ("_done", "_here", "committed", "next")

    def __init__(self, first: int) -> None:
        self.next = self.committed = first
        self._here: deque[int] = deque()
        self._done: set[int] = set()

    def came(self, offset: int) -> None:
        if not self._here:
            self.next = offset  # what lies between are markers of transactions, and what was compacted away
        self._here.append(offset)

    def done(self, offset: int) -> None:
        self._done.add(offset)
        while self._here and self._here[0] in self._done:
            self.next = self._here.popleft() + 1
            self._done.discard(self.next - 1)
        if self._here:
            self.next = self._here[0]


class Places:
    """Of all partitions that are ours. Asked by the event loop and by the consumer's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_partition: dict[Partition, Place] = {}

    def came(self, partition: Partition, offset: int) -> Place:
        with self._lock:
            place = self._by_partition.get(partition)
            if place is None:
                place = self._by_partition[partition] = Place(offset)
            place.came(offset)
            return place

    def done(self, partition: Partition, place: Place, offset: int) -> None:
        """Nothing for a partition that was taken from us since: somebody else has the message."""
        with self._lock:
            if self._by_partition.get(partition) is place:
                place.done(offset)

    def ours(self, partition: Partition, place: Place) -> bool:
        with self._lock:
            return self._by_partition.get(partition) is place

    def moved(self, of: Iterable[Partition] | None = None) -> dict[Partition, int]:
        """Where places went on since they were committed, which they are from now."""
        with self._lock:
            wanted = self._by_partition if of is None else {each for each in of if each in self._by_partition}
            found = {
                each: self._by_partition[each].next for each in wanted if self._by_partition[each].next > self._by_partition[each].committed
            }
            for each, offset in found.items():
                self._by_partition[each].committed = offset
            return found

    def forget(self, partitions: Iterable[Partition]) -> None:
        with self._lock:
            for each in partitions:
                self._by_partition.pop(each, None)

    def again(self, partitions: Iterable[Partition]) -> None:
        """Their commit failed."""
        with self._lock:
            for each in partitions:
                if each in self._by_partition:
                    self._by_partition[each].committed = -1
