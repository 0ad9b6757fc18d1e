"""The control API: one FastAPI application on its own listener."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request

from router.control import (
    audit,
    config,
    deliveries,
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
    policy,
    reviews,
    rollouts,
)
from router.control.console import PARTS as CONSOLE
from router.control.console.failing import in_pages
from router.control.guard import Guard
from router.control.guarded import guarded_router, needs
from router.control.models import Problem
from router.control.permissions import Permission
from router.control.services import ControlServices
from router.control.sign_in import provider_routes as provider
from router.control.sign_in import routes as sign_in
from router.problems import MEDIA_TYPE

VERSION = "1"
FAILURE = {"description": "RFC 9457 problem", "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


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
        policy,
        rollouts,
    )
    parts = (*own, sign_in, provider, *CONSOLE)
    for router in (*(part.router for part in parts), _document()):
        app.router.routes.extend(router.routes)
    failures.install(app, in_pages)
    app.add_middleware(Guard, hosts=services.hosts)
    return app


def _document() -> Any:
    router = guarded_router()

    @router.get("/v1/openapi.json", **needs(Permission.PUBLIC))
    async def openapi(request: Request) -> dict[str, Any]:
        """This document; it is the same for everybody and says nothing of the installation."""
        return openapi_document(request.app)

    return router


def openapi_document(app: FastAPI) -> dict[str, Any]:
    document = app.openapi()
    document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            operation["responses"].setdefault("default", FAILURE)
    return document
