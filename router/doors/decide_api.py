"""The decide API: `POST /v1/decide` gives the whole recorded decision without a dispatch, for services that enforce themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.doors.answering import MOST_BYTES
from router.doors.body import too_large
from router.doors.decide import DecideDoor
from router.doors.decide_models import AnswerIn, DecideRequest, DecisionOut, HeldOut
from router.doors.held import GoneError
from router.doors.repeating import LONGEST_KEY
from router.doors.responses import STATE_FAILED, refuse
from router.doors.runtime import Observer
from router.errors import AuditError, LockgateError, RefusedError, StateError
from router.identity.certificates import certificate_of
from router.problems import MEDIA_TYPE, problem

log = logging.getLogger("lockgate.decide")
HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": why, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for status, why in (
        (400, "The request is malformed."),
        (401, "No valid credential."),
        (403, "The credential lacks the scope `decide`, or `delegate` where a subject is named."),
        (409, "The first call with this `Idempotency-Key` is under way, or its decision was not kept."),
        (413, "The body is larger than the gateway's limit."),
        (422, "This `Idempotency-Key` was used for another call."),
        (429, "Too many requests."),
        (431, "The header is too large."),
        (500, "The call failed inside Lockgate."),
        (
            503,
            "The decision, or what is to be held, could not be made durable, or nobody can tell whether the call is a repetition.",
        ),
    )
}
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
    "description": "With `decide.idempotency`: whoever repeats the call gets the first one's decision, with `Idempotent-Replayed: true`.",
}
PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "`wait=N` (RFC 7240): what is held is waited for, so many seconds, and at most `review.wait`.",
}
KNOWN = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The `ETag` of what is known: 304 where nothing changed, and with `Prefer: wait` the next change is waited for.",
}
FOLLOWING: dict[int | str, dict[str, Any]] = {
    304: {"description": "Nothing changed."},
    404: {**PROBLEMS[503], "description": "This service had no such request held."},
}
MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "schema": {"type": "string"},
    "description": "The `if_match` of the question, which is the `ETag` that it came with.",
}
ANSWER_KEY = {**KEY, "description": "The same answer once more under its key counts once, however late."}
ANSWER = {
    "required": True,
    "content": {"application/json": {"schema": AnswerIn.model_json_schema()}, "text/plain": {"schema": {"type": "string"}}},
}
ANSWERING: dict[int | str, dict[str, Any]] = {
    **{status: PROBLEMS[status] for status in (400, 401, 403, 413, 429, 431, 500, 503)},
    **{
        status: {**PROBLEMS[503], "description": why}
        for status, why in (
            (404, "This service had no such request held."),
            (409, "It is not the question that is open, nothing is asked any more, or its time is over."),
            (415, "The answer is neither `text/plain` nor `application/json`, or compressed."),
            (422, "The answer is no text of up to 4,000 characters, or its `Idempotency-Key` was used for another one."),
            (428, "The answer does not name its question."),
        )
    },
}
GONE = Response(status_code=499)
"""For who left: nobody reads it."""


def create_app(door: DecideDoor, ready: Callable[[], bool], max_body: int) -> FastAPI:
    """Version 1 of the API. Errors are RFC 9457 problems. `max_body` in bytes: a body is read before its sender is known."""
    app = FastAPI(title="Lockgate decide API", version="1", openapi_url=None, docs_url=None, redoc_url=None)

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
        openapi_extra={"parameters": [KEY, PREFER]},
        max_body_size=max_body,
    )
    async def decide(wanted: DecideRequest, request: Request) -> Response:
        client = request.client.host if request.client is not None else ""
        certificate = certificate_of(request.scope)
        try:
            decided = await door.decide(request.scope["headers"], client, wanted, certificate, request.receive)
        except GoneError:
            return GONE
        headers = {**decided.headers, **({"idempotent-replayed": "true"} if decided.replayed else {})}
        return Response(decided.document, headers=headers, media_type="application/json")

    @app.get(
        "/v1/decide/{decision_id}",
        response_model=HeldOut,
        responses={**FOLLOWING, **{status: PROBLEMS[status] for status in (400, 401, 403, 429, 431, 500, 503)}},
        summary="Where a request stands that this service had held",
        openapi_extra={"parameters": [PREFER, KNOWN]},
    )
    async def follow(decision_id: str, request: Request) -> Response:
        client = request.client.host if request.client is not None else ""
        certificate = certificate_of(request.scope)
        try:
            found = await door.follow(request.scope["headers"], client, decision_id, certificate, request.receive)
        except GoneError:
            return GONE
        if found.document is None:
            return Response(status_code=304, headers=found.headers)
        return Response(found.document, headers={**found.headers, "cache-control": "no-store"}, media_type="application/json")

    @app.post(
        "/v1/decide/{decision_id}",
        response_model=HeldOut,
        responses=ANSWERING,
        summary="Answer a reviewer's question about a request that this service had held",
        openapi_extra={"parameters": [MATCH, ANSWER_KEY], "requestBody": ANSWER},
        max_body_size=max_body,
    )
    async def answer(decision_id: str, request: Request) -> Response:
        client = request.client.host if request.client is not None else ""
        body = partial(_bounded, request)
        found = await door.answer(request.scope["headers"], client, decision_id, body, certificate_of(request.scope))
        return Response(found.document, headers={**found.headers, "cache-control": "no-store"}, media_type="application/json")

    @app.get("/openapi.json", include_in_schema=False)
    async def document(request: Request) -> Response:
        """The same for everybody who may ask for decisions; others learn nothing of what is asked here."""
        client = request.client.host if request.client is not None else ""
        await door.admit(request.scope["headers"], client, certificate_of(request.scope))
        return JSONResponse(app.openapi(), headers={"cache-control": "no-store"})

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


async def _bounded(request: Request) -> bytes:
    """Raises RefusedError (413)."""
    found = b""
    async for part in request.stream():
        found += part
        if len(found) > MOST_BYTES:
            raise too_large(MOST_BYTES)
    return found


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
            await refuse(_undated(send), error)
        else:
            await self._app(scope, receive, send)


def _undated(send: Send) -> Send:
    """This listener's server gives every answer its Date; the answer's own would be a second one."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [each for each in message["headers"] if each[0] != b"date"]}
        await send(message)

    return sent


def _code(error: Exception) -> str:
    return error.code if isinstance(error, LockgateError) else "internal"


def _problem(error: Exception) -> Response:
    status = error.status if isinstance(error, RefusedError) else 503 if isinstance(error, AuditError | StateError) else 500
    headers = {"retry-after": str(error.retry_after)} if isinstance(error, RefusedError) and error.retry_after is not None else {}
    if isinstance(error, RefusedError):
        headers |= dict(error.fields)
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
