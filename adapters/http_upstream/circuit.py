"""A circuit breaker per upstream. It decides only: the caller brings the time (seconds, monotonic) and reports what happened."""

from __future__ import annotations


class Circuit:
    """Closed until `failures` in a row, then open for `open_for` seconds, then one probe decides."""

    __slots__ = ("_failed", "_limit", "_open_for", "_probing", "_until")

    def __init__(self, failures: int, open_for: float) -> None:
        self._limit = failures
        self._open_for = open_for
        self._failed = 0
        self._until = 0.0
        self._probing = False

    def __repr__(self) -> str:
        return f"Circuit(failed={self._failed}, limit={self._limit}, probing={self._probing})"

    def allows(self, now: float) -> bool:
        if self._failed < self._limit:
            return True
        return not self._probing and now >= self._until

    def enter(self) -> None:
        """A request goes out; when the circuit is not closed it is the probe."""
        if self._failed >= self._limit:
            self._probing = True

    def answered(self) -> None:
        """A head arrived: enough for a probe. What went wrong before stays counted until a response is complete."""
        if self._probing:
            self.succeeded()

    def succeeded(self) -> None:
        self._failed = 0
        self._probing = False

    def failed(self, now: float) -> None:
        self._probing = False
        self._failed += 1
        if self._failed >= self._limit:
            self._until = now + self._open_for

    def abandoned(self) -> None:
        """The request ended without a verdict (the caller went away): another may probe."""
        self._probing = False
