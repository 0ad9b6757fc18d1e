"""Every endpoint of the decide API is known by name: public, or closed to whoever shows no credential."""

from __future__ import annotations

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from starlette.routing import Route

from tests.faults.gateway_harness import Seen
from tests.unit.doors.test_decide import Stranger, client

PUBLIC = {("GET", "/healthz"), ("GET", "/readyz")}
CLOSED = {("GET", "/openapi.json"), ("POST", "/v1/decide"), ("GET", "/v1/decide/{decision_id}"), ("POST", "/v1/decide/{decision_id}")}


def application(asked: TestClient) -> FastAPI:
    assert isinstance(asked.app, FastAPI)
    return asked.app


def endpoints(app: FastAPI) -> set[tuple[str, str]]:
    """A mount, a WebSocket or whatever else is not a plain route has endpoints that are not seen from here, and fails."""
    hidden = [route for route in app.routes if not isinstance(route, Route)]
    if hidden:
        raise TypeError(f"{hidden} may hold endpoints that nobody looked at")
    plain = [route for route in app.routes if isinstance(route, Route)]
    return {(method, route.path) for route in plain for method in (route.methods or {"ANY"}) - {"HEAD"}}


def test_every_endpoint_is_public_by_name_or_closed() -> None:
    """One that is added has to be put in one of the two lists."""
    assert endpoints(application(client(Stranger(), Seen()))) == PUBLIC | CLOSED


@pytest.mark.parametrize(("method", "path"), sorted(CLOSED))
def test_a_closed_endpoint_opens_to_no_stranger(method: str, path: str) -> None:
    """Being in the list is not enough."""
    body = {"text": "hello"} if method == "POST" else None
    answer = client(Stranger(), Seen()).request(method, path.replace("{decision_id}", "x1"), json=body)
    assert (answer.status_code, answer.json()["code"]) == (401, "credential_missing")


@pytest.mark.parametrize("way", ["mounted", "included"])
def test_a_new_router_does_not_go_unseen(way: str) -> None:
    """However its endpoints came in."""
    app, more = application(client(Stranger(), Seen())), APIRouter()
    more.get("/v2/open")(lambda: None)
    if way == "mounted":
        app.mount("/more", more)
    else:
        app.include_router(more)
    try:
        found = endpoints(app)
    except TypeError:
        return
    assert found - PUBLIC - CLOSED
