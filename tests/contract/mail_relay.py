"""A mail relay that speaks SMTP as others do: aiosmtpd, with TLS and logins."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any

from tests.needs import needs

needs("aiosmtpd", "pip install aiosmtpd")

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


@dataclass
class Relay:
    """`mails` that it took, each with those whom it is for. `refusing`: what it answers to every recipient instead, `550 no`."""

    mails: list[tuple[list[str], Message]] = field(default_factory=list)
    refusing: str = ""
    encrypted: list[bool] = field(default_factory=list)
    port: int = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # aiosmtpd's
        if self.refusing:
            return self.refusing
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # the same
        self.encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        self.mails.append((list(envelope.rcpt_tos), message_from_bytes(envelope.content, policy=default)))
        return "250 taken"


def _known(_: Any, __: Any, ___: Any, mechanism: str, login: Any) -> AuthResult:
    right = isinstance(login, LoginPassword) and (login.login, login.password) == (b"lockgate", b"let me in")
    return AuthResult(success=right, handled=False)


@asynccontextmanager
async def relaying(pair: tuple[Path, Path] | None, *, implicit: bool = False, login: bool = False) -> AsyncIterator[Relay]:
    """`pair`: certificate and key; without it nothing is encrypted."""
    relay, context = Relay(), None
    if pair is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*pair)
    settings: dict[str, Any] = {"hostname": "relay.test"}
    if context is not None and not implicit:
        settings |= {"tls_context": context, "require_starttls": True}
    if login:
        settings |= {"authenticator": _known, "auth_required": True, "auth_require_tls": not implicit}
    loop = asyncio.get_running_loop()

    def speaking() -> SMTP:
        with warnings.catch_warnings(action="ignore"):  # it does not see TLS that was there before it
            return SMTP(relay, loop=loop, **settings)

    server = await loop.create_server(speaking, "127.0.0.1", 0, ssl=context if implicit else None)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
