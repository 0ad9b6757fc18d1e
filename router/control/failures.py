"""Every failure as a problem document. Only our own sentences reach the caller; anything else is in the log."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from router.errors import AuditError, ConfigError, LockgateError, RefusedError, ReviewError, StateError
from router.problems import MEDIA_TYPE, problem
from router.review.refusing import REVIEW_STATUS

log = logging.getLogger("lockgate.control")

AUDIT_STATUS = {
    "decision_unknown": 404,
    "checkpoint_missing": 404,
    "checkpoint_pending": 409,
    "checkpoint_other_history": 409,
    "subject_unknown": 404,
    "audit_hold_unknown": 404,
    "audit_on_hold": 409,
    "audit_self_erasure": 403,
    "audit_reason_invalid": 422,
    "audit_hold_invalid": 422,
    "audit_retention_missing": 409,
}
Handler = Callable[[Request, Exception], Awaitable[Response]]
HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def answer(status: int, code: str, detail: str = "", headers: Mapping[str, str] | None = None, **extra: Any) -> Response:
    return Response(problem(status, code, detail=detail, **extra), status, headers, MEDIA_TYPE)


def install(app: FastAPI, shown: Callable[[Handler], Handler] = lambda handler: handler) -> None:
    """`shown` makes of a problem what its reader takes: the console's readers take pages."""
    app.add_exception_handler(LockgateError, shown(ours))
    app.add_exception_handler(RequestValidationError, shown(_invalid))
    app.add_exception_handler(HTTPException, shown(_http))
    app.add_exception_handler(Exception, shown(unforeseen))


async def ours(request: Request, error: Exception) -> Response:
    if isinstance(error, ConfigError):
        return answer(422, error.code, "The configuration cannot be used; the last good one runs on.", faults=list(error.faults))
    if isinstance(error, RefusedError):
        return answer(error.status, error.code, str(error), _headers(error))
    if isinstance(error, ReviewError):
        return answer(REVIEW_STATUS.get(error.code, 409), error.code, str(error))
    if isinstance(error, AuditError | StateError):
        return answer(AUDIT_STATUS.get(error.code, 503), error.code, str(error))
    return await unforeseen(request, error)


def _headers(error: RefusedError) -> dict[str, str]:
    headers = {"www-authenticate": 'Bearer realm="lockgate"'} if error.status == 401 else {}
    return headers if error.retry_after is None else {**headers, "retry-after": str(error.retry_after)}


async def _invalid(request: Request, error: Exception) -> Response:
    """Where and what; never the value, which may be a secret."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    faults = [{"where": ".".join(str(part) for part in fault["loc"]), "what": str(fault["msg"])} for fault in found]
    first = f"{faults[0]['where']}: {faults[0]['what']}." if faults else ""
    return answer(422, "request_invalid", first, faults=faults)


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    return answer(status, HTTP_CODES.get(status, "request_invalid" if status < 500 else "internal"), headers=headers)


async def unforeseen(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    # This answer is made outside of Guard, which adds the header to all others.
    return answer(500, "internal", "The request failed; the log says more.", {"cache-control": "no-store"})
