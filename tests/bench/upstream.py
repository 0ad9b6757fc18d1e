"""A service that answers everything with 200 bytes of JSON, as cheaply as Python can: it must never be what limits a measurement."""

from __future__ import annotations

import asyncio
import sys

import uvloop

BODY = b'{"answer":"' + b"x" * 187 + b'"}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY


class Answering(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._in = b""

    def data_received(self, data: bytes) -> None:
        self._in += data
        while (end := self._in.find(b"\r\n\r\n")) >= 0:
            size = end + 4 + _length(self._in[:end].lower())
            if len(self._in) < size:
                return
            self._in = self._in[size:]
            self._transport.write(ANSWER)  # type: ignore[attr-defined]


def _length(head: bytes) -> int:
    at = head.find(b"\r\ncontent-length:")
    return int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
