from __future__ import annotations

from fastapi import Response

from router.control.guarded import Services, guarded_router, needs
from router.control.permissions import Permission

router = guarded_router()
TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}}, **needs(Permission.METRICS_READ))
async def metrics(services: Services) -> Response:
    """Prometheus text format."""
    return Response(await services.status.metrics(), media_type=TEXT_FORMAT)
