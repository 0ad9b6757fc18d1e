"""Requests of engines that no test of ours has met, as their published documents have them, and servers that act on them as these say."""

from __future__ import annotations

import re
import uuid
from typing import Any
from urllib.parse import parse_qsl

import orjson

from tests.contract.engine_server import Asked, EngineServer, Runs

TEXT, OBJECT = {"type": "string"}, {"type": "object"}


def strict(required: tuple[str, ...], **properties: Any) -> Any:
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def operation(body: Any = None, kind: str = "application/json", query: tuple[str, ...] = ()) -> Any:
    made: dict[str, Any] = {"parameters": [{"name": name, "in": "query"} for name in query], "responses": {}}
    return made if body is None else {**made, "requestBody": {"content": {kind: {"schema": body}}}}


def camunda() -> tuple[EngineServer, Runs]:
    """Orchestration Cluster REST API v2."""
    runs, found = Runs(state="ACTIVE"), dict[str, str]()
    instance = strict(("processDefinitionId",), processDefinitionId=TEXT, variables=OBJECT, tenantId=TEXT)
    published = strict(
        ("name",), name=TEXT, correlationKey=TEXT, timeToLive={"type": "integer"}, messageId=TEXT, variables=OBJECT, tenantId=TEXT
    )
    form = operation(OBJECT, "application/x-www-form-urlencoded")
    paths = {
        "/v2/process-instances": {"post": operation(instance)},
        "/v2/process-instances/{key}": {"get": operation()},
        "/v2/messages/publication": {"post": operation(published)},
        "/v2/topology": {"get": operation()},
        "/oauth/token": {"post": form},
    }

    def start(told: Asked) -> tuple[int, Any]:
        key = str(uuid.uuid4().int % 10**16)
        runs.made[told.body["variables"]["lockgate"]["decision_id"]] = told.body["variables"]
        found[key] = key
        return 200, {"processInstanceKey": key, "processDefinitionId": told.body["processDefinitionId"]}

    def publish(told: Asked) -> tuple[int, Any]:
        if told.body["messageId"] in runs.made:
            return 409, {"title": "ALREADY_EXISTS"}
        runs.made[told.body["messageId"]] = told.body["variables"]
        return 200, {"messageKey": "1"}

    def look(told: Asked) -> tuple[int, Any]:
        return (200, {"state": runs.state}) if told.path["key"] in found else (404, {"title": "NOT_FOUND"})

    def token(told: Asked) -> tuple[int, Any]:
        asked = dict(parse_qsl(told.body.decode()))
        right = asked == {"grant_type": "client_credentials", "client_id": "lockgate", "client_secret": "hush", "audience": "zeebe"}
        return (200, {"access_token": runs.token}) if right else (401, {"error": "invalid_client"})

    def guarded(answer: Any) -> Any:
        return lambda told: answer(told) if told.headers.get("Authorization") == f"Bearer {runs.token}" else (401, {})

    handlers = {
        ("POST", "/v2/process-instances"): guarded(start),
        ("GET", "/v2/process-instances/{key}"): guarded(look),
        ("POST", "/v2/messages/publication"): guarded(publish),
        ("GET", "/v2/topology"): guarded(lambda _: (200, {"brokers": []})),
        ("POST", "/oauth/token"): token,
    }
    return EngineServer({"paths": paths, "components": {"schemas": {}}}, handlers), runs


def argo() -> tuple[EngineServer, Runs]:
    """Argo server, `WorkflowSubmitRequest`."""
    runs, texts = Runs(state="Running"), {"type": "array", "items": TEXT}
    options = strict((), name=TEXT, parameters=texts, labels=TEXT, annotations=TEXT, serviceAccount=TEXT)
    submit = strict((), namespace=TEXT, resourceKind=TEXT, resourceName=TEXT, submitOptions=options)
    workflows = "/api/v1/workflows/{namespace}"
    paths = {
        f"{workflows}/submit": {"post": operation(submit)},
        workflows + "/{name}": {"get": operation(query=("fields",))},
        "/api/v1/workflow-templates/{namespace}/{name}": {"get": operation()},
    }

    def start(told: Asked) -> tuple[int, Any]:
        options = told.body["submitOptions"]
        if options["name"] in runs.made:
            return 409, {"code": 6, "message": "already exists"}
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", options["name"])
        runs.made[options["name"]] = {name: _read(value) for name, _, value in (each.partition("=") for each in options["parameters"])}
        return 200, {"metadata": {"name": options["name"]}}

    def look(told: Asked) -> tuple[int, Any]:
        return (200, {"status": {"phase": runs.state}}) if told.path["name"] in runs.made else (404, {"code": 5})

    handlers = {
        ("POST", f"{workflows}/submit"): start,
        ("GET", workflows + "/{name}"): look,
        ("GET", "/api/v1/workflow-templates/{namespace}/{name}"): lambda _: (200, {}),
    }
    return EngineServer({"paths": paths, "components": {"schemas": {}}}, handlers), runs


def kestra() -> tuple[EngineServer, Runs]:
    """`createExecution`: a form of inputs, labels in the query."""
    runs, ids, executions = Runs(state="RUNNING"), dict[str, str](), "/api/v1/{tenant}/executions"
    paths = {
        executions + "/{namespace}/{id}": {"post": operation(OBJECT, "multipart/form-data", query=("labels", "wait", "revision"))},
        executions + "/{executionId}": {"get": operation()},
        "/api/v1/{tenant}/flows/{namespace}/{id}": {"get": operation()},
    }

    def start(told: Asked) -> tuple[int, Any]:
        made = str(uuid.uuid4())
        labels = dict(each.split(":", 1) for each in told.queries["labels"])
        runs.made[labels["system.correlationId"]] = fields_of_form(told.body)
        ids[made] = labels["lockgate.decision"]
        return 200, {"id": made, "state": {"current": "CREATED"}}

    def look(told: Asked) -> tuple[int, Any]:
        return (200, {"state": {"current": runs.state}}) if told.path["executionId"] in ids else (404, {})

    handlers = {
        ("POST", executions + "/{namespace}/{id}"): start,
        ("GET", executions + "/{executionId}"): look,
        ("GET", "/api/v1/{tenant}/flows/{namespace}/{id}"): lambda _: (200, {}),
    }
    return EngineServer({"paths": paths, "components": {"schemas": {}}}, handlers), runs


def fields_of_form(content: bytes | None) -> dict[str, Any]:
    """Read by the standard library, as another would."""
    from email import message_from_bytes

    content = content or b""
    boundary = content.partition(b"\r\n")[0].removeprefix(b"--").removesuffix(b"--").decode()
    whole = message_from_bytes(f"content-type: multipart/form-data; boundary={boundary}\r\n\r\n".encode() + content)
    parts = whole.get_payload() if whole.is_multipart() else []
    return {part.get_param("name", header="content-disposition"): _read(part.get_payload(decode=True).decode()) for part in parts}


def _read(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
