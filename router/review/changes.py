"""Which held requests changed in this process, for those who wait elsewhere: one of them asks for all, however many callers it has."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

KEPT = 4096


class Changes:
    """Numbers count up from 1 in this process; one that comes from another start of it is unknown here, and so told to be lost."""

    def __init__(self, kept: int = KEPT) -> None:
        self._recent: deque[tuple[int, str]] = deque(maxlen=kept)
        self._number = 0
        self._more = asyncio.Event()

    def changed(self, review_id: str) -> None:
        self._number += 1
        self._recent.append((self._number, review_id))
        more, self._more = self._more, asyncio.Event()
        more.set()

    async def since(self, number: int | None, seconds: float) -> tuple[int, Sequence[str], bool]:
        """(the number of the last change, ids of those after `number`, whether some are not known any more). Waits for one, unless who asks
        knows no number yet."""
        if number is None or number > self._number:
            return self._number, (), True
        if number == self._number:
            try:
                async with asyncio.timeout(seconds):
                    await self._more.wait()
            except TimeoutError:
                return self._number, (), False
        found = dict.fromkeys(review_id for at, review_id in self._recent if at > number)
        oldest = self._recent[0][0] if self._recent else self._number + 1
        return self._number, tuple(found), number + 1 < oldest
