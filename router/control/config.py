from __future__ import annotations

from typing import Any

from router.control.guarded import Services, guarded_router, needs
from router.control.permissions import Permission

router = guarded_router()


@router.get("/v1/config", **needs(Permission.CONFIG_READ))
async def describe(services: Services) -> dict[str, Any]:
    """Digests and versions of what runs."""
    return dict(services.status.describe())


@router.get("/v1/config/diff", **needs(Permission.CONFIG_READ))
async def pending(services: Services) -> dict[str, Any]:
    """What a reload would change now: `changes` by key, defaults included and secrets hidden; `refused` says why it would be refused."""
    return dict(await services.status.pending())


@router.post("/v1/config/reload", **needs(Permission.CONFIG_RELOAD))
async def reload(services: Services) -> dict[str, Any]:
    """Reads the configuration again. 422 with every fault when it cannot be used; the last good one then runs on."""
    return dict(await services.status.reload())
