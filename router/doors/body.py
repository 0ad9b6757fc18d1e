"""Reading a body under limits, and the view of it that is judged."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from router.decision import NO_BODY, BodyView
from router.errors import RefusedError

Receive = Callable[[], Awaitable[Any]]


class ClientGoneError(Exception):
    """The caller closed the connection before its request was complete. Nobody is left to be answered."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """`body` and `view` in bytes, `text_chars` in characters, `timeout_s` for the whole body."""

    body: int = 10 * 1024 * 1024
    view: int = 64 * 1024
    text_chars: int = 8000
    timeout_s: float = 30.0


class BodyReader:
    """Reads at most the view before the decision; the rest streams through `rest` afterwards, counted and hashed on its way."""

    def __init__(self, receive: Receive, limits: BodyLimits, declared: int | None, *, empty: bool = False) -> None:
        """`empty`: the header says that there is no body, so its end comes with the header and needs no timer."""
        self._receive = receive
        self._limits = limits
        self._empty = empty
        self._digest = hashlib.sha256()
        self._size = 0
        self.data = b""
        self.complete = False
        if declared is not None and declared > limits.body:
            raise too_large(limits.body)

    async def read_view(self) -> None:
        """Raises RefusedError (408 too slow, 413 too large) and ClientGoneError."""
        chunks = [await self._next()] if self._empty else []
        if not self.complete:
            await self._read_in_time(chunks)
        self.data = b"".join(chunks)

    async def _read_in_time(self, chunks: list[bytes]) -> None:
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                while not self.complete and self._size <= self._limits.view:
                    chunks.append(await self._next())
        except TimeoutError:
            raise too_slow() from None

    async def rest(self) -> AsyncIterator[bytes]:
        """What was read, then what is still to come. Raises as `read_view`."""
        if self.data:
            yield self.data
        while not self.complete:
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    chunk = await self._next()
            except TimeoutError:
                raise too_slow() from None
            if chunk:
                yield chunk

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk: bytes = message.get("body", b"")
        self._size += len(chunk)
        if self._size > self._limits.body:
            raise too_large(self._limits.body)
        self._digest.update(chunk)
        self.complete = not message.get("more_body", False)
        return chunk

    @property
    def digest(self) -> str | None:
        """SHA-256 of the whole body in hex; None while it has not all arrived."""
        return self._digest.hexdigest() if self.complete else None


async def read_whole(receive: Receive, limits: BodyLimits, most: int, declared: int | None, *, empty: bool) -> bytes:
    """A body of ours, of at most so many bytes. Raises as `BodyReader`."""
    reader = BodyReader(receive, replace(limits, body=most, view=most), declared, empty=empty)
    await reader.read_view()
    return reader.data


def too_slow() -> RefusedError:
    return RefusedError("The body did not arrive in time.", "body_timeout", 408)


def too_large(limit: int) -> RefusedError:
    return RefusedError(f"The body is larger than {limit} bytes.", "body_too_large", 413)


def body_view(
    data: bytes, digest: str | None, content_type: str, encoding: str, text_paths: Sequence[tuple[str, ...]], text_chars: int
) -> BodyView:
    """The judged view of what was read: parsed, and with the request text found in it, or with the reason why not. Without a `digest`
    it is not all of the body."""
    if digest is None:
        return BodyView(data, None, truncated=True)
    if not data:
        return NO_BODY
    if encoding not in ("", "identity"):
        return BodyView(data, digest, problem="encoded_body")
    document, text, problem = read_text(data, content_type, text_paths)
    if text is not None and len(text) > text_chars:
        text, problem = text[:text_chars], "text_too_long"
    return BodyView(data, digest, text=text, problem=problem, json=document)


def whole_body_view(data: bytes, content_type: str, text_paths: Sequence[tuple[str, ...]], limits: BodyLimits) -> BodyView:
    """The view of a body that did not come over a connection; longer than the view it is truncated like any other."""
    digest = hashlib.sha256(data).hexdigest() if len(data) <= limits.view else None
    return body_view(data[: limits.view], digest, content_type, "", text_paths, limits.text_chars)


def read_text(data: bytes, content_type: str, text_paths: Sequence[tuple[str, ...]]) -> tuple[Any, str | None, str | None]:
    """(parsed JSON or None, request text or None, problem or None). A body of another kind has no text, which is no problem."""
    media, _, parameters = content_type.partition(";")
    media = media.strip().lower()
    is_json = media == "application/json" or media.endswith("+json")
    if not is_json and not media.startswith("text/"):
        return None, None, None
    charset = parameters.lower().partition("charset=")[2].partition(";")[0].strip(' "') or "utf-8"
    if charset not in ("utf-8", "utf8", "us-ascii"):
        return None, None, "charset_unsupported"
    try:
        decoded = data.decode("utf-8")
    except UnicodeDecodeError:
        return None, None, "undecodable"
    if not is_json:
        return None, decoded, None
    try:
        document = _strict_json(decoded)
    except (ValueError, RecursionError):
        return None, None, "malformed_json"
    return document, _request_text(document, text_paths), None


def _strict_json(text: str) -> Any:
    """JSON with one meaning: no repeated keys, NaN, endless numbers or lone surrogates, which another parser might read in its own way."""
    document = _STRICT.decode(text)
    if "\\u" in text:
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key stands twice")
    return mapping


def _finite(number: str) -> float:
    value = float(number)
    return value if math.isfinite(value) else _refuse(number)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)  # `json.loads` would make one each time


def _request_text(document: Any, text_paths: Sequence[tuple[str, ...]]) -> str | None:
    for path in text_paths:
        found = document
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, str):
            return found
    return document if isinstance(document, str) else None
