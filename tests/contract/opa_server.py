"""OPA's own engine (`opa-golib-python-bindings`) behind OPA's REST API, in a process of its own, as a sidecar is.

    python -m tests.contract.opa_server --port 0        prints where it listens

Faithful in what clients see: `result` is absent when undefined, `decision_id`, `provenance`, errors of 400, 404 and 500 in OPA's form, one
compilation of all modules at each change. `/test/bundles` stands for the activation of bundles, `/test/mode` makes it misbehave.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import ssl
import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import regorus
from aiohttp import web
from opa_bindings import OpaEngine, OpaError, OpaUndefinedError

from adapters.rego.syntax import read_module

LOCATED = re.compile(r"(?P<file>[^\s:]+):(?P<row>\d+): (?P<code>(?:eval|rego)_[a-z_]+): (?P<message>.*)", re.DOTALL)
EVALUATION = "error(s) occurred while evaluating query"
COMPILATION = "error(s) occurred while compiling module(s)"
HUGE = 2 << 20


class Store:
    """Policies and data; a change that does not compile is refused whole."""

    def __init__(self) -> None:
        self.policies: dict[str, str] = {}
        self.data: Any = {}
        self.bundles: dict[str, str] = {}
        self.engine = _compiled({}, {})

    def change(self, policies: dict[str, str], data: Any, bundles: dict[str, str] | None = None) -> None:
        """Raises OpaError."""
        self.engine = _compiled(policies, data)
        self.policies, self.data = policies, data
        if bundles is not None:
            self.bundles = bundles

    def listed(self) -> list[dict[str, Any]]:
        return [{"id": name, "raw": text, "ast": _tree(name, text)} for name, text in self.policies.items()]


def _compiled(policies: dict[str, str], data: Any) -> OpaEngine:
    engine = OpaEngine()
    engine.print_handler = lambda *_: None
    for name, text in policies.items():
        engine.add_policy(name, text)
    engine.add_data(data)
    engine.eval_query("true")
    return engine


def _tree(name: str, text: str) -> dict[str, Any]:
    """The parts of OPA's syntax tree that say where rules stand."""
    engine = regorus.Engine()
    engine.add_policy(name, text)
    module = read_module(orjson.loads(engine.get_ast_as_json())[0])
    rules = [{"head": {"name": rule.path[0], "ref": _terms(rule.path)}, "body": []} for rule in module.rules]
    return {"package": {"path": _terms(module.package)}, "rules": rules}


def _terms(path: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"type": "string" if place else "var", "value": part} for place, part in enumerate(path)]


def _error(status: int, code: str, message: str, errors: list[Any] | None = None) -> web.Response:
    body = {"code": code, "message": message} | ({"errors": errors} if errors is not None else {})
    return web.json_response(body, status=status)


def _located(error: OpaError) -> list[dict[str, Any]]:
    found = LOCATED.search(error.message)
    if found is None:
        return [{"code": error.code, "message": error.message}]
    place = {"file": found["file"], "row": int(found["row"]), "col": 1}
    return [{"code": found["code"], "message": found["message"], "location": place}]


class Server:
    def __init__(self, token: str | None) -> None:
        self.store = Store()
        self._token = token
        self._mode = ""
        self._times = 0
        self.asked: list[str] = []

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._middleware()], client_max_size=64 << 20)
        app.add_routes(
            [
                web.get("/health", self.health),
                web.get("/v1/policies", self.list_policies),
                web.get("/v1/policies/", self.list_policies),
                web.get("/v1/policies/{id:.+}", self.get_policy),
                web.put("/v1/policies/{id:.+}", self.put_policy),
                web.delete("/v1/policies/{id:.+}", self.delete_policy),
                web.get("/v1/data{path:.*}", self.data),
                web.post("/v1/data{path:.*}", self.data),
                web.put("/v1/data{path:.*}", self.put_data),
                web.delete("/v1/data{path:.*}", self.delete_data),
                web.post("/test/bundles", self.activate),
                web.post("/test/mode", self.misbehave),
                web.get("/test/asked", self.was_asked),
            ]
        )
        return app

    def _middleware(self) -> Any:
        @web.middleware
        async def around(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
            if request.path.startswith("/test/"):
                return await handler(request)
            self.asked.append(request.path_qs)
            if self._token is not None and request.headers.get("authorization") != f"Bearer {self._token}":
                return _error(401, "unauthorized", "request rejected by administrative policy")
            if self._mode and request.method == "POST" and self._times != 0:
                self._times -= 1
                return await self._misbehaving(request)
            return await handler(request)

        return around

    async def _misbehaving(self, request: web.Request) -> web.StreamResponse:
        if self._mode.isdigit():
            return _error(int(self._mode), "internal_error", "said so by a test")
        if self._mode == "hang":
            await asyncio.sleep(3600)
        if self._mode == "cut":
            response = web.StreamResponse(headers={"content-length": "100"})
            await response.prepare(request)
            await response.write(b'{"result": {"effect": "al')
            assert request.transport is not None
            request.transport.abort()
            return response
        if self._mode == "huge":
            return web.Response(body=b'{"result": {"effect": "allow"}, "x": "' + b" " * HUGE + b'"}', content_type="application/json")
        return web.Response(body=b'{"result": {"effect": "allow"', content_type="application/json")

    async def health(self, request: web.Request) -> web.Response:
        if self._mode == "unhealthy" and "plugins" in request.query:
            return web.json_response({"error": "one or more plugins are not up"}, status=500)
        return web.json_response({})

    async def list_policies(self, _: web.Request) -> web.Response:
        return web.json_response({"result": self.store.listed()})

    async def get_policy(self, request: web.Request) -> web.Response:
        found = [each for each in self.store.listed() if each["id"] == request.match_info["id"]]
        return web.json_response({"result": found[0]}) if found else _error(404, "resource_not_found", "policy id is not found")

    async def put_policy(self, request: web.Request) -> web.Response:
        text = await request.text()
        return self._owned("lockgate") or self._changed({**self.store.policies, request.match_info["id"]: text}, self.store.data)

    async def delete_policy(self, request: web.Request) -> web.Response:
        left = {name: text for name, text in self.store.policies.items() if name != request.match_info["id"]}
        if len(left) == len(self.store.policies):
            return _error(404, "resource_not_found", "policy id is not found")
        return self._changed(left, self.store.data)

    def _owned(self, path: str) -> web.Response | None:
        """OPA lets nobody change what a bundle brought; here a bundle owns everything."""
        for name in self.store.bundles:
            return _error(400, "invalid_parameter", f'path {path} is owned by bundle "{name}"')
        return None

    def _changed(self, policies: dict[str, str], data: Any) -> web.Response:
        try:
            self.store.change(policies, data)
        except OpaError as error:
            return _error(400, "invalid_parameter", COMPILATION, _located(error))
        return web.json_response({})

    async def data(self, request: web.Request) -> web.Response:
        document = None
        if request.method == "POST" and (body := await request.read()):
            try:
                document = orjson.loads(body)["input"]
            except (ValueError, LookupError, TypeError):
                return _error(400, "invalid_parameter", "body contains malformed input document")
        answer: dict[str, Any] = {"decision_id": str(uuid.uuid4())}
        if request.query.get("provenance") == "true":
            answer["provenance"] = {"version": "1.20.2", "build_commit": "", "build_timestamp": "", "build_hostname": ""}
            if self.store.bundles:
                answer["provenance"]["bundles"] = {name: {"revision": revision} for name, revision in self.store.bundles.items()}
        try:
            answer["result"] = self.store.engine.eval_document(".".join(_parts(request)), document)
        except OpaUndefinedError:
            pass
        except OpaError as error:
            return _error(500, "internal_error", EVALUATION, _located(error))
        return web.Response(body=orjson.dumps(answer), content_type="application/json")

    async def put_data(self, request: web.Request) -> web.Response:
        value, parts = orjson.loads(await request.read()), _parts(request)
        if (owned := self._owned("/".join(parts))) is not None:
            return owned
        data = json.loads(json.dumps(self.store.data))
        self.store.change(self.store.policies, _put(data, parts, value))
        return web.Response(status=204)

    async def delete_data(self, request: web.Request) -> web.Response:
        parts = _parts(request)
        data = json.loads(json.dumps(self.store.data))
        inner = data
        for part in parts[:-1]:
            inner = inner.get(part, {})
        if not parts or parts[-1] not in inner:
            return _error(404, "resource_not_found", "storage_not_found_error")
        del inner[parts[-1]]
        self.store.change(self.store.policies, data)
        return web.Response(status=204)

    async def activate(self, request: web.Request) -> web.Response:
        wanted = orjson.loads(await request.read())
        self.store.change(wanted["policies"], wanted["data"], wanted["bundles"])
        return web.json_response({})

    async def misbehave(self, request: web.Request) -> web.Response:
        """`times` answers are given so; -1 is all."""
        wanted = orjson.loads(await request.read())
        self._mode, self._times = wanted["mode"], wanted.get("times", -1)
        return web.json_response({})

    async def was_asked(self, _: web.Request) -> web.Response:
        asked, self.asked = self.asked, []
        return web.json_response(asked)


def _parts(request: web.Request) -> list[str]:
    return [part for part in request.match_info["path"].split("/") if part]


def _put(data: Any, parts: list[str], value: Any) -> Any:
    if not parts:
        return value
    inner = data
    for part in parts[:-1]:
        inner = inner.setdefault(part, {})
    inner[parts[-1]] = value
    return data


async def main(options: argparse.Namespace) -> None:
    runner = web.AppRunner(Server(options.token).app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    if options.unix:
        await web.UnixSite(runner, options.unix).start()
        where = f"unix://{options.unix}"
    else:
        tls = None
        if options.certificate:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=options.ca)
            tls.load_cert_chain(options.certificate, options.key)
            tls.verify_mode = ssl.CERT_REQUIRED if options.ca else ssl.CERT_NONE
        await web.TCPSite(runner, "127.0.0.1", options.port, ssl_context=tls).start()
        where = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    print(where, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until whoever started it is gone
    await runner.cleanup()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    for name in ("unix", "token", "certificate", "key", "ca"):
        parser.add_argument(f"--{name}")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(options()))
