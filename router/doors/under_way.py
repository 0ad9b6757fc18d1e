"""How many requests a worker is busy with."""

from __future__ import annotations


class UnderWay:
    """Requests of every door, from when they are let in until they end; a stream, which may last for hours, until it begins."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def alone(self) -> bool:
        return self.count <= 1
