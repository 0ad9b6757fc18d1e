"""What all places have in common that bundles are downloaded from: what they give, at most how much, and one sentence when they fail."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

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


def opened(host: str | None) -> aiohttp.ClientSession:
    """To be closed. An archive stays as it is, also where the server calls that an encoding; no proxy to this machine, and no cookies."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=1),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=host not in LOCAL,
        headers={"user-agent": "lockgate", "accept-encoding": "identity"},
    )


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
