"""How a `temporal` destination proves who it is, over TLS in front of Temporal's own server, and to a server that looks at keys."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.needs import needs

needs("temporalio", "pip install 'lockgate[temporal]'")
needs("grpc", "pip install 'lockgate[envoy]'")

import grpc
from temporalio.api.workflowservice.v1 import DescribeNamespaceResponse

from adapters.messaging.destination import MessageDestination
from adapters.temporal_destination import Config, build
from router.errors import ConfigError, DestinationError
from router.system import SystemClock, SystemRandom
from tests.contract.message_promises import asked
from tests.e2e.authority import Authority
from tests.temporal_server import TemporalServer, temporal_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    with temporal_server(tmp_path_factory.mktemp("temporal")) as made:
        yield made


@contextlib.asynccontextmanager
async def opened(address: str, **settings: Any) -> AsyncIterator[MessageDestination]:
    common = {"address": address, "workflow": "Sleeps", "task_queue": "nobody", "timeout": "5s", "retries": {"attempts": 1}}
    made = build(Config.model_validate({**common, **settings}), name="flow", clock=SystemClock(), random=SystemRandom())
    try:
        await made.open()
        yield made
    finally:
        await made.close()


@contextlib.asynccontextmanager
async def behind_tls(server: TemporalServer, authority: Authority) -> AsyncIterator[str]:
    """The server with TLS before it that wants a certificate. Gives the address."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca))
    context.load_cert_chain(*authority.issue("server"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    tasks, ends = set[asyncio.Task[None]](), list[asyncio.StreamWriter]()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = server.address.rpartition(":")
        near, far = await asyncio.open_connection(host, int(port))
        ends.extend((writer, far))
        for each in (copy(reader, far), copy(near, writer)):
            tasks.add(asyncio.create_task(each))

    listener = await asyncio.start_server(through, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            with contextlib.suppress(AttributeError):  # asyncio's own, of one over TLS that is closed already
                end.transport.abort()
        await asyncio.sleep(0.1)  # until the transports have noticed


async def test_it_shows_its_certificate_and_looks_at_the_servers(server: TemporalServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("lockgate")
    own = {"certificate": str(certificate), "key": str(key), "server_name": "localhost"}
    async with behind_tls(server, authority) as address:
        async with opened(address, tls={"ca": str(authority.ca), **own}) as made:
            await made.ping()
            assert (await made.send(asked(b"{}"))).status == 202
        for tls in ({"ca": str(authority.ca), "server_name": "localhost"}, own, {"ca": str(authority.ca), **own, "server_name": "other"}):
            async with opened(address, tls=tls) as made:
                with pytest.raises(DestinationError) as refused:
                    await made.send(asked(b"{}"))
                assert refused.value.code in ("connect_failed", "upstream_unavailable")


async def test_a_file_that_is_missing_is_said_when_it_opens(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"The destination flow needs .*none\.pem, which cannot be read"):
        async with opened("127.0.0.1:1", tls={"ca": str(tmp_path / "none.pem")}):
            pass


@pytest.mark.parametrize("key", ["c2hvcnQ=", "no base64!"])
async def test_a_key_that_is_none_is_said_when_it_opens(key: str) -> None:
    with pytest.raises(ConfigError, match="must be 32 bytes in base64"):
        async with opened("127.0.0.1:1", encryption={"key": key}):
            pass


class Keyed(grpc.GenericRpcHandler):
    """Answers who has the key."""

    def __init__(self) -> None:
        self.key = "first"

    def service(self, details: Any) -> Any:
        given = dict(details.invocation_metadata).get("authorization")

        async def answer(_: bytes, context: Any) -> bytes:
            if given != f"Bearer {self.key}":
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"no {given}")
            return b"" if "DescribeNamespace" not in details.method else DescribeNamespaceResponse().SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)


async def test_a_key_that_was_exchanged_is_read_anew_once(tmp_path: Path) -> None:
    authority, keyed, file = Authority(tmp_path), Keyed(), tmp_path / "key"
    file.write_text("first\n")
    certificate, key = authority.issue("server")
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([keyed])
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        tls = {"ca": str(authority.ca), "server_name": "localhost"}
        async with opened(f"127.0.0.1:{port}", tls=tls, api_key={"file": str(file)}) as made:
            await made.ping()
            keyed.key = "second"
            with pytest.raises(DestinationError) as refused:
                await made.ping()
            assert (refused.value.code, refused.value.sent) == ("upstream_denied", False)
            assert "first" not in str(refused.value)
            file.write_text("second\n")
            await made.ping()
    finally:
        await server.stop(None)
