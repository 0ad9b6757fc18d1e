"""What a destination needs of an HTTP client library. One implementation per library, each translating errors in one place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from router.ports import Headers


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """For one upstream. `origin` is `scheme://host:port` without a slash; times are seconds, None is without end; files are PEM."""

    origin: str
    connect: float
    idle: float | None = None
    total: float | None = None
    keep: float = 30.0
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    server_name: str | None = None


class Exchange(Protocol):
    """A response whose head has arrived. Names are lower case, duplicates keep their order, nothing is decoded."""

    status: int
    headers: Headers
    done: bool

    async def read(self) -> bytes:
        """The next piece as it arrives; `b""` at the end, after which `done` is true. Raises DestinationError."""

    async def close(self) -> None:
        """Gives the connection back when `done`, else drops it. Twice is harmless."""


class HttpClient(Protocol):
    """Connections to one upstream over HTTP/1.1. Follows no redirect, keeps no cookie, decodes nothing, reads no environment. `connect`
    is its own duty; the caller bounds every other wait by cancelling it. Which of them also bounds them natively is its business."""

    async def request(self, method: str, target: str, headers: Headers, body: bytes | AsyncIterator[bytes]) -> Exchange:
        """Raises DestinationError; whatever a body iterator raises comes through unchanged."""

    async def close(self) -> None: ...


def bodyless(method: str, status: int) -> bool:
    """RFC 9112 §6.3: these end with their head, whatever their header fields say."""
    return method == "HEAD" or status in (204, 304) or status < 200


def content_length(headers: Headers) -> int | None:
    """None when absent, or overridden by a transfer coding."""
    length = None
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            length = int(value)
        elif name == b"transfer-encoding":
            return None
    return length
