"""CORS (Fetch standard, 3.2): preflights are answered here, before anybody is asked who they are, and what upstreams say of it is dropped.

Everything that an answer needs is made once for a configuration. Origins are looked up, and never searched with an expression.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.doors.dates import date_field
from router.doors.head import Head
from router.doors.responses import Send
from router.errors import RefusedError
from router.ports import Headers

ORIGIN, METHOD, HEADERS = b"origin", b"access-control-request-method", b"access-control-request-headers"
VARY = (b"vary", b"origin")
PREFLIGHT_VARY = (b"vary", b"origin, access-control-request-method, access-control-request-headers")
OWN = b"access-control-"
SAFE_METHODS = frozenset(("GET", "HEAD", "POST"))  # browsers ask about none of these by themselves
SAFE_HEADERS = frozenset(("accept", "accept-language", "content-language", "content-type", "range"))


@dataclass(frozen=True, slots=True)
class CorsPolicy:
    """`answer` stands in the answer to every preflight that is let through, `shared` in every answer to such a page."""

    anybody: bool
    exact: frozenset[bytes]
    below: frozenset[tuple[bytes, bytes]]  # scheme with `://`, and what follows the first label, port included
    methods: frozenset[str]
    headers: frozenset[str]
    shared: tuple[tuple[bytes, bytes], ...]
    answer: tuple[tuple[bytes, bytes], ...]

    def knows(self, origin: bytes) -> bool:
        if self.anybody or origin in self.exact:
            return True
        scheme, _, rest = origin.partition(b"://")
        label, dot, above = rest.partition(b".")
        return bool(label) and (scheme, dot + above) in self.below

    def allowing(self, origin: bytes) -> tuple[bytes, bytes]:
        return b"access-control-allow-origin", b"*" if self.anybody else origin


def make_cors_policy(
    origins: Sequence[str], methods: Sequence[str], headers: Sequence[str], expose: Sequence[str], credentials: bool, max_age: float
) -> CorsPolicy:
    patterns = [each.encode() for each in origins if "://*." in each]
    shared = [(b"access-control-expose-headers", ", ".join(expose).encode())] if expose else []
    if credentials:
        shared.append((b"access-control-allow-credentials", b"true"))
    answer = [
        (b"access-control-allow-methods", ", ".join(methods).encode()),
        (b"access-control-allow-headers", ", ".join(headers).encode()),
        (b"access-control-max-age", b"%d" % max_age),
        *([(b"access-control-allow-credentials", b"true")] if credentials else []),
    ]
    return CorsPolicy(
        "*" in origins,
        frozenset(each.encode() for each in origins if "*" not in each),
        frozenset((scheme, rest[1:]) for scheme, _, rest in (each.partition(b"://") for each in patterns)),
        frozenset(methods) | SAFE_METHODS,
        frozenset(headers) | SAFE_HEADERS,
        tuple(shared),
        tuple((name, value) for name, value in answer if value),
    )


@dataclass(frozen=True, slots=True)
class Cors:
    """`listener` is for all requests but those that a rule sends to one of `routes`. `look` gives that route by method and path."""

    listener: CorsPolicy | None
    routes: Mapping[str, CorsPolicy]
    look: Callable[[str, str], str | None]

    def policy(self, method: str, path: str) -> CorsPolicy | None:
        route = self.look(method, path) if self.routes else None
        return self.routes.get(route, self.listener) if route is not None else self.listener


def preflight(head: Head) -> str | None:
    """The method that a browser asks about."""
    if head.method != "OPTIONS":
        return None
    found = [value for name, value in head.headers if name == METHOD]
    return found[0].decode("latin-1") if len(found) == 1 and origin_of(head) is not None else None


def origin_of(head: Head) -> bytes | None:
    """None also where there is more than one."""
    found = [value for name, value in head.headers if name == ORIGIN]
    return found[0] if len(found) == 1 else None


async def answer_preflight(policy: CorsPolicy, head: Head, method: str, send: Send) -> None:
    """Raises RefusedError where the page may not send what it is about to."""
    origin = origin_of(head) or b""
    if not policy.knows(origin):
        raise RefusedError("Pages of this origin may not call here.", "cors_refused", 403)
    if method not in policy.methods:
        raise RefusedError("Pages may not use this method here.", "cors_refused", 403)
    asked = [token.strip().lower() for name, value in head.headers if name == HEADERS for token in value.decode("latin-1").split(",")]
    if any(token and token not in policy.headers for token in asked):
        raise RefusedError("Pages may not send one of these header fields here.", "cors_refused", 403)
    headers = [(b"date", date_field()), policy.allowing(origin), *policy.answer, PREFLIGHT_VARY]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def sharing(policy: CorsPolicy, head: Head, send: Send) -> Send:
    """Answers as the page's browser may hand them to it. What it may not, it gets without a word about CORS."""
    origin = origin_of(head)
    allowed = [policy.allowing(origin), *policy.shared] if origin is not None and policy.knows(origin) else []

    async def shared(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*_without(message["headers"]), *allowed, *([] if policy.anybody else _varying(message["headers"]))]
        await send(message)

    return shared


def _without(headers: Headers) -> Headers:
    """An upstream's own words would stand beside ours, and browsers take two origins for none."""
    return [field for field in headers if not field[0].lower().startswith(OWN)]


def _varying(headers: Headers) -> Headers:
    """A shared cache must not give one page the answer that another got; also where this one came from no page."""
    named = [value.lower() for name, value in headers if name.lower() == b"vary"]
    known = any(token.strip() in (b"origin", b"*") for value in named for token in value.split(b","))
    return [] if known else [VARY]
