"""A small application behind the middleware, and how a test asks it."""

from __future__ import annotations

from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from lockgate.asgi import DecisionMiddleware, decision_of
from lockgate.client import Subject


def who(connection: HTTPConnection) -> Subject | None:
    """As an authenticating proxy in front would say."""
    name = connection.headers.get("x-user")
    return None if name is None else Subject(name, roles=("employee",))


async def shown(request: Request) -> Response:
    request.app.state.ran.append(request.url.path)
    decision = decision_of(request)
    return JSONResponse(
        {
            "decision": None if decision is None else decision.id,
            "body": (await request.body()).decode("latin-1"),
            "headers": dict(request.headers),
        }
    )


async def long(request: Request) -> Response:
    if request.query_params.get("announced"):
        return PlainTextResponse("x" * 1000)

    async def pieces() -> Any:
        for _ in range(10):
            yield b"x" * 100

    return StreamingResponse(pieces())


async def broken(request: Request) -> Response:
    raise ZeroDivisionError


def app(client: Any, **settings: Any) -> Starlette:
    """`app.state.ran` are the paths that the application itself saw."""
    routes = [Route("/echo/long", long), Route("/echo/broken", broken), Route("/{rest:path}", shown, methods=["GET", "POST", "PUT"])]
    made = Starlette(routes=routes)
    made.state.ran = []
    made.add_middleware(DecisionMiddleware, client=client, **{"subject": who, **settings})
    return made


async def ask(made: Starlette, method: str, path: str, user: str | None = "ann", **rest: Any) -> httpx2.Response:
    headers = {**({"x-user": user} if user is not None else {}), **rest.pop("headers", {})}
    transport = httpx2.ASGITransport(made, raise_app_exceptions=False, client=("192.0.2.7", 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://till.example") as http:
        return await http.request(method, path, headers=headers, **rest)
