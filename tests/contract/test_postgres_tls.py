"""TLS towards PostgreSQL: which server is believed, and by what it knows Lockgate. The servers that tests start may be built without TLS:
it is in front of one, and libpq begins with it at once (`sslnegotiation=direct`)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography import x509

from adapters.postgres.connection import Server, connect
from router.errors import AuditError
from tests.contract.tls_front import tls_front
from tests.e2e.authority import Authority
from tests.postgres_server import PostgresServer

HOST = "db.example"
GOODBYE = 5  # bytes of libpq's last message, the only one


async def test_a_server_shows_a_certificate_and_wants_ours(postgres: PostgresServer, tmp_path: Path) -> None:
    """By the URL's own parameters; a stranger's authority, another name, and no certificate of ours are refused before anything is said."""
    callers = Authority(tmp_path, "callers")
    certificate, key = callers.issue("node")
    key.chmod(0o600)
    ours = f"sslcert={certificate}&sslkey={key}"
    async with tls_front(tmp_path, postgres.port, x509.DNSName(HOST), wanted=callers.ca, alpn="postgresql") as front:

        def ask(ca: Path, more: str, host: str = HOST, mode: str = "verify-full") -> int:
            where = f"postgresql://postgres@{host}:{front.port}/postgres?hostaddr=127.0.0.1&sslnegotiation=direct&sslmode={mode}"
            connection = connect(Server(f"{where}&sslrootcert={ca}&{more}", "ledger"), read_only=True)
            try:
                return int(connection.rows("SELECT 1")[0][0])
            finally:
                connection.close()

        own = tmp_path / "front.ca.pem"
        assert await asyncio.to_thread(ask, own, ours) == 1
        assert await asyncio.to_thread(ask, own, ours, "elsewhere.example", "verify-ca") == 1
        assert set(front.came) == {"node"}
        before = front.bytes_in
        none = "sslcert=/nowhere&sslkey=/nowhere"
        for wrong in ((callers.ca, ours), (own, none), (own, ours, "elsewhere.example")):
            with pytest.raises(AuditError):
                await asyncio.to_thread(ask, *wrong)
        assert front.bytes_in - before in (0, GOODBYE), "the name is looked at when the handshake is through, and nothing is said then"
