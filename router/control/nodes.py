from __future__ import annotations

from typing import Any

from router.control.guarded import Services, guarded_router, needs
from router.control.permissions import Permission
from router.errors import RefusedError

router = guarded_router()


@router.get("/v1/nodes", **needs(Permission.CONFIG_READ))
async def every(services: Services) -> dict[str, Any]:
    """The nodes of this ledger, what each of them runs, and in what they differ since when."""
    if services.nodes is None:
        raise RefusedError("This node knows of no others: its configuration has no 'nodes'.", "nodes_not_configured", 404)
    return dict(await services.nodes.list())
