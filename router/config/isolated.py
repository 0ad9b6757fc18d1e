"""Settings of the policy engine whose policies are evaluated in processes of their own."""

from __future__ import annotations

from pydantic import Field

from router.settings import Size, Strict


class IsolatedEngine(Strict):
    """Policy engine adapter `isolated`: Rego in confined processes beside each worker, ended when they take too long. Linux only."""

    processes: int = Field(
        default=2,
        ge=2,
        le=16,
        description="Processes for each worker. One evaluates, the others are for when it hangs.",
    )
    memory: Size = Field(default=256 << 20, ge=64 << 20, description="Most memory of each of them, such as `256 MiB`.")
