"""A service that does what it is told to, good or bad: `python -m tests.e2e.upstream PORT WEBSOCKET_PORT [LEDGER]`.

Raw asyncio, so that it can break the protocol. With LEDGER every arrival looks into that file, at once, for the decision that sent it.
The first path segment says how to behave, or a query that is `bytes` or `text`; `/_...` is for the test.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

RECENT = 2000
LONGEST_WAIT_S = 20.0


@dataclass(slots=True)
class Asked:
    method: str
    target: str
    headers: list[tuple[str, str]]
    recorded: bool | None
    reader: asyncio.StreamReader
    body_bytes: int = 0
    body_digest: str = ""
    complete: bool = False

    @property
    def fields(self) -> Mapping[str, str]:
        return dict(self.headers)

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "reader"}


@dataclass(slots=True)
class Service:
    ledger: Path | None
    arrivals: list[Asked] = field(default_factory=list)
    closes: list[int | None] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    gone: int = 0

    def recorded(self, decision_id: str) -> bool | None:
        """Whether the ledger holds the decision now; None without a ledger."""
        if self.ledger is None or not self.ledger.exists():
            return None
        with closing(sqlite3.connect(f"{self.ledger.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            rows = connection.execute("SELECT leaf FROM records ORDER BY idx DESC LIMIT ?", (RECENT,))
            return any(leaf["schema"] == "lockgate.decision.v1" and leaf["id"] == decision_id for leaf in map(_json, rows))

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self.answer(reader, writer):
                await writer.drain()
        writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """False ends the connection."""
        asked = await self.read_head(reader)
        behaviour = asked.target.partition("?")[0].strip("/").partition("/")[0]
        if behaviour.startswith("_"):
            return await self.tell(behaviour, writer)
        self.arrivals.append(asked)
        if behaviour == "deaf":
            return False
        await self.read_body(asked)
        if (said := asked.target.partition("?")[2]) in SAID:
            return say(SAID[said], writer)
        return await BEHAVIOURS.get(behaviour, echo)(self, asked, writer)

    async def read_head(self, reader: asyncio.StreamReader) -> Asked:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        decision = dict(pairs).get("x-lockgate-decision-id")
        return Asked(method, target, pairs, None if decision is None else self.recorded(decision), reader)

    async def read_body(self, asked: Asked) -> None:
        digest = hashlib.sha256()
        async for chunk in _body(asked.fields, asked.reader):
            asked.body_bytes += len(chunk)
            digest.update(chunk)
        asked.body_digest, asked.complete = digest.hexdigest(), True

    async def tell(self, what: str, writer: asyncio.StreamWriter) -> bool:
        if what == "_release":
            self.released.set()
        if what == "_forget":
            self.arrivals.clear()
            self.closes.clear()
            self.released.clear()
        seen = {"arrivals": [each.document() for each in self.arrivals], "closes": self.closes, "gone": self.gone}
        return _reply(writer, seen)

    async def chat(self, socket: ServerConnection) -> None:
        """Echoes; `close 4001` makes it close with that code; a greeting tells the handshake's fields."""
        request = socket.request
        await socket.send(json.dumps(dict(request.headers.raw_items()) if request is not None else {}))
        with suppress(ConnectionClosed):
            async for message in socket:
                if isinstance(message, str) and message.startswith("close "):
                    await socket.close(int(message.removeprefix("close ")), "asked to")
                    break
                await socket.send(message)
        self.closes.append(socket.close_code)


Behaviour = Callable[[Service, Asked, asyncio.StreamWriter], Awaitable[bool]]


async def echo(service: Service, asked: Asked, writer: asyncio.StreamWriter) -> bool:
    return _reply(writer, asked.document(), head_only=asked.method == "HEAD")


SAID = {"bytes": bytes(range(256)), "text": b"text"}


def say(body: bytes, writer: asyncio.StreamWriter) -> bool:
    """With two fields of one name that are not neighbours."""
    fields = b"link: </a>; rel=next\r\ncontent-type: application/octet-stream\r\nlink: </b>; rel=prev\r\ncontent-length: %d\r\n"
    writer.write(b"HTTP/1.1 200 OK\r\n%s\r\n%s" % (fields % len(body), body))
    return True


async def say_nothing(service: Service, asked: Asked, writer: asyncio.StreamWriter) -> bool:
    status, _, length = asked.target.rpartition("/")[2].partition("?")
    field = f"content-length: {length}\r\n" if length else ""
    writer.write(f'HTTP/1.1 {status} Nothing\r\netag: "x"\r\n{field}\r\n'.encode())
    return True


async def speak_for_others(service: Service, asked: Asked, writer: asyncio.StreamWriter) -> bool:
    own = ["x-lockgate-decision-id: forged", "X-Lockgate-Subject: root", "connection: x-secret-hop", "x-secret-hop: 1", "keep-alive: 1"]
    return _reply(writer, asked.document(), *own, "x-kept: yes")


async def hold(service: Service, asked: Asked, writer: asyncio.StreamWriter) -> bool:
    await asyncio.wait_for(service.released.wait(), LONGEST_WAIT_S)
    return _reply(writer, asked.document())


async def dawdle(service: Service, asked: Asked, writer: asyncio.StreamWriter) -> bool:
    await asyncio.sleep(float(asked.target.rpartition("/")[2]))
    return _reply(writer, asked.document())


async def events(service: Service, asked: Asked, writer: asyncio.StreamWriter) -> bool:
    """One event, then silence until the test says so or the caller leaves, then another."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: first\n\n")
    await writer.drain()
    deadline = time.monotonic() + LONGEST_WAIT_S
    while not service.released.is_set() and time.monotonic() < deadline:
        if asked.reader.at_eof():
            service.gone += 1
            return False
        await asyncio.sleep(0.01)
    writer.write(b"data: second\n\n")
    return False


async def download(service: Service, asked: Asked, writer: asyncio.StreamWriter) -> bool:
    wanted, piece = int(asked.target.rpartition("/")[2]), bytes(range(256)) * 256
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    while wanted > 0:
        part = piece[:wanted]
        writer.write(b"%x\r\n%s\r\n" % (len(part), part))
        await writer.drain()
        wanted -= len(part)
    writer.write(b"0\r\n\r\n")
    return True


async def vanish(service: Service, asked: Asked, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nonly this")
    await writer.drain()
    return False


async def babble(service: Service, asked: Asked, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"this is not HTTP\r\n\r\n")
    await writer.drain()
    return False


BEHAVIOURS: Mapping[str, Behaviour] = {
    "echo": echo,
    "forge": speak_for_others,
    "hold": hold,
    "later": hold,
    "once": hold,
    "dawdle": dawdle,
    "events": events,
    "download": download,
    "vanish": vanish,
    "babble": babble,
    "nothing": say_nothing,
}


async def _body(fields: Mapping[str, str], reader: asyncio.StreamReader) -> Any:
    if "chunked" in fields.get("transfer-encoding", ""):
        while size := int((await reader.readline()).split(b";")[0], 16):
            yield (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        return
    left = int(fields.get("content-length", "0"))
    while left > 0:
        chunk = await reader.read(min(left, 65536))
        if not chunk:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(chunk)
        yield chunk


def _reply(writer: asyncio.StreamWriter, document: Any, *fields: str, head_only: bool = False) -> bool:
    body = json.dumps(document).encode()
    head = "\r\n".join(("HTTP/1.1 200 OK", "content-type: application/json", *fields, f"content-length: {len(body)}", "", ""))
    writer.write(head.encode("latin-1") + (b"" if head_only else body))
    return True


def _json(row: tuple[bytes]) -> Any:
    return json.loads(row[0])


async def main(port: int, websocket_port: int, ledger: Path | None) -> None:
    service = Service(ledger)
    async with (
        await asyncio.start_server(service.connected, "127.0.0.1", port, limit=1 << 20) as plain,
        serve(service.chat, "127.0.0.1", websocket_port, subprotocols=None),
    ):
        await plain.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None))
