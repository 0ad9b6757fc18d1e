"""How many tokens a minute may go to a language model. It decides only: the caller brings the time (seconds, monotonic)."""

from __future__ import annotations


class TokenBudget:
    """A bucket that holds a minute's worth and fills evenly. What a call may cost is taken before it; what it did cost is told after it,
    and may leave a debt, which the coming seconds pay."""

    __slots__ = ("_at", "_left", "_per_minute")

    def __init__(self, per_minute: float, now: float) -> None:
        self._per_minute = per_minute
        self._left = per_minute
        self._at = now

    def __repr__(self) -> str:
        return f"TokenBudget(left={self._left:.0f}, per_minute={self._per_minute:.0f})"

    def take(self, tokens: int, now: float) -> bool:
        self._left = min(self._per_minute, self._left + (now - self._at) * self._per_minute / 60.0)
        self._at = now
        if tokens > self._left:
            return False
        self._left -= tokens
        return True

    def settle(self, taken: int, used: int) -> None:
        self._left += taken - used
