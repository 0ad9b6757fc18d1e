"""JSON over HTTP/1.1 to an engine: no redirects, no cookies, no proxy of the environment, nothing packed, answers of a bounded size."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import orjson
from yarl import URL

from adapters.aligned_aiohttp import TcpConnector
from adapters.messaging.destination import failure
from adapters.workflows.config import EngineTls
from router.errors import ConfigError, DestinationError

MOST_BYTES = 4 << 20
DENIED = frozenset({401, 403})
JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `good`: statuses beside 2xx that are an answer and no failure. `acts`: it sets something in motion."""

    method: str
    url: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    good: frozenset[int] = frozenset()
    acts: bool = False

    def with_fields(self, fields: Mapping[str, str]) -> Call:
        return replace(self, headers={**self.headers, **fields})


def post(url: str, document: Any, good: frozenset[int] = frozenset()) -> Call:
    """Sets something in motion."""
    return Call("POST", url, orjson.dumps(document), JSON, good, acts=True)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content: bytes
    retry_after: float | None = None

    def json(self, name: str) -> dict[str, Any]:
        """Raises DestinationError for what is no JSON object."""
        try:
            found = orjson.loads(self.content)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise failure("upstream_protocol", f"{name} answered {self.status} with something that is no JSON object", sent=True)
        return found


class Client:
    def __init__(self, name: str, tls: EngineTls) -> None:
        """Opens nothing. Raises ConfigError for files that cannot be used."""
        self._name = name
        self._ssl = _context(name, tls)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=TcpConnector(limit=0, ssl=self._ssl),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def ask(self, call: Call) -> Answer:
        """Whatever was answered. Raises DestinationError where nothing was."""
        if self._session is None:
            raise failure("destination_closed", f"{self._name} is not open")
        headers = {"accept-encoding": "identity", "accept": "application/json", **call.headers}
        try:
            async with self._session.request(
                call.method, URL(call.url, encoded=True), data=call.body or None, headers=headers, allow_redirects=False
            ) as answer:
                content = await answer.content.read(MOST_BYTES + 1) if not answer.content.at_eof() else b""
                while len(content) <= MOST_BYTES and (more := await answer.content.read(65536)):
                    content += more
                return Answer(answer.status, content[:MOST_BYTES], _seconds(answer.headers.get("retry-after")))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._translated(error, call) from error

    def _translated(self, error: Exception, call: Call) -> DestinationError:
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
            return failure("tls_failed", f"{self._name} and we do not agree on TLS")
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return failure("connect_failed", f"{self._name} cannot be reached")
        if isinstance(error, ValueError):
            return failure("upstream_protocol", f"{self._name} cannot be asked this way", sent=call.acts)
        return failure("upstream_reset", f"{self._name} broke the connection off", sent=call.acts)


def refused(name: str, call: Call, answer: Answer) -> DestinationError:
    """What the engine wrote may repeat what it was sent, so only its status is told."""
    said = f"{name} answered {answer.status}"
    if answer.status in DENIED:
        return failure("upstream_denied", said)
    if answer.status == 413:
        return failure("body_too_large", said)
    if answer.status == 429:
        return failure("upstream_throttled", said, wait=answer.retry_after)
    if answer.status >= 500:
        return failure("upstream_unavailable", said, sent=call.acts, wait=answer.retry_after)
    return failure("upstream_refused", said)


def _seconds(told: str | None) -> float | None:
    return float(told) if told is not None and told.isdecimal() and len(told) < 6 else None


def _context(name: str, tls: EngineTls) -> ssl.SSLContext:
    try:
        made = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None:
            made.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"The TLS files of the destination {name} cannot be used: {error}.") from error
    return made
