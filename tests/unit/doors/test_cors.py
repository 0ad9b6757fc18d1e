"""Which pages may call, and what the answers say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from router.doors.cors import Cors, CorsPolicy, answer_preflight, make_cors_policy, origin_of, preflight, sharing
from router.doors.head import Head, read_head
from router.errors import RefusedError

APP = b"https://app.example"
Headers = list[tuple[bytes, bytes]]


def made(*origins: str, credentials: bool = False, methods: tuple[str, ...] = ("GET", "PUT")) -> CorsPolicy:
    return make_cors_policy(
        origins or (APP.decode(), "https://*.shop.example:8443"), methods, ("authorization",), ("x-a",), credentials, 60
    )


def head(method: str, *headers: tuple[bytes, bytes]) -> Head:
    scope = {"method": method, "raw_path": b"/x", "query_string": b"", "headers": [(b"host", b"h"), *headers], "client": ("127.0.0.1", 1)}
    return read_head(scope, (), False)


def asking(origin: bytes = APP, method: bytes = b"PUT", *headers: bytes) -> Head:
    fields = [(b"access-control-request-headers", value) for value in headers]
    return head("OPTIONS", (b"origin", origin), (b"access-control-request-method", method), *fields)


def answered(policy: CorsPolicy, asked: Head) -> Any:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(answer_preflight(policy, asked, preflight(asked) or "", send))
    return sent[0]


def shared(policy: CorsPolicy, upstream: Headers, *fields: tuple[bytes, bytes]) -> Headers:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(sharing(policy, head("GET", *fields), send)({"type": "http.response.start", "status": 200, "headers": upstream}))  # type: ignore[arg-type]
    found: Headers = sent[0]["headers"]
    return found


@pytest.mark.parametrize("origin", [APP, b"https://a.shop.example:8443"])
def test_a_known_origin_is_known(origin: bytes) -> None:
    """Exact, or one label more than a pattern."""
    assert made().knows(origin)


@pytest.mark.parametrize(
    "origin",
    [
        b"http://app.example",
        b"https://app.example.",
        b"https://app.example:444",
        b"https://app.example.evil.example",
        b"https://evilapp.example",
        b"https://a.b.shop.example:8443",
        b"https://.shop.example:8443",
        b"https://shop.example:8443",
        b"https://a.shop.example",
        b"https://evil/.shop.example:8443@x",
        b"null",
        b"",
        b"https://*.shop.example:8443"[:9],
    ],
)
def test_an_origin_that_only_looks_like_one_is_not(origin: bytes) -> None:
    """Nothing but equality decides."""
    assert not made().knows(origin)


def test_a_preflight_is_answered_with_what_is_configured() -> None:
    """And says what it depended on."""
    message = answered(made(credentials=True), asking(APP, b"PUT", b"Authorization, content-type", b"accept"))
    fields = dict(message["headers"])
    assert message["status"] == 204
    assert fields[b"access-control-allow-origin"] == APP
    assert fields[b"access-control-allow-methods"] == b"GET, PUT"
    assert fields[b"access-control-allow-headers"] == b"authorization"
    assert fields[b"access-control-allow-credentials"] == b"true"
    assert fields[b"access-control-max-age"] == b"60"
    assert b"origin" in fields[b"vary"]


@pytest.mark.parametrize(
    "asked",
    [asking(b"https://evil.example"), asking(APP, b"DELETE"), asking(APP, b"put"), asking(APP, b"PUT", b"x-secret"), asking(b"null")],
)
def test_a_preflight_for_more_is_refused(asked: Head) -> None:
    """Another origin, method or header field; methods are case-sensitive."""
    with pytest.raises(RefusedError) as refused:
        answered(made(), asked)
    assert (refused.value.code, refused.value.status) == ("cors_refused", 403)


def test_only_a_browsers_question_is_a_preflight() -> None:
    """OPTIONS by itself is a request like any other."""
    assert preflight(asking()) == "PUT"
    assert preflight(head("OPTIONS", (b"origin", APP))) is None
    assert preflight(head("OPTIONS", (b"access-control-request-method", b"PUT"))) is None
    assert preflight(head("GET", (b"origin", APP), (b"access-control-request-method", b"PUT"))) is None


def test_an_answer_to_a_known_page_may_be_read_by_it() -> None:
    """And has one origin, however many the upstream would name."""
    upstream = [(b"Access-Control-Allow-Origin", b"*"), (b"vary", b"accept"), (b"access-control-allow-origin", b"https://evil.example")]
    headers = shared(made(credentials=True), upstream, (b"origin", APP))
    assert [value for name, value in headers if name.lower() == b"access-control-allow-origin"] == [APP]
    assert (b"access-control-expose-headers", b"x-a") in headers
    assert (b"access-control-allow-credentials", b"true") in headers
    assert [value for name, value in headers if name == b"vary"] == [b"accept", b"origin"]


@pytest.mark.parametrize("fields", [[(b"origin", b"https://evil.example")], [], [(b"origin", APP), (b"origin", APP)]])
def test_any_other_answer_says_nothing_of_cors(fields: Headers) -> None:
    """Nor does the upstream in our place; it varies by origin all the same."""
    headers = shared(made(), [(b"access-control-allow-origin", b"*")], *fields)
    assert headers == [(b"vary", b"origin")]


@pytest.mark.parametrize("vary", [b"Origin", b"accept, origin", b"*"])
def test_what_varies_already_is_not_said_twice(vary: bytes) -> None:
    """A cache needs it once."""
    assert [value for name, value in shared(made(), [(b"vary", vary)]) if name == b"vary"] == [vary]


def test_any_origin_is_a_star_and_depends_on_nothing() -> None:
    """So that caches may share one answer among all."""
    assert shared(made("*"), [], (b"origin", b"https://any.example"))[0] == (b"access-control-allow-origin", b"*")
    assert not any(name == b"vary" for name, _ in shared(made("*"), []))


def test_a_route_has_its_own() -> None:
    """Where a rule leads there; everything else has the listener's."""
    listener, own = made("https://listener.example"), made("https://route.example")
    cors = Cors(listener, {"r": own}, lambda method, path: {"/r": "r", "/q": "q"}.get(path))
    assert [cors.policy("GET", path) for path in ("/r", "/q", "/")] == [own, listener, listener]
    assert Cors(None, {"r": own}, lambda method, path: None).policy("GET", "/") is None


def test_two_origins_are_none() -> None:
    """Nobody can tell which page it was."""
    assert origin_of(head("GET", (b"origin", APP), (b"origin", APP))) is None
