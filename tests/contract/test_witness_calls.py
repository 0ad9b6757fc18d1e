"""What may come back from a witness's address, over real connections: each ends with a reply or a named reason, in bounded time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from adapters.witness_http import WitnessHttp
from examples.halden.demo.company import free_ports
from router.audit.witnesses.protocol import MOST_BYTES
from router.audit.witnesses.showing import Reply
from router.errors import AuditError, ConfigError
from tests.faults.witness_processes import make_certificate

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(answer: bytes | Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    writers: list[asyncio.StreamWriter] = []

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/add-checkpoint"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.05)  # aborted connections are closed by the loop


async def ask(url: str, timeout: float = 2.0, ca: Path | None = None) -> Reply | str:
    """The reply, or the reason's code."""
    calls = WitnessHttp(timeout, ca)
    try:
        return await calls.post(url, b"old 0\n\nx")
    except AuditError as error:
        return error.code
    finally:
        await calls.close()


def response(status: str, body: bytes, fields: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{fields}content-length: {len(body)}\r\n\r\n".encode() + body


async def test_a_reply_is_what_came() -> None:
    """Status, content type and bytes, not yet judged."""
    async with peer(response("409 Conflict", b"7\n", "content-type: text/x.tlog.size\r\n")) as url:
        assert await ask(url) == Reply(409, "text/x.tlog.size", b"7\n")


async def test_a_redirect_is_not_followed() -> None:
    """It comes back as it is."""
    async with peer(response("302 Found", b"", "location: http://127.0.0.1:1/\r\n")) as url:
        assert await ask(url) == Reply(302, "", b"")


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", b"HTTP/1.1 999999 \xff\r\n\r\n"]
)
async def test_what_is_no_response_is_named(answer: bytes) -> None:
    """Nothing, other protocols, and bodies that break off."""
    async with peer(answer) as url:
        assert await ask(url) == "witness_unreachable"


async def test_nobody_there_is_named() -> None:
    """A port that nobody listens on."""
    (port,) = free_ports(1)
    assert await ask(f"http://127.0.0.1:{port}/add-checkpoint") == "witness_unreachable"


async def test_the_sentence_says_why_in_few_words() -> None:
    """As the system has it, and not as a library does."""
    (port,) = free_ports(1)
    calls = WitnessHttp(2.0)
    with pytest.raises(AuditError, match=rf"^http://127\.0\.0\.1:{port}/add-checkpoint cannot be reached: connection refused\.$"):
        await calls.post(f"http://127.0.0.1:{port}/add-checkpoint", b"")
    await calls.close()


async def test_an_answer_without_end_is_cut() -> None:
    """After what a witness could need."""

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _kib in range(MOST_BYTES // 1024 + 8):
            writer.write(b"x" * 1024)

    async with peer(flood) as url:
        assert await ask(url) == "witness_answer_too_large"


async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x")
        await asyncio.sleep(0.05)


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize("handler", [trickle, silence])
async def test_who_is_slow_is_not_waited_for(handler: Handler) -> None:
    """Neither silence nor a byte now and then keeps anybody longer than the time-out."""
    async with peer(handler) as url:
        async with asyncio.timeout(60):
            assert await ask(url, 0.3) == "witness_late"


async def test_a_certificate_is_checked_against_the_named_authority(tmp_path: Path) -> None:
    """The system's authorities do not vouch for it, the named one does."""
    certificate = await asyncio.to_thread(make_certificate, tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, tmp_path / "key.pem")
    async with peer(response("200 OK", b"x"), tls) as url:
        assert await ask(url) == "witness_unreachable"
        assert isinstance(await ask(url, ca=certificate), Reply)


def test_an_authority_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    """Told at the start, and not once a witness is asked."""
    with pytest.raises(ConfigError, match=r"audit\.witnesses\.ca"):
        WitnessHttp(1.0, tmp_path / "missing.pem")
