"""The twin of a channel: what it was told stays here."""

from __future__ import annotations

from router.errors import DestinationError
from router.ports import Notice


class MemoryNotifier:
    """Implements `router.ports.Notifier`. While `failing` is set it takes nothing."""

    def __init__(self) -> None:
        self.told: list[tuple[Notice, str]] = []
        self.failing: DestinationError | None = None

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def tell(self, notice: Notice, link: str) -> None:
        if self.failing is not None:
            raise self.failing
        self.told.append((notice, link))
