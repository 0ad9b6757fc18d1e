"""How many requests a worker is busy with."""

from __future__ import annotations


class UnderWay:
    """`count`: requests of every door, from when they are let in until they end; a stream, which may last for hours, until it begins.
    `streams` are those that began and go on. `began`: how many were ever let in. `shown`: those that Envoy has shown, until their
    answers begin; in `count` they are while something is decided about them."""

    __slots__ = ("began", "count", "shown", "streams")

    def __init__(self) -> None:
        self.began = 0
        self.shown = 0
        self.count = 0
        self.streams = 0

    def begin(self) -> None:
        self.began += 1
        self.count += 1

    def at_hand(self) -> int:
        """Of which some are about to be decided, or whose callers are about to ask again."""
        return max(self.count, self.shown)

    def alone(self) -> bool:
        return self.count <= 1
