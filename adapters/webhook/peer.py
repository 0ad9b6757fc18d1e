"""Sends one message to one endpoint, and says what became of it."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from aiohttp.abc import AbstractResolver
from yarl import URL

from adapters.http_upstream.config import Tls
from adapters.http_upstream.tls import context
from adapters.messaging.destination import Receipt, failure, receipt
from adapters.messaging.document import DECISION_ID
from adapters.messaging.message import Message
from adapters.messaging.posting import Answered, Poster
from adapters.messaging.scoped import scoped
from adapters.messaging.statuses import refused_by
from adapters.webhook.config import Config
from adapters.webhook.endpoint import Endpoint
from adapters.webhook.event import enveloped
from adapters.webhook.gone import Gone
from adapters.webhook.guard import AddressRefusedError, CheckedResolver, Guard
from adapters.webhook.guarded import guarded_poster
from adapters.webhook.signing import Signing
from router.errors import ConfigError
from router.ports import Clock, Marks, Tallies

GONE = 410


class WebhookPeer:
    repeatable = True
    """The specification has receivers act once on a `webhook-id`."""

    def __init__(self, settings: Config, clock: Clock, root: Path, gone: Gone, resolver: AbstractResolver | None = None) -> None:
        self._settings, self._clock, self._root = settings, clock, root
        self._endpoint = Endpoint(settings.url, settings.hosts, insecure=settings.insecure)
        self._signing = Signing(settings.secrets, root)
        self._gone = gone
        self._guard = Guard(settings.allow_networks)
        self._own_resolver = resolver
        self._fields: dict[str, str] = {}
        self._secure: ssl.SSLContext | None = None
        self._poster: Poster | None = None

    def share(self, tallies: Tallies | None, endpoints: Marks | None) -> None:
        """What is gone is so for all nodes where they share state."""
        self._gone.share(endpoints)

    async def open(self) -> None:
        """Raises ConfigError for secrets and certificates that cannot be used."""
        self._signing.open()
        self._fields = {name: _value(name, secret.reveal(self._root)) for name, secret in self._settings.headers.items()}
        files = (None if each is None else str(self._root / each) for each in (self._tls.ca, self._tls.certificate, self._tls.key))
        self._secure = context(*files)
        self._poster = guarded_poster(
            self._guard,
            self._own_resolver,
            connect=self._settings.connect,
            most=self._settings.most_answer,
            secure=self._secure,
            server_name=self._tls.server_name,
        )

    async def close(self) -> None:
        poster, self._poster = self._poster, None
        if poster is not None:
            await poster.close()

    async def ping(self) -> None:
        """Connects and says nothing, where the endpoint is the same for every request."""
        url = self._endpoint.fixed
        if url is None:
            return
        await self._not_gone(url)
        try:
            async with asyncio.timeout(self._settings.connect):
                await self._connected(url)
        except TimeoutError:
            raise failure("connect_timeout", "the endpoint did not accept a connection in time") from None

    async def deliver(self, message: Message) -> Receipt:
        url = self._endpoint.of(message)
        await self._not_gone(url)
        message_id = scoped(message)
        fields, body = self._content(message, message_id)
        seconds = self._clock.now_ns() // 10**9
        fields |= self._signing.headers(message_id, seconds, body)
        if self._poster is None:
            raise failure("destination_closed", "the destination is not open")
        answered = await self._poster.post(url, self._fields | fields, body)
        if answered.status == GONE:
            await self._gone.add(str(url), url.host or "", self._clock.now_ns() // 10**9, message.decision_id)
            raise failure("endpoint_gone", "the endpoint says that it is gone (410): nothing more is sent there")
        return self._receipt(url, message_id, answered)

    def _content(self, message: Message, message_id: str) -> tuple[dict[str, str], bytes]:
        """What the endpoint is told is the message: of who asked and what was decided it gets the decision's id, and what it is mapped."""
        told = {name: message.fields[name] for name in (DECISION_ID, "traceparent") if name in message.fields}
        if self._settings.event is not None:
            fields, body = enveloped(self._settings.event, message, message_id)
            return told | fields, body
        return told | ({"content-type": message.content_type} if message.content_type else {}), message.content

    def _receipt(self, url: URL, message_id: str, answered: Answered) -> Receipt:
        place = f"{url.host}:{url.port}"
        if not answered.good:
            raise refused_by(answered.status, answered.headers.get("retry-after", ""), self._clock.now_ns() / 1e9, "the endpoint")
        if self._settings.reply == "receipt":
            return receipt(place, {"id": message_id, "status": answered.status})
        if not answered.whole or answered.headers.get("content-encoding", "identity") != "identity":
            raise failure("upstream_protocol", f"the endpoint's answer is packed, or over {self._settings.most_answer} bytes", sent=True)
        return Receipt(place, answered.content, answered.headers.get("content-type", "application/octet-stream"), 200)

    async def _connected(self, url: URL) -> None:
        host, port = url.host or "", url.port or 443
        try:
            resolver = CheckedResolver(self._guard, self._own_resolver)
            address = (await resolver.resolve(host, port))[0]["host"]
            name = (self._tls.server_name or host) if url.scheme == "https" else None
            secure = self._secure if url.scheme == "https" else None
            _, writer = await asyncio.open_connection(address, port, ssl=secure, server_hostname=name)
            writer.close()
        except AddressRefusedError as error:
            raise failure("endpoint_address_refused", str(error)) from error
        except ssl.SSLError as error:
            raise failure("tls_failed", "no TLS connection with the endpoint could be made") from error
        except OSError as error:
            raise failure("connect_failed", "no connection to the endpoint could be made") from error

    async def _not_gone(self, url: URL) -> None:
        if await self._gone.has(str(url)):
            raise failure("endpoint_gone", "the endpoint said that it is gone: `lockgate endpoints enable` has it tried again")

    @property
    def _tls(self) -> Tls:
        return self._settings.tls


def _value(name: str, text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ConfigError(f"the header field {name} of a webhook must be printable ASCII")
    return text
