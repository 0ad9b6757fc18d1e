"""The control API's OpenAPI document: with each operation the statuses that it can answer, every refusal as a problem."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from router.control.models import Problem
from router.control.permissions import Permission
from router.problems import MEDIA_TYPE

PERMISSION = "x-lockgate-permission"
PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
ANYWHERE = {
    400: "The request is malformed.",
    421: "The listener is not called by that name.",
    431: "The header is too large.",
    500: "The request failed inside Lockgate.",
}
GUARDED = {
    401: "No valid credential.",
    403: "The credential does not give this, or policy or the act itself refuses it.",
    404: "Nothing there, or nothing of the kind is configured here.",
    409: "It does not go with how things stand.",
    422: "The request, or what it names, is not what is wanted.",
    503: "The ledger or a store does not answer; nothing was done.",
}
WITH_BODY = {413: "The body is too large.", 415: "The body is of another kind."}
TRIALS = {408: "The body did not come in time.", 429: "Too many trials are under way."}


def openapi_document(app: FastAPI) -> dict[str, Any]:
    document = app.openapi()
    document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            responses.pop("422", None)  # FastAPI's own, which is no problem document
            for status, why in _refusals(path, operation).items():
                responses.setdefault(str(status), {"description": why, "content": PROBLEM})
    return document


def _refusals(path: str, operation: dict[str, Any]) -> dict[int, str]:
    public = operation[PERMISSION] == Permission.PUBLIC.value
    found = {**ANYWHERE, **({} if public else GUARDED)}
    if "requestBody" in operation:
        found |= WITH_BODY
    return {**found, **(TRIALS if path.startswith(("/v1/policy/", "/v1/proposals")) else {})}
