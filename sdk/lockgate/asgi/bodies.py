"""A request's body, read before the application sees it, and what of it policy is shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
from starlette.types import Message, Receive

from lockgate.client.asking import NO_BODY


class BodyError(Exception):
    """`status` and `code` are for the caller; `str` is the sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class CallerGoneError(Exception):
    """Nobody is left to be answered."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is asked about: at most one of them."""

    text: str | None = field(default=None, repr=False)
    body: Any = field(default=NO_BODY, repr=False)


@dataclass(slots=True)
class Replay:
    """Gives the application the body that was read, and then what comes after it."""

    body: bytes
    receive: Receive
    given: bool = False

    async def __call__(self) -> Message:
        if self.given:
            return await self.receive()
        self.given = True
        return {"type": "http.request", "body": self.body, "more_body": False}


async def whole_body(receive: Receive, headers: Sequence[tuple[bytes, bytes]], most: int, seconds: float) -> bytes:
    """Raises BodyError (408, 413), CallerGoneError."""
    announced = [value for name, value in headers if name == b"content-length"]
    if any(not value.isdigit() or int(value) > most for value in announced):
        raise _too_large(most)
    body = bytearray()
    try:
        with anyio.fail_after(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise CallerGoneError
                body += message.get("body", b"")
                if len(body) > most:
                    raise _too_large(most)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError as error:
        raise BodyError(408, "body_timeout", "The body did not arrive in time.") from error


def seen(body: bytes, headers: Sequence[tuple[bytes, bytes]], *, unseen: bool) -> Seen:
    """`unseen`: one that cannot be shown to policy is left out. Raises BodyError (400, 415)."""
    if not body:
        return Seen()
    types = [value.decode("latin-1") for name, value in headers if name == b"content-type"]
    media, _, parameters = (types[0] if len(types) == 1 else "").partition(";")
    media = media.strip().lower()
    is_json = media == "application/json" or media.endswith("+json")
    encoded = any(name == b"content-encoding" for name, _ in headers)
    if encoded or not (is_json or media.startswith("text/")) or _charset(parameters) not in ("utf-8", "utf8", "us-ascii"):
        if unseen:
            return Seen()
        raise BodyError(415, "body_unseen", "This body is neither UTF-8 text nor JSON, so that nobody could judge it.")
    try:
        decoded = body.decode("utf-8")
        return Seen(body=_strict(decoded)) if is_json else Seen(text=decoded)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is one
        raise BodyError(400, "body_malformed", "The body is not what its content type says, or says a thing twice.") from error


def _charset(parameters: str) -> str:
    return parameters.lower().partition("charset=")[2].partition(";")[0].strip(' "') or "utf-8"


def _strict(text: str) -> Any:
    """A key that comes twice is refused: policy and application might each take another one."""
    return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _too_large(most: int) -> BodyError:
    return BodyError(413, "body_too_large", f"The body is larger than {most} bytes.")
