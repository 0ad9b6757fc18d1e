"""What the services share: errors, the record of what really happened, the free-text entry point, and how to start."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

Answer = dict[str, Any]


class RefusedError(Exception):
    """The service will not do it; `message` is for the caller, `headers` go with the answer."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Asked:
    """A free-text request as a gateway hands it on."""

    text: str
    intent: str
    subject: str
    idempotency_key: str | None = None


Operation = Callable[[Asked], Answer]


class Tally:
    """Counts requests that arrived, operations that ran and operations that changed something, and keeps the last request's head."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()
        self.last: Answer | None = None

    def ran(self, operation: str, *, changed: bool) -> None:
        self.calls[operation] += 1
        self.changes[operation] += changed

    def arrived(self, scope: Scope) -> None:
        self.last = head(scope)
        self.requests[f"{self.last['method']} {self.last['path']}"] += 1


class OneTimeFaults:
    """Names that fail the first time they are asked for in this process, so that a retry shows."""

    def __init__(self) -> None:
        self._spent: set[str] = set()

    def trip(self, name: str) -> None:
        if name not in self._spent:
            self._spent.add(name)
            raise RefusedError(503, f"{name} is briefly unavailable, try again", {"retry-after": "0"})


class _Recording:
    def __init__(self, app: ASGIApp, tally: Tally) -> None:
        self._app = app
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not scope["path"].startswith(("/debug/", "/healthz")):
            self._tally.arrived(scope)
        await self._app(scope, receive, send)


def head(scope: Scope) -> Answer:
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    query = scope["query_string"].decode("latin-1")
    return {"method": scope.get("method", "WEBSOCKET"), "path": scope["path"], "query": query, "headers": headers}


def subject_of(request: Request) -> str:
    return request.headers.get("x-lockgate-subject", "anonymous")


async def json_body(request: Request) -> Answer:
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        raise RefusedError(400, "the body is not valid JSON") from None
    if not isinstance(body, dict):
        raise RefusedError(400, "the body must be a JSON object")
    return body


async def asked(request: Request) -> Asked:
    intent = request.headers.get("x-lockgate-intent")
    if not intent:
        raise RefusedError(400, "the header x-lockgate-intent is missing")
    return Asked(await _text(request), intent, subject_of(request), request.headers.get("idempotency-key"))


async def _text(request: Request) -> str:
    if "json" in request.headers.get("content-type", ""):
        body = await json_body(request)
        return str(body.get("message") or json.dumps(body))  # an event without a message still names its records
    return (await request.body()).decode("utf-8", "replace")


def application(name: str, routes: Sequence[BaseRoute], answers: Mapping[str, Operation], tally: Tally) -> Starlette:
    async def ask(request: Request) -> Response:
        question = await asked(request)
        if question.intent not in answers:
            raise RefusedError(422, f"{name} does not handle the intent {question.intent}")
        return JSONResponse({"service": name, "intent": question.intent, **answers[question.intent](question)})

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "service": name})

    async def calls(request: Request) -> Response:
        return JSONResponse({"requests": tally.requests, "calls": tally.calls, "changes": tally.changes})

    async def headers(request: Request) -> Response:
        return JSONResponse({**head(request.scope), "last": tally.last})

    own = [Route("/ask", ask, methods=["POST"]), Route("/healthz", health), Route("/debug/calls", calls), Route("/debug/headers", headers)]
    return Starlette(
        routes=[*own, *routes],
        middleware=[Middleware(_Recording, tally=tally)],
        exception_handlers={RefusedError: _refused, HTTPException: _http_error},
    )


def needs(what: str) -> Answer:
    return {"done": False, "needs": what}


def by_path(operation: Callable[[str], Answer]) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of an operation whose only parameter is the only one in the path."""

    async def endpoint(request: Request) -> Response:
        (parameter,) = request.path_params.values()
        return JSONResponse(operation(parameter))

    return endpoint


def _refused(request: Request, error: Exception) -> Response:
    known = cast(RefusedError, error)  # Starlette types handlers wider than it calls them
    return JSONResponse({"error": known.message}, known.status, known.headers)


def _http_error(request: Request, error: Exception) -> Response:
    known = cast(HTTPException, error)  # Starlette types handlers wider than it calls them
    return JSONResponse({"error": known.detail}, known.status_code, known.headers)


def run(build: Callable[[], Starlette], default_port: int) -> None:
    parser = argparse.ArgumentParser(description=build.__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=default_port)
    options = parser.parse_args()
    uvicorn.run(build(), host=options.host, port=options.port, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
