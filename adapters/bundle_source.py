"""What all places have in common that bundles are downloaded from: what they give, at most how much, and one sentence when they fail."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from adapters.aligned_aiohttp import TcpConnector
from router.errors import BundleError

MOST_BYTES = 10 << 20
LOCAL = ("localhost", "127.0.0.1", "::1")
UNAVAILABLE = "bundle_unavailable"


@dataclass(frozen=True, slots=True)
class Given:
    """`content` is None where there is nothing newer than what `etag` names. `waits`: the server can wait for something new."""

    content: bytes | None
    etag: str | None
    waits: bool = False


def trusted(ca: Path | None, where: str) -> ssl.SSLContext | bool:
    """The authorities of a PEM file, or the system's. Raises BundleError."""
    try:
        return ssl.create_default_context(cafile=ca) if ca is not None else True
    except OSError as error:  # ssl.SSLError among them
        raise BundleError(f"{ca} cannot be read as the authorities of {where}.", UNAVAILABLE) from error


class Connection:
    """To one host, opened with the first question and again after a `close`. An archive stays as it is, also where the server calls that an
    encoding; no proxy to this machine, no redirects and no cookies."""

    def __init__(self, host: str | None, trust: ssl.SSLContext | bool) -> None:
        self._host = host
        self._trust = trust
        self._session: aiohttp.ClientSession | None = None

    def get(self, url: URL | str, **more: Any) -> Any:
        """To be entered, as aiohttp's own."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=TcpConnector(limit=1),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=self._host not in LOCAL,
                headers={"user-agent": "lockgate", "accept-encoding": "identity"},
            )
        return self._session.get(url, allow_redirects=False, ssl=self._trust, **more)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


async def whole(answer: aiohttp.ClientResponse, where: str, most: int = MOST_BYTES) -> bytes:
    """Raises BundleError where it is more than that."""
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) > most:
            size = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most >> 10} KiB"
            raise BundleError(f"{where} answered more than {size}.", UNAVAILABLE)
    return bytes(content)


@contextmanager
def told(where: str) -> Iterator[None]:
    """The one place where what the client raises becomes ours."""
    try:
        yield
    except TimeoutError:
        raise BundleError(f"{where} did not answer in time.", UNAVAILABLE) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise BundleError(f"{where} gave no bundle: {error or type(error).__name__}.", UNAVAILABLE) from error
