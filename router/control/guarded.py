"""No endpoint without a permission: a route that names none cannot be made, and it is checked before the body is read."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from router.control.guard import SAFE, most_bytes
from router.control.judging import Doing, Facts
from router.control.permissions import CONTROL, Permission
from router.control.services import ControlServices
from router.control.sign_in.browser import SIGN_OUT, asks_for_page, check_csrf, session_secret, sign_in_for
from router.control.tenants import WITHIN, refused, within
from router.decision import ANONYMOUS, Subject
from router.errors import IdentityError, RefusedError
from router.identity.break_glass import METHOD, is_break_glass
from router.identity.certificate_callers import CertificateCaller
from router.identity.certificates import certificate_of
from router.identity.credentials import credential
from router.identity.sessions import csrf_token
from router.ports import ApiKey

EXTRA = "x-lockgate-permission"
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


NO_FACTS = Facts("key", (), frozenset())


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls the control API. `id` is the subject of the key or session, `permissions` what it may do, `key_id` names it in records.
    `csrf` is what a form has to bring along as its field `csrf`; empty for keys, whose requests no browser sends by itself.
    `authenticated_ns` and `methods` say when and how who signed in proved who they are; 0 and none for keys."""

    id: str
    key_id: str = ""
    permissions: frozenset[Permission] = frozenset()
    subject: Subject = ANONYMOUS
    csrf: str = ""
    session: str = ""
    authenticated_ns: int = 0
    methods: tuple[str, ...] = ()
    facts: Facts = NO_FACTS


NOBODY = Principal("")
IN_A_SESSION = frozenset({CONTROL})
ADDED_BY_BROWSERS = ("sec-fetch-site", "sec-fetch-mode", "origin", "cookie")


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
        handler, permission, path = super().get_route_handler(), self.permission, self.path

        async def guarded(request: Request) -> Response:
            if permission is Permission.PUBLIC:
                request.state.principal = NOBODY
                return await handler(request)
            try:
                principal = request.state.principal = await _allowed(request, permission, path)
            except RefusedError as error:
                if error.status == 401 and asks_for_page(request):
                    return RedirectResponse(sign_in_for(request, again=error.code == "session_recheck"), 303)
                await _services(request).acts.refused(getattr(request.state, "refused", None), permission, error.code)
                raise
            if request.method not in SAFE:
                await _services(request).acts.begin(principal, permission, request.method, path, request.path_params)
            return await handler(request)

        return guarded


def guarded_router() -> APIRouter:
    return APIRouter(route_class=GuardedRoute)


async def _allowed(request: Request, permission: Permission, path: str) -> Principal:
    principal = request.state.refused = await identified(request)
    services = _services(request)
    services.judge.check(principal.facts, permission, Doing(request.method, path, request.query_params.get("tenant")))
    if not services.own_tenant or principal.subject.tenant is None:
        return principal
    if permission not in WITHIN:
        raise refused("this is about")
    return replace(principal, permissions=principal.permissions & WITHIN)


def facts_of_key(key: ApiKey) -> Facts:
    return Facts("key", key.subject.roles, key.scopes, key.subject.tenant)


def facts_of_certificate(caller: CertificateCaller) -> Facts:
    return Facts("certificate", caller.subject.roles, caller.scopes, caller.subject.tenant)


async def identified(request: Request) -> Principal:
    """Whose request this is. A credential in a header field comes before a cookie, which browsers add by themselves: what changes
    something then needs the session's token besides. A certificate is whoever has neither. Raises IdentityError, RefusedError
    `csrf_missing`, StateError."""
    services = _services(request)
    sign_in = services.sign_in
    secret, shown = None, credential(request.headers.raw) is not None
    if sign_in is not None and not shown:
        secret = session_secret(request.headers.raw, sign_in.secure)
    by_certificate = _by_certificate(request, services, alone=not shown and secret is None)
    if by_certificate is not None:
        return by_certificate
    if sign_in is None or secret is None:
        key = services.keys.verify(request.headers.raw)
        told = facts_of_key(key)
        return Principal(key.subject.id, key.id, services.judge.permissions(told), key.subject, facts=told)
    session = await sign_in.sessions.verify(secret)
    if request.method not in SAFE:
        await check_csrf(request, secret)
    if sign_in.sessions.stale(session) and request.url.path != SIGN_OUT:
        raise IdentityError("The sign-in provider has to confirm the session; load a page of the console.", "session_recheck")
    subject = replace(session.subject, authenticated_by=METHOD) if is_break_glass(session) else session.subject
    kind = "break_glass" if is_break_glass(session) else "session"
    told = Facts(kind, subject.roles, IN_A_SESSION, subject.tenant, session.methods, sign_in.sessions.age_s(session))
    may = services.judge.permissions(told)
    proved = (session.authenticated_ns, session.methods)
    return Principal(subject.id, f"session:{session.id}", may, subject, csrf_token(secret), session.id, *proved, told)


def _by_certificate(request: Request, services: ControlServices, *, alone: bool) -> Principal | None:
    """A browser shows its certificate for whatever page asks it to, as it does with a cookie, and no token would stand against that: there
    it opens the connection, and a session says who asks. Raises IdentityError."""
    if services.certificates is None:
        return None
    browser = any(name in request.headers for name in ADDED_BY_BROWSERS)
    found = services.certificates.caller(certificate_of(request.scope), alone=alone and not browser)
    if found is None:
        return None
    told = facts_of_certificate(found)
    return Principal(found.subject.id, found.key_id, services.judge.permissions(told), found.subject, facts=told)


def _services(request: Request) -> ControlServices:
    services: ControlServices = request.app.state.services
    return services


def _services_for(request: Request) -> ControlServices:
    """What the principal may have of them."""
    services, principal = _services(request), _principal(request)
    tenant = principal.subject.tenant
    return within(services, tenant, principal.id) if services.own_tenant and tenant is not None else services


def _principal(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


Services = Annotated[ControlServices, Depends(_services_for)]
Caller = Annotated[Principal, Depends(_principal)]
