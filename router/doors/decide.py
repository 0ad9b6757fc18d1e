"""The decide door: `POST /v1/decide` gives the whole recorded decision without a dispatch, for services that enforce themselves."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from router.decision import NO_BODY, BodyView, Decision, Subject
from router.decision import Request as Asked
from router.decision_json import decision_document
from router.doors.body import too_large, whole_body_view
from router.doors.decide_models import DecideRequest, DecisionOut, Problem, SubjectIn
from router.doors.head import decode_path, trace_context
from router.doors.responses import STATE_FAILED, refuse
from router.doors.runtime import Observer, Runtime
from router.errors import AuditError, LockgateError, RefusedError, StateError
from router.ports import Clock, Ids, Random
from router.problems import problem
from router.telemetry.logs import current_trace

log = logging.getLogger("lockgate.decide")
HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": why}
    for status, why in (
        (400, "The request is malformed."),
        (401, "No valid credential."),
        (403, "The credential lacks the scope `decide`, or `delegate` where a subject is named."),
        (413, "The body is larger than the gateway's limit."),
        (429, "Too many requests."),
        (503, "The decision could not be made durable; there is none."),
    )
}


class DecideDoor:
    """`runtime` gives the configuration that serves now, which is kept as long as it is used."""

    def __init__(
        self, runtime: Callable[[], AbstractContextManager[Runtime]], clock: Clock, ids: Ids, random: Random, observer: Observer
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._ids = ids
        self._random = random
        self.observer = observer

    async def decide(self, headers: Sequence[tuple[bytes, bytes]], client: str, wanted: DecideRequest) -> Decision:
        """Raises RefusedError, StateError, AuditError."""
        with self._runtime() as runtime:
            return await self._decide(runtime, headers, client, wanted)

    async def _decide(self, runtime: Runtime, headers: Sequence[tuple[bytes, bytes]], client: str, wanted: DecideRequest) -> Decision:
        received_ns = self._clock.now_ns()
        authenticator = runtime.decide_authenticator if wanted.subject is None else runtime.delegate_authenticator
        caller = await authenticator.identify(headers, received_ns)
        wait = await runtime.limiter.admit(caller, client)
        if wait is not None:
            raise RefusedError("Too many requests.", "rate_limited", 429, math.ceil(wait))
        subject = _on_behalf(wanted.subject, caller) if wanted.subject is not None else caller
        asked = self._asked(runtime, subject, received_ns, client, wanted)
        current_trace.set(asked.trace)
        decision = await runtime.pipeline.decide(asked)
        self.observer.ended(decision, decision.outcome)
        return decision

    def _asked(self, runtime: Runtime, subject: Subject, received_ns: int, client: str, wanted: DecideRequest) -> Asked:
        options = runtime.options
        fields = [(name.lower().encode("latin-1", "replace"), value) for name, value in wanted.headers.items()]
        parent = (wanted.traceparent or "").encode("latin-1", "replace")
        content_type = "text/plain" if wanted.text is not None else "application/json"
        return Asked(
            id=self._ids.new(),
            received_ns=received_ns,
            door="decide",
            subject=subject,
            method=wanted.method,
            host=wanted.host.lower(),
            path=decode_path(wanted.path),
            query=wanted.query,
            headers=tuple((name.decode("latin-1"), value) for name, value in fields if name in options.visible),
            content_type=content_type,
            body=_view(wanted, content_type, runtime),
            client=wanted.client or client,
            trace=trace_context(parent, [], self._random.random() < options.sample),
            idempotency_key=wanted.idempotency_key,
        )


def _on_behalf(wanted: SubjectIn, caller: Subject) -> Subject:
    """Who asked stays visible in the claims of the one asked for."""
    claims = {**wanted.claims, "act": {"sub": caller.id}}  # RFC 8693 §4.1
    return Subject(wanted.id, wanted.type, tuple(wanted.roles), tuple(wanted.groups), wanted.tenant, claims, "delegated")


def _view(wanted: DecideRequest, content_type: str, runtime: Runtime) -> BodyView:
    if wanted.text is None and wanted.body is None:
        return NO_BODY
    data = wanted.text.encode("utf-8", "surrogatepass") if wanted.text is not None else orjson.dumps(wanted.body)
    return whole_body_view(data, content_type, runtime.options.text_paths, runtime.options.limits)


def create_app(door: DecideDoor, ready: Callable[[], bool], max_body: int) -> FastAPI:
    """Version 1 of the API. Errors are RFC 9457 problems. `max_body` in bytes: a body is read before its sender is known."""
    app = FastAPI(title="Lockgate decide API", version="1", docs_url=None, redoc_url=None)

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return Response(status_code=200, content=b"ok\n", media_type="text/plain")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        return Response(status_code=200 if ready() else 503, content=b"ready\n" if ready() else b"not ready\n", media_type="text/plain")

    @app.post(
        "/v1/decide",
        response_model=DecisionOut,
        responses=PROBLEMS,
        summary="Decide about a request without dispatching it",
        max_body_size=max_body,
    )
    async def decide(wanted: DecideRequest, request: Request) -> Response:
        client = request.client.host if request.client is not None else ""
        decision = await door.decide(request.scope["headers"], client, wanted)
        return Response(orjson.dumps(decision_document(decision)), media_type="application/json")

    async def refused(_: Request, error: Exception) -> Response:
        answer = _problem(error)
        door.observer.refused(_code(error), answer.status_code)
        return answer

    app.add_middleware(_Announced, most=max_body, observer=door.observer)
    app.add_exception_handler(LockgateError, refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)
    return app


class _Announced:
    """Refuses a body that is too large by its announcement; FastAPI counts the bytes of others."""

    def __init__(self, app: ASGIApp, most: int, observer: Observer) -> None:
        self._app = app
        self._most = most
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        lengths = [value for name, value in scope.get("headers", ()) if name == b"content-length"]
        if any(not length.isdigit() or int(length) > self._most for length in lengths):
            error = too_large(self._most)
            self._observer.refused(error.code, error.status)
            await refuse(send, error)
        else:
            await self._app(scope, receive, send)


def _code(error: Exception) -> str:
    return error.code if isinstance(error, LockgateError) else "internal"


def _problem(error: Exception) -> Response:
    status = error.status if isinstance(error, RefusedError) else 503 if isinstance(error, AuditError | StateError) else 500
    headers = {"retry-after": str(error.retry_after)} if isinstance(error, RefusedError) and error.retry_after is not None else {}
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="lockgate"'
    detail = STATE_FAILED if isinstance(error, StateError) else str(error)
    return Response(problem(status, _code(error), detail=detail), status, headers, "application/problem+json")


async def _invalid(_: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    detail = "; ".join(f"{'.'.join(str(part) for part in fault['loc'][1:]) or 'body'}: {fault['msg']}" for fault in faults[:5])
    return Response(problem(400, "invalid_request", detail=detail), 400, media_type="application/problem+json")


async def _http(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    return Response(problem(status, HTTP_CODES.get(status, "request_invalid")), status, headers, "application/problem+json")


async def _unforeseen(request: Request, error: Exception) -> Response:
    log.error("a decision failed in a way that nobody foresaw", exc_info=error)
    detail = "The request failed inside Lockgate; the log has the details."
    return Response(problem(500, "internal", detail=detail), 500, media_type="application/problem+json")
