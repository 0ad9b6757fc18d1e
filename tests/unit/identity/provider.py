"""A loopback HTTP server that publishes a JWKS document as the test tells it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Provider:
    def __init__(self, document: bytes) -> None:
        self.document = document
        self.status = 200
        self.location = ""
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/jwks.json"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        await self.go.wait()
        location = f"location: {self.location}\r\n" if self.location else ""
        head = f"HTTP/1.1 {self.status} X\r\n{location}content-length: {len(self.document)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + self.document)
        try:
            await writer.drain()
        except ConnectionError:
            return  # the client had read enough
        finally:
            writer.close()
