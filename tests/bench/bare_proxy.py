"""The peer: a raw ASGI proxy that passes method, path, header fields and bodies on, and does nothing else. Same server, same client."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

DROPPED = frozenset((b"host", b"connection", b"content-length", b"transfer-encoding", b"keep-alive"))
Forward = Callable[[str, str, list[tuple[bytes, bytes]], bytes], Awaitable[tuple[int, list[tuple[bytes, bytes]], bytes]]]


def with_pyreqwest(origin: str) -> Forward:
    from pyreqwest.client import ClientBuilder

    client = ClientBuilder().http1_only().no_proxy().build()

    async def forward(method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes) -> Any:
        builder = client.request(method, origin + target).headers([(name.decode(), value.decode()) for name, value in headers])
        response = await (builder.body_bytes(body) if body else builder).build().send()
        fields = [(name.encode(), value.encode()) for name, value in response.headers.items()]
        return response.status, fields, bytes(await response.bytes())

    return forward


def with_aiohttp(origin: str) -> Forward:
    import aiohttp

    session: aiohttp.ClientSession | None = None

    async def forward(method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes) -> Any:
        nonlocal session
        session = session or aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
        fields = [(name.decode(), value.decode()) for name, value in headers]
        async with session.request(method, origin + target, headers=fields, data=body or None, allow_redirects=False) as response:
            return response.status, [(name.lower(), value) for name, value in response.raw_headers], await response.read()

    return forward


async def read(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def application(forward: Forward) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        query = scope["query_string"]
        target = scope["raw_path"].decode() + (f"?{query.decode()}" if query else "")
        headers = [field for field in scope["headers"] if field[0] not in DROPPED]
        status, fields, body = await forward(scope["method"], target, headers, await read(receive))
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    return app


def main(client: str, origin: str, port: str) -> None:
    forward = {"pyreqwest": with_pyreqwest, "aiohttp": with_aiohttp}[client](origin)
    uvicorn.run(
        application(forward),
        host="127.0.0.1",
        port=int(port),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
