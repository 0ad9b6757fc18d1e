"""A caller of HTTP/1.0 gets an answer that it can read, and hears when it is not whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.doors.test_http1 import PATIENCE_S, connected, listening

ASKED = b"GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n"


def answering(status: int, *fields: tuple[bytes, bytes], whole: bool = True) -> Callable[..., Any]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(fields)})
        for piece in (b"ab", b"", b"cde"):
            await send({"type": "http.response.body", "body": b"" if status in (204, 304) else piece, "more_body": True})
        if whole:
            await send({"type": "http.response.body", "body": b""})

    return app


async def said(app: Callable[..., Any], asked: bytes = ASKED) -> tuple[bytes, bytes]:
    """Header and what follows it, to the end of the connection."""
    async with listening(app) as port, connected(port) as (reader, writer):
        writer.write(asked)
        async with asyncio.timeout(PATIENCE_S):
            header, _, body = (await reader.read()).partition(b"\r\n\r\n")
    return header.lower(), body


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/0.9"])
async def test_an_answer_without_a_length_ends_with_its_connection(version: bytes) -> None:
    """And has no chunks."""
    header, body = await said(answering(200), ASKED.replace(b"HTTP/1.0", version))
    assert b"connection: close" in header
    assert b"transfer-encoding" not in header
    assert body == b"abcde"


async def test_a_length_is_told_as_to_anybody() -> None:
    """The connection ends all the same."""
    header, body = await said(answering(200, (b"content-length", b"5")))
    assert b"content-length: 5" in header
    assert body == b"abcde"


@pytest.mark.parametrize(("status", "method"), [(204, b"GET"), (304, b"GET"), (200, b"HEAD")])
async def test_what_has_no_body_has_none(status: int, method: bytes) -> None:
    """By status, or by method."""
    header, body = await said(answering(status), ASKED.replace(b"GET", method))
    assert header.startswith(b"http/1.1 %d " % status)
    assert body == b""


async def test_what_is_broken_off_is_not_taken_for_whole() -> None:
    """An end in due form would be that of the answer."""
    with pytest.raises(ConnectionResetError):
        await said(answering(200, whole=False))
