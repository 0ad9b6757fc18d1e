"""A server of bundles as OPA asks one: entity tags, and long polling where it has that. Redirects are not followed: where policies come
from is configured, not answered."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from adapters.bundle_source import UNAVAILABLE, Connection, Given, told, trusted, whole
from router.errors import BundleError

LONG_POLLING = "application/vnd.openpolicyagent.bundles"  # the content type by which OPA knows a server that can wait


class BundleServer:
    """`token` is sent as it is given; `ca` is a PEM file. Raises BundleError for a `ca` that cannot be read."""

    def __init__(self, url: str, token: str | None = None, ca: Path | None = None, timeout_s: float = 10.0) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._connection = Connection(urlsplit(self._url).hostname, trusted(ca, url))

    async def ask(self, etag: str | None, wait_s: float | None) -> Given:
        """Raises BundleError `bundle_unavailable`. `wait_s` is how long the server may wait for something newer than `etag`."""
        headers = {**self._headers, "prefer": "modes=snapshot" + (f";wait={int(wait_s)}" if wait_s else "")}
        if etag is not None:
            headers["if-none-match"] = etag
        limit = aiohttp.ClientTimeout(total=self._timeout_s + (wait_s or 0), connect=self._timeout_s)
        with told(self._url):
            async with self._connection.get(self._url, headers=headers, timeout=limit) as answer:
                return await self._given(answer, etag)

    async def close(self) -> None:
        await self._connection.close()

    async def _given(self, answer: aiohttp.ClientResponse, etag: str | None) -> Given:
        waits = answer.content_type == LONG_POLLING
        if answer.status == 304 and etag is not None:
            return Given(None, answer.headers.get("etag", etag), waits)
        if answer.status != 200:
            raise BundleError(f"{self._url} answered {answer.status}.", UNAVAILABLE)
        return Given(await whole(answer, self._url), answer.headers.get("etag"), waits)
