"""A policy engine with something around its evaluations."""

from __future__ import annotations

from router.ports import PolicyEngine


class Wrapping:
    """Everything but `evaluate`, which whoever derives of it gives, is the engine's own."""

    def __init__(self, engine: PolicyEngine) -> None:
        self._engine = engine
        self.waits = getattr(engine, "waits", True)

    @property
    def digest(self) -> str:
        return self._engine.digest

    @property
    def problem(self) -> str | None:
        return self._engine.problem

    async def open(self) -> None:
        await self._engine.open()

    async def close(self) -> None:
        await self._engine.close()
