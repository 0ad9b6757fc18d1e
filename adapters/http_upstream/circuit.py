"""A circuit breaker per upstream. It decides only: the caller brings the time (seconds, monotonic) and reports what happened."""

from __future__ import annotations

from router.ports import Told


class Circuit:
    """Closed until `failures` in a row, then open for `open_for` seconds, then one probe decides.

    Other nodes may be heard: what they say opens it until `held`, and closes it. `news` is what they have not been told yet of what
    happened here; None where there is nothing, or nobody takes it."""

    __slots__ = ("_failed", "_heard", "_held", "_limit", "_probing", "_until", "news", "open_for")

    def __init__(self, failures: int, open_for: float) -> None:
        self._limit = failures
        self.open_for = open_for
        self.news: Told | None = None
        self._failed = 0
        self._until = self._heard = self._held = 0.0
        self._probing = False

    def __repr__(self) -> str:
        return f"Circuit(failed={self._failed}, limit={self._limit}, probing={self._probing})"

    @property
    def is_open(self) -> bool:
        return self._failed >= self._limit

    def allows(self, now: float) -> bool:
        if self._failed < self._limit:
            return True
        return not self._probing and now >= self._until and now >= self._held

    def waits(self, now: float) -> bool:
        return self.is_open and now < self._until

    def lasts(self, now: float) -> float:
        """For how long others should leave the upstream alone: as long as we do; while a probe is under way, as if it failed now."""
        return self._until - now if self._until > now else self.open_for

    def enter(self) -> None:
        """A request goes out; when the circuit is not closed it is the probe."""
        if self._failed >= self._limit:
            self._probing = True
            self.news = Told.PROBE

    def answered(self) -> None:
        """A head arrived: enough for a probe. What went wrong before stays counted until a response is complete."""
        if self._probing:
            self.succeeded()

    def succeeded(self) -> None:
        """Only of a probe others are told: a request that was under way all the time says how it was, not how it is."""
        if self._probing and self._failed >= self._limit:
            self.news = Told.CLOSED
        self._failed = 0
        self._probing = False

    def failed(self, now: float) -> None:
        probed, self._probing = self._probing, False
        self._failed += 1
        if self._failed >= self._limit:
            self._until = now + self.open_for
            if probed or self._failed == self._limit:
                self.news = Told.PROBE if probed else Told.OPEN

    def abandoned(self) -> None:
        """The request ended without a verdict (the caller went away): another may probe."""
        self._probing = False

    def hear_open(self, until: float, patience: float) -> None:
        """Another node's is open until then, and will probe. We do when nothing was heard of that for `patience` seconds."""
        self._failed = max(self._failed, self._limit)
        self._heard, self._held = until, until + patience

    def hear_closed(self) -> None:
        self._failed = 0
        self._until = self._heard = self._held = 0.0

    def alone(self) -> None:
        """Nobody is heard any more: what was heard holds for its time, and nobody's probe is waited for."""
        self._held = min(self._held, self._heard)
