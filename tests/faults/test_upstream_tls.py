"""TLS towards upstreams: whom we believe, and who we are."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from adapters.http_destination import Config, HttpDestination, build
from router.errors import ConfigError, DestinationError
from router.ports import Outbound
from router.system import SystemClock, SystemRandom

GET = Outbound("GET", "/", [], idempotent=True)


class Authority:
    """Writes PEM files into a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
        self.ca = self._written("ca", self._certificate(self._name, self._key, None))

    def issue(self, label: str, *names: x509.GeneralName) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, label)])
        plain = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self._directory / f"{label}.key").write_bytes(plain)
        return self._written(label, self._certificate(subject, key, names)), str(self._directory / f"{label}.key")

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, names: tuple[x509.GeneralName, ...] | None
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        builder = builder.add_extension(x509.BasicConstraints(names is None, None), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        if names is None:
            usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        elif names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _written(self, label: str, certificate: x509.Certificate) -> str:
        path = self._directory / f"{label}.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return str(path)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(params=["pyreqwest", "aiohttp"])
async def secure(request: pytest.FixtureRequest, authority: Authority) -> AsyncIterator[Any]:
    """A server with its own certificate, and the destination that talks to it."""
    opened: list[Any] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
            await writer.drain()
        writer.close()

    async def made(name: x509.GeneralName, *, require: bool = False, **tls: str) -> HttpDestination:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("server", name))
        if require:
            context.load_verify_locations(authority.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        config = Config.model_validate({"upstreams": [{"url": url}], "client": request.param, "tls": tls, "retries": {"attempts": 1}})
        destination = build(config, name="secure", clock=SystemClock(), random=SystemRandom())
        opened.append((destination, server))
        await destination.open()
        return destination

    yield made
    for destination, server in opened:
        await destination.close()
        server.close()


LOOPBACK = x509.IPAddress(ip_address("127.0.0.1"))


async def status(destination: HttpDestination) -> int:
    reply = await destination.send(GET)
    await reply.close()
    return reply.status


async def refusal(destination: HttpDestination) -> DestinationError:
    with pytest.raises(DestinationError) as caught:
        await status(destination)
    return caught.value


async def test_unknown_authority_is_refused(secure: Any) -> None:
    """Without the authority's file nothing is sent."""
    error = await refusal(await secure(LOOPBACK))
    assert (error.code, error.status, error.sent) == ("tls_failed", 502, False)


async def test_given_authority_is_believed(secure: Any, authority: Authority) -> None:
    """A private authority is one setting."""
    assert await status(await secure(LOOPBACK, ca=authority.ca)) == 200


async def test_another_name_is_refused(secure: Any, authority: Authority) -> None:
    """A certificate for somebody else is no good."""
    error = await refusal(await secure(x509.DNSName("other.example"), ca=authority.ca))
    assert error.code == "tls_failed"


async def test_server_name_is_what_must_match(secure: Any, authority: Authority) -> None:
    """The upstream is reached by address and known by name."""
    assert await status(await secure(x509.DNSName("payments.example"), ca=authority.ca, server_name="payments.example")) == 200


async def test_client_certificate_is_shown(secure: Any, authority: Authority) -> None:
    """Where the upstream asks who we are, certificate and key answer."""
    certificate, key = authority.issue("gateway")
    assert await status(await secure(LOOPBACK, require=True, ca=authority.ca, certificate=certificate, key=key)) == 200


async def test_missing_client_certificate_is_an_upstream_failure(secure: Any, authority: Authority) -> None:
    """Without it the upstream breaks the connection; TLS 1.3 tells us so only after the handshake."""
    error = await refusal(await secure(LOOPBACK, require=True, ca=authority.ca))
    assert error.code in ("tls_failed", "upstream_reset")


async def test_unreadable_files_are_a_sentence_at_open(secure: Any, tmp_path: Path) -> None:
    """A wrong path is found when the destination opens, not at the first request."""
    with pytest.raises(ConfigError, match=r"cannot be used"):
        await secure(LOOPBACK, ca=str(tmp_path / "missing.pem"))


async def test_files_without_certificates_are_a_sentence_at_open(secure: Any, tmp_path: Path) -> None:
    """So is a file that is no PEM."""
    (tmp_path / "empty.pem").write_text("nothing here")
    with pytest.raises(ConfigError):
        await secure(LOOPBACK, ca=str(tmp_path / "empty.pem"))
