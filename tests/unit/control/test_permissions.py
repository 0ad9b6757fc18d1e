from __future__ import annotations

import re
from typing import get_args

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from router.config.scopes import CertificateScope, Role
from router.control.app import create_app
from router.control.guarded import GuardedRoute, guarded_router, needs
from router.control.permissions import DELEGATE, ROLES, SCOPES, Permission, permissions
from router.control.services import ControlServices
from tests.unit.control.conftest import Credential

OIDC = "/console/sign-in/oidc"
SIGN_IN = {"/console/sign-in", "/console/sign-in/style.css", "/console/sign-in/local", "/console/sign-in/break-glass"}
SIGN_IN |= {OIDC, f"{OIDC}/again", f"{OIDC}/callback", f"{OIDC}/logout"}
PUBLIC = {"/healthz", "/readyz", "/v1/openapi.json", "/console/static/{version}/{name}", *SIGN_IN}


def routes(services: ControlServices) -> list[GuardedRoute]:
    listed = list(create_app(services).routes)
    assert all(type(route) is GuardedRoute for route in listed)
    return [route for route in listed if isinstance(route, GuardedRoute)]


def call(client: TestClient, route: APIRoute, headers: dict[str, str]) -> int:
    method = next(iter((route.methods or set()) - {"HEAD"}))
    path = re.sub(r"\{[^}]+\}", "x1", route.path)
    return client.request(method, path, headers=headers, json={} if method == "POST" else None).status_code


def test_every_route_declares_a_permission_and_only_these_are_public(services: ControlServices) -> None:
    """No route of any kind is in the application that did not go through the guard."""
    found = {route.path: route.permission for route in routes(services)}
    assert len(found) >= 14
    assert {path for path, permission in found.items() if permission is Permission.PUBLIC} == PUBLIC


def test_the_configuration_knows_the_same_roles_and_scopes() -> None:
    """It cannot import the table. Nobody decides for somebody else by a certificate."""
    assert set(get_args(Role)) == ROLES.keys()
    assert set(get_args(CertificateScope)) == SCOPES - {DELEGATE}


def test_a_route_without_a_permission_cannot_be_made() -> None:
    """Forgetting it fails when the module is loaded, not when somebody finds the hole."""
    with pytest.raises(TypeError, match="declares no permission"):
        guarded_router().get("/v1/open")(lambda: None)


def test_a_route_with_a_made_up_permission_cannot_be_made() -> None:
    """A permission outside the table is a mistake, not a new permission."""
    with pytest.raises(ValueError, match="everything"):
        guarded_router().get("/v1/open", openapi_extra={"x-lockgate-permission": "everything"})(lambda: None)
    assert needs(Permission.AUDIT_READ) == {"openapi_extra": {"x-lockgate-permission": "audit.read"}}
    assert APIRouter().route_class is not GuardedRoute


def test_nobody_gets_in_without_a_key(services: ControlServices, client: TestClient) -> None:
    """Every route that is not public answers 401 to no credential and to a wrong one."""
    for route in routes(services):
        if route.path not in PUBLIC:
            assert call(client, route, {}) == 401, route.path
            assert call(client, route, {"x-api-key": "lgk_abcdefgh_" + "a" * 43}) == 401, route.path


@pytest.mark.parametrize("role", sorted(ROLES))
def test_a_role_opens_exactly_its_routes(role: str, services: ControlServices, client: TestClient, credential: Credential) -> None:
    """Each role gets 403 on every route outside its permissions and something else inside them."""
    headers = credential(role)
    for route in routes(services):
        if route.permission is Permission.PUBLIC:
            continue
        allowed = route.permission in ROLES[role] | {Permission.SELF}
        assert (call(client, route, headers) == 403) is not allowed, (role, route.path)


def test_a_gateway_key_with_an_admin_role_opens_nothing(services: ControlServices, client: TestClient, credential: Credential) -> None:
    """Roles count beside the scope `control` only."""
    headers = credential("admin", scopes=("gateway", "decide"))
    assert {call(client, route, headers) for route in routes(services) if route.path not in PUBLIC} == {403}


def test_one_permission_can_be_a_scope(services: ControlServices, client: TestClient, credential: Credential) -> None:
    """A scraper's key reads metrics and nothing else."""
    headers = credential(scopes=("control:metrics.read",))
    opened = {route.path for route in routes(services) if route.path not in PUBLIC and call(client, route, headers) != 403}
    assert opened == {"/metrics", "/v1/objectives"}


def test_unknown_roles_and_scopes_give_nothing() -> None:
    """Neither a role from elsewhere nor a misspelt scope is a permission; `public` cannot be granted."""
    assert not permissions(("root", "Admin"), frozenset({"control", "control:everything", "control:public"}))
    assert all(Permission.PUBLIC not in given for given in ROLES.values())


def test_the_permission_is_checked_before_the_body(client: TestClient, credential: Credential) -> None:
    """Nobody learns the shape of a body, or makes Lockgate parse one, without the permission."""
    assert client.post("/v1/keys", content=b"{", headers=credential("viewer")).status_code == 403
    assert client.post("/v1/keys", content=b"{").status_code == 401
