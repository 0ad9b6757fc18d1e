"""No endpoint without a permission: a route that names none cannot be made, and it is checked before the body is read."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from router.control.guard import most_bytes
from router.control.permissions import Permission, granted
from router.control.services import ControlServices
from router.decision import ANONYMOUS, Subject
from router.errors import IdentityError

EXTRA = "x-lockgate-permission"
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls the control API. `id` is the key's subject, `permissions` what the key may do."""

    id: str
    key_id: str = ""
    permissions: frozenset[Permission] = frozenset()
    subject: Subject = ANONYMOUS


NOBODY = Principal("")


def needs(permission: Permission) -> dict[str, Any]:
    """Settings of a route: `@router.get("/v1/keys", **needs(Permission.KEYS_READ))`. Shown in the OpenAPI document."""
    return {"openapi_extra": {EXTRA: permission.value}}


class GuardedRoute(APIRoute):
    def __init__(self, path: str, endpoint: Callable[..., Any], **settings: Any) -> None:
        told = (settings.get("openapi_extra") or {}).get(EXTRA)
        if told is None:
            raise TypeError(f"{path} declares no permission")
        self.permission = Permission(told)
        super().__init__(path, endpoint, **{**settings, "max_body_size": most_bytes(path)})

    def get_route_handler(self) -> Handler:
        handler, permission = super().get_route_handler(), self.permission

        async def guarded(request: Request) -> Response:
            request.state.principal = NOBODY if permission is Permission.PUBLIC else _allowed(request, permission)
            return await handler(request)

        return guarded


def guarded_router() -> APIRouter:
    return APIRouter(route_class=GuardedRoute)


def _allowed(request: Request, permission: Permission) -> Principal:
    key = _services(request).keys.verify(request.headers.raw)
    may = granted(key)
    if permission not in may:
        raise IdentityError(f"The key lacks the permission '{permission}'.", "permission_missing", 403)
    return Principal(key.subject.id, key.id, may, key.subject)


def _services(request: Request) -> ControlServices:
    services: ControlServices = request.app.state.services
    return services


def _principal(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


Services = Annotated[ControlServices, Depends(_services)]
Caller = Annotated[Principal, Depends(_principal)]
