"""Quotas that nodes share, or this node's own while those cannot be asked."""

from __future__ import annotations

from collections.abc import Sequence

from router.errors import StateError
from router.ports import Quota, Quotas


class EitherQuotas:
    def __init__(self, shared: Quotas, own: Quotas) -> None:
        self._shared = shared
        self._own = own

    async def take(self, wanted: Sequence[Quota]) -> tuple[int, float] | None:
        """See `ports.Quotas`."""
        try:
            return await self._shared.take(wanted)
        except StateError:
            return await self._own.take(wanted)
