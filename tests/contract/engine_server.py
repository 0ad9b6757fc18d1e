"""An engine's HTTP API on loopback that takes nothing but what the engine's published OpenAPI document allows, and answers nothing else.

What it does with a request is the test's own; whether engines really do that, only those engines can tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from jsonschema import Draft202012Validator

FOLDER = Path(__file__).parent / "openapi"
Handle = Callable[["Asked"], tuple[int, Any]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came. `path` are the values in its path, `body` the JSON."""

    method: str
    template: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    queries: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass
class Runs:
    """What an engine has been asked to run, by id, and the state that each is in."""

    made: dict[str, dict[str, Any]] = field(default_factory=dict)
    state: str = ""
    token: str = "first"


@dataclass
class EngineServer:
    """`handlers` by method and path as the document writes them. `mistakes`: what came or went that the document does not have.
    `failing`: statuses that are answered first, None for a connection that is cut off."""

    document: dict[str, Any]
    handlers: Mapping[tuple[str, str], Handle]
    base: str = ""
    asked: list[Asked] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    failing: list[int | None] = field(default_factory=list)
    _runner: web.AppRunner | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.base}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        found = self._found(request.method, request.rel_url.raw_path.removeprefix(self.base))
        if found is None:
            self.mistakes.append(f"{request.method} {request.rel_url.raw_path} is not in the document")
            return web.json_response({"detail": "not found"}, status=404)
        template, path = found
        operation = self.document["paths"][template][request.method.lower()]
        body = await self._body(request, operation, template)
        queries = {name: request.query.getall(name) for name in request.query}
        asked = Asked(request.method, template, path, dict(request.query), dict(request.headers), body, queries)
        self._query(operation, asked)
        self.asked.append(asked)
        if self.failing:
            status = self.failing.pop(0)
            if status is None and request.transport is not None:
                request.transport.abort()
            return web.json_response({"detail": "no"}, status=status or 500, headers={"retry-after": "0"})
        status, answer = self.handlers[request.method, template](asked)
        self._answered(operation, asked, status, answer)
        return web.json_response(answer, status=status)

    async def _body(self, request: web.Request, operation: Mapping[str, Any], template: str) -> Any:
        content = await request.read()
        if not content:
            return None
        allowed = operation.get("requestBody", {}).get("content", {})
        if request.content_type not in allowed:
            self.mistakes.append(f"{template} got {request.content_type}")
            return content
        if request.content_type != "application/json":
            return content
        body = json.loads(content)
        self._check(body, allowed["application/json"]["schema"], template)
        return body

    def _query(self, operation: Mapping[str, Any], asked: Asked) -> None:
        known = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
        self.mistakes.extend(f"{asked.template} got ?{name}" for name in asked.query if name not in known)

    def _answered(self, operation: Mapping[str, Any], asked: Asked, status: int, answer: Any) -> None:
        """Answers are told in part, so what the document requires in one is not missed."""
        content = operation["responses"].get(str(status), {}).get("content", {})
        if status < 300 and "application/json" in content:
            self._check(answer, _partial(content["application/json"]["schema"]), f"the answer of {asked.template}", partial=True)

    def _check(self, value: Any, schema: Any, where: str, *, partial: bool = False) -> None:
        schemas = self.document["components"]["schemas"]
        whole = {**schema, "components": {"schemas": _partial(schemas) if partial else schemas}}
        self.mistakes.extend(f"{where}: {error.message}" for error in Draft202012Validator(whole).iter_errors(value))

    def _found(self, method: str, path: str) -> tuple[str, dict[str, str]] | None:
        for template, operations in self.document["paths"].items():
            pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template))
            match = re.fullmatch(pattern, path)
            if match is not None and method.lower() in operations:
                return template, match.groupdict()
        return None


def published(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def _partial(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _partial(value) for key, value in schema.items() if not (key == "required" and isinstance(value, list))}
    return [_partial(each) for each in schema] if isinstance(schema, list) else schema
