"""A request's header as every HTTP front door reads it: one meaning or none.

Whatever two servers could read differently (a second Host, an encoded slash, dot segments, repeated single-valued fields) is refused here,
so that the path and headers that policy judged are the ones that the upstream sees. `x-lockgate-*` from outside never survives.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from router.decision import TraceContext
from router.doors.addresses import parsed
from router.errors import RefusedError
from router.identity.certificates import PeerCertificate, certificate_of
from router.ports import Headers

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
OWN_PREFIX = b"x-lockgate-"
SINGLE = frozenset(
    (
        b"host",
        b"content-type",
        b"content-encoding",
        b"content-length",
        b"authorization",
        b"x-api-key",
        b"idempotency-key",
        b"traceparent",
        b"transfer-encoding",
    )
)
FRAMING = frozenset((b"host", b"content-length", b"transfer-encoding"))
# Fields by which some frameworks take another method or path than the request line's, which is the one that policy judged.
OVERRIDES = frozenset(
    (b"x-http-method", b"x-http-method-override", b"x-method-override", b"x-original-method", b"x-original-url", b"x-rewrite-url")
)
UNFIT_METHODS = frozenset(("CONNECT", "TRACE"))  # a tunnel that nobody judges; an echo of what only the upstream should read
_CACHED_CHARS = 256  # what strangers may make longer is never kept
_ADDRESS_CHARS = 64
_FORBIDDEN_IN_PATH = ("\x00", "\\", "//", "/./", "/../", ";")  # at `;` some servers cut the segment, and others do not
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~-]{1,253})(?::[0-9]{1,5})?")
_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Head:
    """`target` is the path and query as they arrived, `path` is decoded. `headers` lacks `x-lockgate-*`; `fields` maps single ones."""

    method: str
    host: str
    path: str
    query: str
    target: str
    headers: Headers
    fields: Mapping[bytes, bytes]
    peer: str
    client: str
    scheme: str
    trace: TraceContext
    certificate: PeerCertificate | None = None

    @property
    def content_length(self) -> int | None:
        value = self.fields.get(b"content-length")
        return int(value) if value is not None else None

    @property
    def has_body(self) -> bool:
        return b"transfer-encoding" in self.fields or bool(self.content_length)

    def text(self, name: bytes) -> str | None:
        value = self.fields.get(name)
        return value.decode("latin-1") if value is not None else None

    def visible(self, names: frozenset[bytes]) -> tuple[tuple[str, str], ...]:
        """The header fields that policy and records may see."""
        return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers if name in names)


def read_head(scope: Mapping[str, Any], trusted: tuple[Network, ...], sample: bool) -> Head:
    """Raises RefusedError with status 400 or 501. `sample` decides where no trusted peer did."""
    headers, fields = _fields(scope["headers"])
    method = scope.get("method", "GET")
    if method in UNFIT_METHODS:
        raise RefusedError(f"{method} is not served here.", "method_unsupported", 501)
    if fields.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise RefusedError("No transfer coding but chunked is understood here.", "transfer_coding_unknown", 501)  # RFC 9112 §6.1
    raw_path = scope["raw_path"].decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    peer = scope["client"][0] if scope.get("client") else ""
    host = fields.get(b"host")
    if host is None and scope.get("http_version") != "1.0":
        raise RefusedError("The request has no Host header.", "host_missing", 400)
    if host is not None and not _HOST.fullmatch(host):
        raise RefusedError("The Host header names no host.", "host_invalid", 400)  # RFC 9112 §3.2
    return Head(
        method=method,
        host=(host or b"").decode("latin-1").lower(),
        path=decode_path(raw_path),
        query=query,
        target=f"{raw_path}?{query}" if query else raw_path,
        headers=headers,
        fields=fields,
        peer=peer,
        client=_client(peer, headers, trusted),
        scheme="https" if scope.get("scheme") in ("https", "wss") else "http",
        trace=trace_context(fields.get(b"traceparent"), headers, sample, trusts(peer, trusted)),
        certificate=certificate_of(scope),
    )


def connection_options(headers: Sequence[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Names of fields that are for one hop only (RFC 9110 §7.6.1). Nobody can so take away the framing, or what a proxy says of who sent
    the request."""
    listed = (token.strip().lower() for name, value in headers if name.lower() == b"connection" for token in value.split(b","))
    return frozenset(name for name in listed if name not in FRAMING and not name.startswith(b"x-forwarded-"))


def _fields(raw: Sequence[tuple[bytes, bytes]]) -> tuple[Headers, dict[bytes, bytes]]:
    """What nobody behind us gets, nobody here sees either. A name with `_` goes with it: behind CGI, WSGI and the like it is the same
    name as one with `-`, which policy would have judged."""
    headers: Headers = []
    fields: dict[bytes, bytes] = {}
    listed = connection_options(raw)
    for name, value in raw:
        if name in listed or name in OVERRIDES or b"_" in name or name.startswith(OWN_PREFIX):
            continue
        if name in SINGLE:
            if name in fields:
                raise RefusedError(f"The header field {name.decode()} stands twice.", "duplicate_header", 400)
            fields[name] = value
        headers.append((name, value))
    return headers, fields


def decode_path(raw: str) -> str:
    """The path percent-decoded once. Raises RefusedError where an upstream might read it in another way."""
    return _cached_path(raw) if len(raw) <= _CACHED_CHARS else _decoded_path(raw)


def _decoded_path(raw: str) -> str:
    if not raw.isascii() or _BROKEN_ESCAPE.search(raw):
        raise RefusedError("The path is not percent-encoded as RFC 3986 says.", "ambiguous_path", 400)
    if "%" not in raw:
        decoded = raw
    else:
        if "%2f" in raw.lower() or "%5c" in raw.lower():
            raise RefusedError("The path has an encoded slash.", "ambiguous_path", 400)
        try:
            decoded = unquote_to_bytes(raw).decode("utf-8")
        except UnicodeDecodeError:
            raise RefusedError("The path is not UTF-8.", "ambiguous_path", 400) from None
    if not decoded.startswith("/") or decoded.endswith(("/..", "/.")) or any(part in decoded for part in _FORBIDDEN_IN_PATH):
        raise RefusedError("The path has empty, dot or otherwise ambiguous segments.", "ambiguous_path", 400)
    return decoded


_cached_path = lru_cache(maxsize=4096)(_decoded_path)


def _client(peer: str, headers: Headers, trusted: tuple[Network, ...]) -> str:
    """The right-most address that no trusted proxy vouches for; the peer itself unless it is trusted."""
    if not trusts(peer, trusted):
        return peer
    hops = [hop.strip() for name, value in headers if name == b"x-forwarded-for" for hop in value.decode("latin-1").split(",")]
    for hop in reversed(hops):
        if not trusts(hop, trusted):
            return hop if _is_address(hop) else peer
    return hops[0] if hops and _is_address(hops[0]) else peer


def trusts(address: str, networks: tuple[Network, ...]) -> bool:
    return len(address) <= _ADDRESS_CHARS and _within(address, networks)


@lru_cache(maxsize=4096)
def _within(address: str, networks: tuple[Network, ...]) -> bool:
    found = parsed(address)
    return found is not None and any(found in network for network in networks)


def _is_address(text: str) -> bool:
    """A zone after `%` may be of any length, and means nothing to anybody but its own host."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def trace_context(traceparent: bytes | None, headers: Headers, sample: bool, trusted: bool = False) -> TraceContext:
    """W3C trace context: the caller's when it is well-formed, else a new one. Never an error. Whether it is sampled is for a trusted
    caller to say, and else for `sample`: a span costs."""
    fresh = os.urandom(24).hex()
    span_id = fresh[:16]
    parts = (traceparent or b"").decode("latin-1").split("-")
    if len(parts) < 4 or parts[0] == "ff" or (parts[0] == "00" and len(parts) != 4) or not _ids_valid(parts):
        return TraceContext(fresh[16:], span_id, sample)
    state = ",".join(value.decode("latin-1") for name, value in headers if name == b"tracestate")
    return TraceContext(parts[1], span_id, bool(int(parts[3][:2], 16) & 1) if trusted else sample, state[:512], parts[2])


def _ids_valid(parts: Sequence[str]) -> bool:
    lengths = (2, 32, 16, 2)
    shapes = all(len(part) == length and not part.strip("0123456789abcdef") for part, length in zip(parts, lengths, strict=False))
    return shapes and parts[1].strip("0") != "" and parts[2].strip("0") != ""
