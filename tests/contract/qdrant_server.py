"""Qdrant's REST interface on loopback, as far as the index speaks it, well or badly. The engine behind it is the local mode of Qdrant's own
client library, since no package carries a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel
from qdrant_client import AsyncQdrantClient, models

from tests.contract.llm_server import LlmServer

Answer = Callable[[AsyncQdrantClient, str, bytes], Awaitable[Any]]


async def look(engine: AsyncQdrantClient, name: str, body: bytes) -> Any:
    return await engine.get_collection(name)


async def create(engine: AsyncQdrantClient, name: str, body: bytes) -> Any:
    asked = models.CreateCollection.model_validate_json(body)
    return await engine.create_collection(name, vectors_config=asked.vectors, metadata=asked.metadata)


async def change(engine: AsyncQdrantClient, name: str, body: bytes) -> Any:
    return await engine.update_collection(name, metadata=models.UpdateCollection.model_validate_json(body).metadata)


async def index_field(engine: AsyncQdrantClient, name: str, body: bytes) -> Any:
    """The engine has no such indexes, and finds the same without."""
    models.CreateFieldIndex.model_validate_json(body)
    return models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)


async def upsert(engine: AsyncQdrantClient, name: str, body: bytes) -> Any:
    return await engine.upsert(name, models.PointsBatch.model_validate_json(body).batch)


async def count(engine: AsyncQdrantClient, name: str, body: bytes) -> Any:
    return await engine.count(name, exact=bool(models.CountRequest.model_validate_json(body).exact))


async def query(engine: AsyncQdrantClient, name: str, body: bytes) -> Any:
    asked = models.QueryRequest.model_validate_json(body)
    return await engine.query_points(
        name, asked.query, query_filter=asked.filter, limit=asked.limit or 10, with_payload=bool(asked.with_payload)
    )


ANSWERS: dict[tuple[str, str], Answer] = {
    ("GET", ""): look,
    ("PUT", ""): create,
    ("PATCH", ""): change,
    ("PUT", "/index"): index_field,
    ("PUT", "/points"): upsert,
    ("POST", "/points/count"): count,
    ("POST", "/points/query"): query,
}


def plain(result: Any) -> Any:
    return result.model_dump(mode="json", exclude_none=True) if isinstance(result, BaseModel) else result


@dataclass
class QdrantServer(LlmServer):
    """`calls`: what was asked, as method and the part of the path behind the collection, with the body. `clients`: the connections.

    `behind` is the path before its own. `refuse` says with which status a call is to be refused, `spoil` makes something else of a result.
    """

    engine: AsyncQdrantClient = field(default_factory=lambda: AsyncQdrantClient(":memory:"))
    calls: list[tuple[str, str, bytes]] = field(default_factory=list)
    clients: set[Any] = field(default_factory=set)
    behind: str = ""
    refuse: Callable[[str, str], int | None] = lambda method, rest: None
    spoil: Callable[[str, Any], Any] = lambda rest, result: result

    @property
    def root(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.clients.add(tuple(scope["client"]))
        self.sent_headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        name, _, rest = scope["path"].removeprefix(f"{self.behind}/collections/").partition("/")
        rest = f"/{rest}" if rest else ""
        self.calls.append((scope["method"], rest, body))
        await asyncio.sleep(self.delay_s)
        self.answered += 1
        status, answer = await self._answered(scope["method"], name, rest, body)
        headers = [(b"content-type", b"application/json"), *self.headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer if self.raw is None else self.raw, "more_body": self.endless})
        if self.endless:
            await self._go_on(receive, send)

    async def _answered(self, method: str, name: str, rest: str, body: bytes) -> tuple[int, bytes]:
        status = self.refuse(method, rest) or self.status
        if status != 200:
            return status, json.dumps({"status": {"error": f"refused, as was asked for: {body.decode()}"}, "time": 0.0}).encode()
        try:
            result = await ANSWERS[method, rest](self.engine, name, body)
        except ValueError as error:
            known = {"not found": 404, "already exists": 409}
            status = next((code for words, code in known.items() if words in str(error)), 400)
            return status, json.dumps({"status": {"error": str(error)}, "time": 0.0}).encode()
        return 200, json.dumps({"result": self.spoil(rest, plain(result)), "status": "ok", "time": 0.0}).encode()
