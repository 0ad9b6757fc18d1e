"""Rego tests on an OPA server that holds nothing else: policies, tests and data are put there, each test is asked for, and all is taken
away again. Tests name the packages that they are about, so nothing can be put elsewhere on the server, beside what decides there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from adapters.opa.connection import BrokenError, Connection, NotReachedError
from router.bundle.tested import FAILED, PASSED, SKIPPED, Tested
from router.config.opa import OpaEngine
from router.errors import PolicyError

MOST_BYTES = 4 << 20
ANSWER_S = 30.0
MOST_CHARS = 300  # of a sentence that the server says
UNAVAILABLE = "policy_unavailable"


async def run_on_server(
    settings: OpaEngine, root: Path, texts: Mapping[str, str], data: Mapping[str, Any], tests: Iterable[tuple[str, bool]]
) -> Tested:
    """`tests` are names with their packages, and whether each is to be run. Raises PolicyError; ConfigError for a token or TLS files that
    cannot be used."""
    token = settings.token.reveal(root) if settings.token is not None else None
    connection = Connection(settings, root, lambda: token)
    server = _Server(connection)
    try:
        version = await server.empty()
        try:
            await server.fill(texts, data)
            outcomes, why = {}, {}
            for name, runs in tests:
                outcomes[name], why[name] = await server.outcome(name) if runs else (SKIPPED, "")
        finally:
            await server.clear(texts, data)
    finally:
        await connection.close()
    return Tested(version, "server", outcomes, why)


class _Server:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._name = connection.server

    async def empty(self) -> str:
        """OPA's version. Raises PolicyError where the server holds anything."""
        held = await self._json("GET", "/v1/policies")
        found = await self._json("GET", "/v1/data?provenance=true")
        if held.get("result") or found.get("result"):
            raise PolicyError(
                f"{self._name} holds policies or data already; tests need one of their own, such as `opa run --server`.", "policy_refused"
            )
        version = (found.get("provenance") or {}).get("version")
        if not isinstance(version, str) or not version:
            raise PolicyError(f"{self._name} does not say which version it is.", UNAVAILABLE)
        return version

    async def fill(self, texts: Mapping[str, str], data: Mapping[str, Any]) -> None:
        for key, value in data.items():
            status, body = await self._ask("PUT", f"/v1/data/{quote(key, safe='')}", orjson.dumps(value))
            self._check(status, body)
        await self._each(texts, lambda name: self._ask("PUT", _policy(name), texts[name].encode()))

    async def clear(self, texts: Mapping[str, str], data: Mapping[str, Any]) -> None:
        """Whatever of these is there."""
        await self._each(texts, lambda name: self._delete(_policy(name)))
        for key in data:
            self._check(*await self._delete(f"/v1/data/{quote(key, safe='')}"))

    async def _delete(self, path: str) -> tuple[int, bytes]:
        status, body = await self._ask("DELETE", path)
        return (200, b"") if status == 404 else (status, body)

    async def outcome(self, name: str) -> tuple[str, str]:
        path = "/".join(quote(part, safe="") for part in name.split("."))
        status, body = await self._ask("GET", f"/v1/data/{path}?strict-builtin-errors=true")
        if status == 500:
            return FAILED, f"it stopped with an error ({_said(body)})"
        self._check(status, body)
        answer = _object(body)
        if "result" not in answer:
            return FAILED, "it is undefined"
        return (PASSED, "") if answer["result"] is True else (FAILED, f"it is {json.dumps(answer['result'])[:80]}, not true")

    async def _each(self, names: Iterable[str], change: Callable[[str], Awaitable[tuple[int, bytes]]]) -> None:
        """Again, as long as one more is taken: the server compiles everything at each change, and what one needs may come with another."""
        waiting = list(names)
        while waiting:
            refused = [(name, answer) for name in waiting if (answer := await change(name))[0] >= 400]
            if len(refused) == len(waiting):
                self._check(*refused[0][1])
            waiting = [name for name, _ in refused]

    def _check(self, status: int, body: bytes) -> None:
        if status in (401, 403):
            raise PolicyError(f"{self._name} does not let the tests be run there (it answered {status}).", "policy_unauthorized")
        if status >= 400:
            raise PolicyError(f"{self._name} answered {status}: {_said(body)}.", "policy_refused")

    async def _json(self, method: str, path: str) -> dict[str, Any]:
        status, body = await self._ask(method, path)
        self._check(status, body)
        return _object(body)

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._connection.ask(method, path, body, MOST_BYTES)
        except TimeoutError:
            raise PolicyError(f"{self._name} did not answer within {ANSWER_S:g} s.", UNAVAILABLE) from None
        except (NotReachedError, BrokenError) as error:
            raise PolicyError(f"{self._name} did not answer: {error}.", UNAVAILABLE) from None


def _policy(name: str) -> str:
    return f"/v1/policies/{quote(name)}"


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise PolicyError("The OPA server answered with something that OPA does not.", UNAVAILABLE)
    return found


def _said(body: bytes) -> str:
    """The first of what it found, for a terminal."""
    try:
        found = orjson.loads(body)
        first = (found.get("errors") or [found])[0]
        place = first.get("location") or {}
        text = f"{place['file']}:{place['row']}: {first['message']}" if place.get("file") else str(first.get("message", ""))
    except (ValueError, LookupError, AttributeError, TypeError):
        text = ""
    return "".join(each if each.isprintable() else " " for each in text[:MOST_CHARS]).rstrip(". ") or "no reason was given"
