"""Classifiers' answers that are shared within one process: the twin of what is on Redis."""

from __future__ import annotations

from router.ports import AnswerObserver, Clock

SECOND = 1_000_000_000


class LocalAnswers:
    """Implements `ports.SharedAnswers`."""

    def __init__(self, keep: float, clock: Clock, observer: AnswerObserver) -> None:
        self._keep_ns = round(keep * SECOND)
        self._clock = clock
        self._observer = observer
        self._kept: dict[tuple[str, bytes], tuple[int, bytes]] = {}

    async def get(self, tier: str, key: bytes) -> bytes | None:
        """See `ports.SharedAnswers`."""
        at, answer = self._kept.get((tier, key), (0, None))
        expired = answer is not None and self._clock.now_ns() - at > self._keep_ns
        self._observer.answer_shared(tier, "missed" if answer is None else "expired" if expired else "found")
        return None if expired else answer

    def put(self, tier: str, key: bytes, answer: bytes) -> None:
        """See `ports.SharedAnswers`."""
        self._kept[tier, key] = self._clock.now_ns(), answer
        self._observer.answer_shared(tier, "told")
