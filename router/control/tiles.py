"""The ledger's tree over HTTP, as C2SP tlog-tiles specifies it: read only, and nothing beyond the latest checkpoint.

Raw ASGI on a listener of its own: a static resource is no part of the control API, whose answers may never be cached.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from starlette.types import Receive, Scope, Send

from router.audit.tree.tiles import Tile, parse_path
from router.errors import IdentityError, LockgateError
from router.identity.certificates import PeerCertificate, certificate_of
from router.problems import MEDIA_TYPE, problem

Headers = list[tuple[bytes, bytes]]
Admit = Callable[[Iterable[tuple[bytes, bytes]], PeerCertificate | None], Awaitable[None]]
METHODS = ("GET", "HEAD")
CHECKPOINT = "checkpoint"
FULL_S, PARTIAL_S = 365 * 86400, 3600
GZIP = re.compile(rb"(?:^|,)[ \t]*(?:gzip|\*)[ \t]*(?:;[ \t]*q=(?!0(?:\.0*)?[ \t]*(?:,|$))[0-9.]+[ \t]*)?(?:,|$)")


class Tiles(Protocol):
    """Raises AuditError."""

    async def checkpoint(self) -> str | None:
        """The latest signed note; None while there is none."""

    async def tile(self, tile: Tile, packed: bool) -> bytes | None:
        """None for what the latest checkpoint does not cover. `packed` with gzip, which is no work for an event loop."""


class TilesApp:
    """`admit` raises IdentityError or StateError for who may not read; None lets everybody, and shared caches may then keep tiles."""

    def __init__(self, tiles: Tiles, admit: Admit | None) -> None:
        self._tiles = tiles
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            status, headers, body = await self._answer(scope)
        except LockgateError as error:
            status, headers, body = _failure(error)
        sent = [*headers, (b"content-length", str(len(body)).encode()), (b"x-content-type-options", b"nosniff")]
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, scope: Scope) -> tuple[int, Headers, bytes]:
        if scope["method"] not in METHODS:
            return _refused(405, "method_not_allowed", [(b"allow", ", ".join(METHODS).encode())])
        if self._admit is not None:
            await self._admit(scope["headers"], certificate_of(scope))
        path = _path(scope)
        if path == CHECKPOINT:
            return await self._checkpoint()
        tile = parse_path(path)
        entries = tile is not None and tile.level is None  # JSON, and packed a fraction of its size; hashes would not be smaller
        packed = entries and _takes_gzip(scope)
        content = None if tile is None else await self._tiles.tile(tile, packed)
        if tile is None or content is None:
            return _refused(404, "not_found", [(b"cache-control", b"no-store")])
        headers = [(b"content-type", b"application/octet-stream"), (b"cache-control", self._caching(FULL_S if tile.full else PARTIAL_S))]
        headers += [(b"vary", b"accept-encoding")] if entries else []
        return 200, headers + ([(b"content-encoding", b"gzip")] if packed else []), content

    async def _checkpoint(self) -> tuple[int, Headers, bytes]:
        note = await self._tiles.checkpoint()
        if note is None:
            return _refused(404, "checkpoint_missing", [(b"cache-control", b"no-store")])
        return 200, [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-cache")], note.encode()

    def _caching(self, seconds: int) -> bytes:
        return f"{'public' if self._admit is None else 'private'}, max-age={seconds}, immutable".encode()


def _path(scope: Scope) -> str:
    """As it was sent: one resource has one path, so that nothing in it is decoded, and a query makes it another."""
    raw = scope.get("raw_path") or b""
    plain = b"%" not in raw and not scope.get("query_string")
    return raw.decode("ascii", "replace").removeprefix("/") if plain and raw.startswith(b"/") else ""


def _takes_gzip(scope: Scope) -> bool:
    return any(name == b"accept-encoding" and GZIP.search(value.lower()) for name, value in scope["headers"])


def _failure(error: LockgateError) -> tuple[int, Headers, bytes]:
    if isinstance(error, IdentityError):
        headers = [(b"www-authenticate", b'Bearer realm="lockgate"')] if error.status == 401 else []
        return _refused(error.status, error.code, headers, str(error))
    return _refused(503, error.code, [], str(error))


def _refused(status: int, code: str, headers: Headers, detail: str = "") -> tuple[int, Headers, bytes]:
    return status, [*headers, (b"content-type", MEDIA_TYPE.encode())], problem(status, code, detail=detail)
