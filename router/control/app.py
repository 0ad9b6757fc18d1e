"""The control API: one FastAPI application on its own listener."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request

from router.control import (
    audit,
    config,
    deliveries,
    draining,
    drift,
    evidence,
    failures,
    governance,
    health,
    keys,
    labels,
    learning,
    metrics,
    nodes,
    objectives,
    policy,
    reviews,
    rollouts,
)
from router.control.console import PARTS as CONSOLE
from router.control.console.failing import in_pages
from router.control.document import openapi_document
from router.control.guard import Guard
from router.control.guarded import guarded_router, needs
from router.control.permissions import Permission
from router.control.services import ControlServices
from router.control.sign_in import own as own_sessions
from router.control.sign_in import provider_routes as provider
from router.control.sign_in import routes as sign_in

VERSION = "1"


def create_app(services: ControlServices) -> FastAPI:
    """Routes are put in directly, so that `app.routes` lists each of them; one without a permission cannot be made at all."""
    app = FastAPI(title="Lockgate control API", version=VERSION, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.services = services
    own = (
        health,
        metrics,
        audit,
        evidence,
        governance,
        reviews,
        deliveries,
        learning,
        labels,
        drift,
        keys,
        config,
        nodes,
        draining,
        objectives,
        policy,
        rollouts,
    )
    parts = (*own, sign_in, own_sessions, provider, *CONSOLE)
    for router in (*(part.router for part in parts), _document()):
        app.router.routes.extend(router.routes)
    failures.install(app, in_pages)
    app.add_middleware(Guard, hosts=services.hosts)
    return app


def create_probes(services: ControlServices) -> FastAPI:
    """Health and readiness alone, for everybody and by any name: they are public on the control API, too."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.services = services
    app.router.routes.extend(health.router.routes)
    failures.install(app)
    app.add_middleware(Guard, hosts=None)
    return app


def _document() -> Any:
    router = guarded_router()

    @router.get("/v1/openapi.json", **needs(Permission.PUBLIC))
    async def openapi(request: Request) -> dict[str, Any]:
        """This document; it is the same for everybody and says nothing of the installation."""
        return openapi_document(request.app)

    return router
