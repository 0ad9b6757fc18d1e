"""A bundle in an S3 bucket: one signed `GET` (Signature Version 4), with entity tags."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from adapters.aws.signing import Keys
from adapters.aws.signing import signed as signature_v4
from adapters.bundle_source import UNAVAILABLE, Connection, Given, told, trusted, whole
from router.errors import BundleError

CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")
MOST_REASON = 64 << 10


S3Keys = Keys


class S3Object:
    """`endpoint` is the server's URL, by which the bucket is the path's first part; without it it is Amazon's, by which it is the host's.
    `keys` are asked for before each question, since who renews them may exchange them."""

    def __init__(
        self,
        bucket: str,
        key: str,
        region: str,
        keys: Callable[[], S3Keys],
        endpoint: str | None = None,
        ca: Path | None = None,
        timeout_s: float = 10.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._name = f"s3://{bucket}/{key}"
        base = f"https://{bucket}.s3.{region}.amazonaws.com" if endpoint is None else f"{endpoint.rstrip('/')}/{quote(bucket)}"
        self._url = f"{base}/{quote(key, safe='/-_.~')}"
        self._region = region
        self._keys = keys
        self._timeout_s = timeout_s
        self._now = now
        self._connection = Connection(urlsplit(self._url).hostname, trusted(ca, self._name))

    async def ask(self, etag: str | None, wait_s: float | None) -> Given:
        """Raises BundleError `bundle_unavailable`; ConfigError for keys that cannot be read. It cannot wait."""
        headers = signed(self._url, self._region, self._keys(), self._now())
        if etag is not None:
            headers["if-none-match"] = etag
        with told(self._name):
            async with (
                asyncio.timeout(self._timeout_s),
                self._connection.get(URL(self._url, encoded=True), headers=headers) as answer,
            ):
                return await self._given(answer, etag)

    async def close(self) -> None:
        await self._connection.close()

    async def _given(self, answer: aiohttp.ClientResponse, etag: str | None) -> Given:
        if answer.status == 304 and etag is not None:
            return Given(None, answer.headers.get("etag", etag))
        if answer.status != 200:
            code = CODE.search(await whole(answer, self._name, MOST_REASON))
            raise BundleError(f"{self._name} answered {answer.status}{f' ({code[1].decode()})' if code else ''}.", UNAVAILABLE)
        return Given(await whole(answer, self._name), answer.headers.get("etag"))


def signed(url: str, region: str, keys: S3Keys, now: datetime) -> dict[str, str]:
    """The headers of a `GET` without a body and without a query. The URL's path is encoded once, which is S3's own rule."""
    return signature_v4("GET", url, service="s3", region=region, keys=keys, now=now)
