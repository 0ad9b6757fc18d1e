from __future__ import annotations

from fastapi import Response

from router.control.guarded import Services, guarded_router, needs
from router.control.models import Health, Readiness, ReadyCheck
from router.control.permissions import Permission

router = guarded_router()


@router.get("/healthz", **needs(Permission.PUBLIC))
async def health() -> Health:
    """The control process is alive."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Readiness}}, **needs(Permission.PUBLIC))
async def ready(services: Services, response: Response) -> Readiness:
    """200 when every check passes, 503 otherwise. No checks at all is not ready."""
    checks = [ReadyCheck(name=check.name, ok=check.ok, detail=check.detail) for check in await services.status.ready()]
    passed = bool(checks) and all(check.ok for check in checks)
    response.status_code = 200 if passed else 503
    return Readiness(ready=passed, checks=checks, warnings=list(services.status.warnings()))
