"""Answers for callers of HTTP/1.0, who know no chunks (RFC 9112 §6.1): one without a length ends with its connection. uvicorn sends chunks
to everybody."""

from __future__ import annotations

from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from router.doors.unread import Ending

BEFORE_CHUNKS = frozenset(("0.9", "1.0"))


def unframed(cycle: RequestResponseCycle, app: Any) -> Any:
    """`app` for that cycle alone, on a transport that is an Ending. Whatever ends the connection before the answer is whole, resets it."""
    transport = cast(Ending, cycle.transport)
    cycle.waiting_for_100_continue = False  # such a caller takes it for the answer (RFC 9110 §10.1.1)

    async def serving(scope: Any, receive: Any, send: Any) -> None:
        endless = False

        async def sending(message: Any) -> None:
            nonlocal endless
            if message["type"] == "http.response.start":
                endless = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
                if endless:
                    cycle.chunked_encoding, cycle.keep_alive = False, False
                    transport.unfinished = True
            elif endless:
                cycle.expected_content_length = len(message.get("body", b""))
                if not message.get("more_body", False):
                    await cycle.flow.drain()  # so that `send` writes all of it, and closes, without waiting
                    transport.unfinished = False
            await send(message)

        try:
            await app(scope, receive, sending)
        finally:
            if endless and not (cycle.response_complete or cycle.disconnected):
                transport.unfinished = True
                transport.close()

    return serving
