"""A header has one meaning or is refused."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.doors.head import Head, _cached_path, _within, decode_path, read_head, trace_context, trusts
from router.errors import RefusedError
from tests.unit.doors.parts import scope

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def head(path: str = "/pay", *headers: tuple[str, str], **changes: Any) -> Head:
    return read_head(scope(path, *headers, **changes), TRUSTED, False)


def refusal(path: str = "/pay", *headers: tuple[str, str], **changes: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        head(path, *headers, **changes)
    assert caught.value.status == 400
    return caught.value.code


def test_a_plain_header_is_read() -> None:
    """Method, host, path, query and target as they came; the host in lower case."""
    read = head("/pay/4%207?x=%2F")
    assert (read.method, read.host, read.path, read.query, read.target) == (
        "POST",
        "halden.example",
        "/pay/4 7",
        "x=%2F",
        "/pay/4%207?x=%2F",
    )
    assert (read.peer, read.client, read.scheme) == ("203.0.113.9", "203.0.113.9", "https")


@pytest.mark.parametrize("name", ["x-lockgate-intent", "x_lockgate_intent", "X-Lockgate-Subject", "x-lockgate_roles", "x_lockgate-risk"])
def test_our_own_fields_never_survive(name: str) -> None:
    """`x-lockgate-*` from outside is dropped, with underscores as well."""
    read = head("/pay", (name, "admin"), ("x-other", "stays"))
    assert [field for field, _ in read.headers] == [b"host", b"x-other"]


@pytest.mark.parametrize(
    "name", ["host", "content-type", "content-encoding", "content-length", "authorization", "x-api-key", "idempotency-key", "traceparent"]
)
def test_a_single_field_stands_once(name: str) -> None:
    """Two values of which servers could take either are refused."""
    assert refusal("/pay", (name, "a"), (name, "a")) == "duplicate_header"


def test_other_fields_may_repeat() -> None:
    """Lists may come in several fields, in order."""
    read = head("/pay", ("accept", "a"), ("accept", "b"))
    assert [value for name, value in read.headers if name == b"accept"] == [b"a", b"b"]


@pytest.mark.parametrize("name", ["x_forwarded_for", "x_tenant", "content_type", "idempotency_key", "x-real_ip"])
def test_names_with_an_underscore_never_come_in(name: str) -> None:
    """A CGI-like upstream reads `_` as `-`: what policy saw under one name could not be told from what a caller put under the other."""
    assert [field for field, _ in head("/pay", (name, "1"), ("x-other", "stays")).headers] == [b"host", b"x-other"]


@pytest.mark.parametrize("name", ["x-http-method-override", "X-Method-Override", "x-http-method", "x-original-url", "x-rewrite-url"])
def test_nothing_overrides_the_request_line(name: str) -> None:
    """Policy judged the method and path of the request line, and frameworks that take others from fields are not told any."""
    assert [field for field, _ in head("/pay", (name, "DELETE")).headers] == [b"host"]


def test_what_connection_lists_is_seen_by_nobody() -> None:
    """A field that the upstream will not get must not sway policy, nor count as the key that makes a retry safe."""
    read = head(
        "/pay", ("connection", "close, X-Tenant"), ("connection", "idempotency-key"), ("x-tenant", "gold"), ("idempotency-key", "k")
    )
    assert read.visible(frozenset((b"x-tenant",))) == ()
    assert read.text(b"idempotency-key") is None
    assert [field for field, _ in read.headers] == [b"host", b"connection", b"connection"]


def test_connection_cannot_hide_the_body() -> None:
    """Whether a body follows is what the server reads, whatever a caller lists."""
    assert head("/pay", ("connection", "content-length"), ("content-length", "7")).has_body


def test_connection_cannot_hide_who_sent_the_request() -> None:
    """A caller behind a trusted proxy does not become that proxy by listing what the proxy says of it."""
    assert (
        head("/pay", ("connection", "x-forwarded-for"), ("x-forwarded-for", "198.51.100.7"), client=("10.0.0.1", 1)).client
        == "198.51.100.7"
    )


def test_a_content_coding_is_noticed() -> None:
    """The body is then not judged as what its bytes look like."""
    assert head("/pay", ("content-encoding", "deflate")).text(b"content-encoding") == "deflate"


@pytest.mark.parametrize(
    ("fields", "changes", "code"),
    [
        ([], {"method": "TRACE"}, "method_unsupported"),
        ([], {"method": "CONNECT"}, "method_unsupported"),
        ([("transfer-encoding", "gzip, chunked")], {}, "transfer_coding_unknown"),
    ],
)
def test_what_cannot_be_judged_is_not_served(fields: list[tuple[str, str]], changes: dict[str, Any], code: str) -> None:
    """Tunnels, echoes and unknown transfer codings are a 501."""
    with pytest.raises(RefusedError) as caught:
        head("/pay", *fields, **changes)
    assert (caught.value.status, caught.value.code) == (501, code)


def test_strangers_fill_no_cache_with_long_texts() -> None:
    """Long paths and addresses are worked out each time: thousands of them would be hundreds of megabytes."""
    before = _cached_path.cache_info().currsize, _within.cache_info().currsize
    assert decode_path("/" + "a" * 30_000)[1:2] == "a"
    assert not trusts("1" * 30_000, TRUSTED)
    assert (_cached_path.cache_info().currsize, _within.cache_info().currsize) == before


def test_an_address_has_no_zone() -> None:
    """`fe80::1%` and then kilobytes of anything is an address to the library, and would be the caller's name in records."""
    fields = [("x-forwarded-for", "fe80::1%" + "a" * 5000)]
    assert head("/pay", *fields, client=("10.0.0.1", 1)).client == "10.0.0.1"


def test_a_host_is_required() -> None:
    """HTTP/1.1 without Host has no meaning; HTTP/1.0 has."""
    without = {**scope(), "headers": []}
    with pytest.raises(RefusedError) as caught:
        read_head(without, TRUSTED, False)
    assert caught.value.code == "host_missing"
    assert read_head({**without, "http_version": "1.0"}, TRUSTED, False).host == ""


@pytest.mark.parametrize(
    "path",
    [
        "/a%2Fb", "/a%2fb", "/a%5cb", "/a\\b", "/a//b", "//a", "/a/./b", "/a/../b", "/a/..", "/a/.", "/a/%2e%2e/b", "/a/%2e%2e",
        "/a/.%2E/b", "/a%00b", "/a%ff", "/a%c0%af", "/a/..;/b", "/a/..;x=1/b", "/a/.;/b", "/a%zz", "/a%", "/a%4", "a", "", "*", "/\xe9",
        "/admin;x/users", "/a;v=1", "/a%3bv=1",
    ],
)  # fmt: skip
def test_ambiguous_paths_are_refused(path: str) -> None:
    """Whatever an upstream could read as another path than policy did."""
    assert refusal(path) == "ambiguous_path"


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/", "/"),
        ("/a/b/", "/a/b/"),
        ("/a.b/..c/...", "/a.b/..c/..."),
        ("/%C3%A9", "/é"),
        ("/%252F", "/%2F"),
        ("/a%3Fb", "/a?b"),
    ],
)
def test_other_paths_are_decoded_once(raw: str, path: str) -> None:
    """Percent-encoding is undone once and no more."""
    assert decode_path(raw) == path


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=20))
def test_any_path_is_decoded_or_refused(rest: str) -> None:
    """No path leads to anything but a decoded path without dot segments, or a refusal."""
    with suppress(RefusedError):
        assert not {"..", "."} & set(decode_path("/" + rest).split("/"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.1.1.1", "198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "198.51.100.66, 198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "198.51.100.1, 10.2.2.2", "198.51.100.1"),
        ("10.1.1.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),
        ("10.1.1.1", "nonsense", "10.1.1.1"),
        ("10.1.1.1", "198.51.100.1, nonsense", "10.1.1.1"),
        ("10.1.1.1", None, "10.1.1.1"),
        ("2001:db8::1", "2001:470::9", "2001:470::9"),
        ("", "198.51.100.1", ""),
    ],
)
def test_the_client_is_whom_a_trusted_proxy_saw(peer: str, forwarded: str | None, client: str) -> None:
    """The right-most address that no trusted proxy stands for; nobody else's word counts."""
    headers = [("x-forwarded-for", forwarded)] if forwarded is not None else []
    assert head("/pay", *headers, client=(peer, 1) if peer else None).client == client


def test_forwarded_addresses_in_several_fields_are_one_list() -> None:
    """RFC 9110 §5.3: the fields' order is the list's."""
    assert (
        head("/pay", ("x-forwarded-for", "198.51.100.66"), ("x-forwarded-for", "198.51.100.1"), client=("10.1.1.1", 1)).client
        == "198.51.100.1"
    )


def test_policy_sees_allowed_fields_only() -> None:
    """The rest of the header goes into no record."""
    read = head("/pay", ("x-kind", "a"), ("cookie", "secret"))
    assert read.visible(frozenset([b"x-kind"])) == (("x-kind", "a"),)


@pytest.mark.parametrize(
    ("headers", "has_body", "length"),
    [
        ((), False, None),
        ((("content-length", "0"),), False, 0),
        ((("content-length", "5"),), True, 5),
        ((("transfer-encoding", "chunked"),), True, None),
    ],
)
def test_whether_a_body_follows(headers: tuple[tuple[str, str], ...], has_body: bool, length: int | None) -> None:
    """By Content-Length or Transfer-Encoding, as HTTP/1.1 says."""
    read = head("/pay", *headers)
    assert (read.has_body, read.content_length) == (has_body, length)


def test_a_stranger_does_not_make_us_sample() -> None:
    """Anybody may name a trace; whether spans are made for it is not for anybody to say."""
    assert not trace_context(PARENT.encode(), [], False).sampled
    assert trace_context(PARENT.encode(), [], True).sampled


def test_a_callers_trace_goes_on() -> None:
    """A well-formed traceparent gives the trace, a new span, and, of a trusted peer, its sampling flag; tracestate comes along."""
    trace = trace_context(PARENT.encode(), [(b"tracestate", b"a=1"), (b"tracestate", b"b=2")], False, trusted=True)
    assert (trace.trace_id, trace.parent_id, trace.sampled, trace.state) == (
        "0af7651916cd43dd8448eb211c80319c",
        "b7ad6b7169203331",
        True,
        "a=1,b=2",
    )
    assert len(trace.span_id) == 16
    assert trace.span_id != trace.parent_id


@pytest.mark.parametrize(
    "parent",
    [
        None, "", "nonsense", PARENT.upper(), PARENT + "-00", PARENT.replace("00-", "ff-", 1), PARENT[:-1], PARENT.replace("0af7", "0ag7"),
        "00-" + "0" * 32 + "-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
    ],
)  # fmt: skip
@pytest.mark.parametrize("sample", [True, False])
def test_anything_else_starts_a_trace(parent: str | None, sample: bool) -> None:
    """A malformed traceparent is no error and is not continued; our own sampling then decides."""
    trace = trace_context(parent.encode() if parent is not None else None, [(b"tracestate", b"a=1")], sample)
    assert (trace.parent_id, trace.sampled, trace.state) == (None, sample, "")
    assert len(trace.trace_id) == 32


def test_a_later_version_of_traceparent_is_read() -> None:
    """W3C: fields after the known four are ignored in versions above 00."""
    assert trace_context(PARENT.replace("00-", "01-", 1).encode() + b"-more", [], False).parent_id == "b7ad6b7169203331"


@given(st.binary(max_size=80))
def test_no_traceparent_is_an_error(parent: bytes) -> None:
    """Arbitrary bytes give a usable context."""
    assert len(trace_context(parent, [], True).trace_id) == 32
