"""A server of bundles as OPA asks one: entity tags, and long polling where it has that. Redirects are not followed: where policies come
from is configured, not answered."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from router.errors import BundleError

MOST_BYTES = 10 << 20
LONG_POLLING = "application/vnd.openpolicyagent.bundles"  # the content type by which OPA knows a server that can wait
LOCAL = ("localhost", "127.0.0.1", "::1")
UNAVAILABLE = "bundle_unavailable"


@dataclass(frozen=True, slots=True)
class Given:
    """`content` is None where there is nothing newer than what `etag` names. `waits`: the server can wait for something new."""

    content: bytes | None
    etag: str | None
    waits: bool


class BundleServer:
    """`token` is sent as it is given; `ca` is a PEM file. Raises BundleError for a `ca` that cannot be read."""

    def __init__(self, url: str, token: str | None = None, ca: Path | None = None, timeout_s: float = 10.0) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._headers = {"user-agent": "lockgate", "accept-encoding": "identity"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        try:
            self._ssl: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca) if ca is not None else True
        except OSError as error:  # ssl.SSLError among them
            raise BundleError(f"{ca} cannot be read as the authorities of {url}.", UNAVAILABLE) from error
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, etag: str | None, wait_s: float | None) -> Given:
        """Raises BundleError `bundle_unavailable`. `wait_s` is how long the server may wait for something newer than `etag`."""
        headers = {**self._headers, "prefer": "modes=snapshot" + (f";wait={int(wait_s)}" if wait_s else "")}
        if etag is not None:
            headers["if-none-match"] = etag
        limit = aiohttp.ClientTimeout(total=self._timeout_s + (wait_s or 0), connect=self._timeout_s)
        try:
            async with self._opened().get(self._url, headers=headers, allow_redirects=False, ssl=self._ssl, timeout=limit) as answer:
                return await self._given(answer, etag)
        except TimeoutError:
            raise BundleError(f"{self._url} did not answer in time.", UNAVAILABLE) from None
        except (aiohttp.ClientError, OSError) as error:
            raise BundleError(f"{self._url} gave no bundle: {error or type(error).__name__}.", UNAVAILABLE) from error

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _given(self, answer: aiohttp.ClientResponse, etag: str | None) -> Given:
        waits = answer.content_type == LONG_POLLING
        if answer.status == 304 and etag is not None:
            return Given(None, answer.headers.get("etag", etag), waits)
        if answer.status != 200:
            raise BundleError(f"{self._url} answered {answer.status}.", UNAVAILABLE)
        content = bytearray()
        async for chunk in answer.content.iter_any():
            content += chunk
            if len(content) > MOST_BYTES:
                raise BundleError(f"{self._url} answered more than {MOST_BYTES >> 20} MiB.", UNAVAILABLE)
        return Given(bytes(content), answer.headers.get("etag"), waits)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=1),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # an archive stays as it is, also where the server calls that an encoding
                trust_env=urlsplit(self._url).hostname not in LOCAL,
            )
        return self._session
