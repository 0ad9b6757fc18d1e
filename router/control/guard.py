"""What every request must pass before it is routed: the browser's defences, and headers that every answer carries."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.problems import MEDIA_TYPE, problem

MAX_BODY = 64 * 1024
MAX_FILES = 24 << 20  # two bundles and what goes with them
TAKES_FILES = ("/v1/policy/", "/console/policy/")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
SAME_SITE = frozenset({b"same-origin", b"none"})
ALWAYS = [(b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", b"same-origin")]
NOT_STORED = (b"cache-control", b"no-store")
NOTHING = [
    (b"content-security-policy", b"default-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
]
# A page sends its forms, and asks for more, nowhere but here. Without a referrer browsers would tell no origin either, and be refused.
PAGES = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
        b"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types console",
    ),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
TLS_ONLY = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
CONSOLE = "/console/"


class Guard:
    """`hosts` None accepts any Host header; on loopback it must name the accepted ones, or a page that rebinds its own name to
    127.0.0.1 could speak to the control API from the operator's browser."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *_hardening(scope, message.get("headers", []))]}
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, hardened)
        else:
            await _answer(refusal, hardened)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or (self._hosts is not None and _name(hosts[0]) not in self._hosts):
            return 421, "host_refused", "This listener is not called by that name."
        if scope["method"] not in SAFE and not _same_site(scope, hosts[0]):
            return 403, "cross_site_refused", "A page of another site may not change anything here."
        # FastAPI counts the bytes of a body whose length is not told.
        most = most_bytes(scope["path"])
        if any(not length.isdigit() or int(length) > most for length in _values(scope, b"content-length")):
            return 413, "body_too_large", f"A body can have at most {most} bytes here."
        return None


def _hardening(scope: Scope, told: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Only what is the same for everybody says by itself that it may be stored."""
    stored = [] if any(name == b"cache-control" for name, _ in told) else [NOT_STORED]
    kind = PAGES if scope["path"].startswith(CONSOLE) else NOTHING
    return [*ALWAYS, *stored, *kind, *([TLS_ONLY] if scope["scheme"] == "https" else [])]


def most_bytes(path: str) -> int:
    """Of a request's body."""
    return MAX_FILES if path.startswith(TAKES_FILES) else MAX_BODY


def _same_site(scope: Scope, host: bytes) -> bool:
    """Programs send neither header; browsers cannot leave them out on a request that changes something."""
    sites, origins = _values(scope, b"sec-fetch-site"), _values(scope, b"origin")
    return all(site in SAME_SITE for site in sites) and all(origin.partition(b"://")[2].lower() == host.lower() for origin in origins)


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


def _name(host: bytes) -> str:
    text = host.decode("latin-1").lower()
    name, colon, port = text.rpartition(":")
    return name if colon and port.isdigit() and not text.endswith("]") else text


async def _answer(refusal: tuple[int, str, str], send: Send) -> None:
    status, code, detail = refusal
    body = problem(status, code, detail=detail)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
