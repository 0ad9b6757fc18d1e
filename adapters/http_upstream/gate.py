"""The entrance of a destination, shared by all its views."""

from __future__ import annotations

from adapters.http_upstream.failures import failure


class Gate:
    """How many requests are under way, and whether more may come."""

    __slots__ = ("_limit", "_name", "count", "open")

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self.count = 0
        self.open = False

    def check(self) -> None:
        if not self.open:
            raise failure("destination_closed", f"{self._name} is not open")

    def enter(self) -> None:
        self.check()
        if self.count >= self._limit:
            raise failure("concurrency_exceeded", f"{self._name} already has {self._limit} requests under way")
        self.count += 1

    def leave(self) -> None:
        self.count -= 1
