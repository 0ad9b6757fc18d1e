"""Answers for callers of HTTP/1.0, who know no chunks (RFC 9112 §6.1): one without a length ends with its connection. uvicorn sends chunks
to everybody."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

BEFORE_CHUNKS = frozenset(("0.9", "1.0"))
AT_ONCE = struct.pack("ii", 1, 0)


def unframed(cycle: RequestResponseCycle, app: Any) -> Any:
    """`app` for that cycle alone."""

    async def serving(scope: Any, receive: Any, send: Any) -> None:
        endless = False

        async def sending(message: Any) -> None:
            nonlocal endless
            if message["type"] == "http.response.start":
                endless = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
                if endless:
                    cycle.chunked_encoding, cycle.keep_alive = False, False
            elif endless:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        try:
            await app(scope, receive, sending)
        finally:
            if endless and not (cycle.response_complete or cycle.disconnected):
                _break_off(cycle.transport)

    return serving


def _break_off(transport: asyncio.Transport) -> None:
    """With a reset: an end in due form would say that this was all of the answer."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    transport.abort()
