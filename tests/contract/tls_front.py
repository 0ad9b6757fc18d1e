"""TLS before a server that has none: what it shows, whose certificates it wants, and who came."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from tests.e2e.authority import Authority


@dataclass
class Front:
    """`came` has the common name of each caller's certificate, none for who showed none; `bytes_in` is what got through the handshake."""

    port: int
    came: list[str | None] = field(default_factory=list)
    bytes_in: int = 0


@asynccontextmanager
async def tls_front(
    folder: Path, behind: int, *names: x509.GeneralName, wanted: Path | None = None, alpn: str = "http/1.1"
) -> AsyncIterator[Front]:
    """`names` of its certificate, which the authority `front` in `folder` vouches for. `wanted`: authorities of callers' certificates, of
    which one is required then."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, Authority(folder, "front").issue("front", *names)))
    context.set_alpn_protocols([alpn])
    if wanted is not None:
        context.load_verify_locations(wanted)
        context.verify_mode = ssl.CERT_REQUIRED

    async def come(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown = writer.get_extra_info("peercert") or {}
        told: dict[str, Any] = {name: value for part in shown.get("subject", ()) for name, value in part}
        made.came.append(told.get("commonName"))
        inner, outer = await asyncio.open_connection("127.0.0.1", behind)
        with suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
            await asyncio.gather(_through(reader, outer, made), _through(inner, writer, None))

    server = await asyncio.start_server(come, "127.0.0.1", 0, ssl=context)
    made = Front(server.sockets[0].getsockname()[1])
    try:
        yield made
    finally:
        server.close()


async def _through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: Front | None) -> None:
    try:
        while chunk := await reader.read(65536):
            if counted is not None:
                counted.bytes_in += len(chunk)
            writer.write(chunk)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()
