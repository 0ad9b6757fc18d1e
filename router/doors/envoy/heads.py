"""What Envoy says of a request, as the scope from which every HTTP door reads its head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from router.errors import RefusedError
from router.ports import Headers

GRPC = b"application/grpc"
EVENTS = b"text/event-stream"
NO_SOURCE = "Envoy does not say where the request came from; its filter needs `request_attributes: [source.address]`."


class Field(Protocol):
    """`envoy.config.core.v3.HeaderValue`: bytes in `raw_value`, in older versions and in ext_authz text in `value`."""

    @property
    def key(self) -> str: ...

    @property
    def value(self) -> str: ...

    @property
    def raw_value(self) -> bytes: ...


def fields(headers: Sequence[Field]) -> Headers:
    """Names are lower case, as HTTP/2 and Envoy have them."""
    return [(each.key.encode("latin-1", "replace"), each.raw_value or each.value.encode("utf-8", "replace")) for each in headers]


def scope(headers: Headers, source: str) -> dict[str, Any]:
    """`source` is the address of Envoy's caller, with or without its port. Raises RefusedError where the request or its source is not
    whole, which is a fault of Envoy's configuration."""
    if not source:
        raise RefusedError(NO_SOURCE, "envoy_source_missing", 500)
    pseudo = {name: value for name, value in headers if name.startswith(b":")}
    raw_path, _, query = pseudo.get(b":path", b"").partition(b"?")
    own = [(name, value) for name, value in headers if not name.startswith(b":") and name != b"host"]
    if b":authority" in pseudo:
        own.insert(0, (b"host", pseudo[b":authority"]))
    return {
        "type": "http",
        "http_version": "1.1",
        "method": pseudo.get(b":method", b"").decode("latin-1"),
        "scheme": pseudo.get(b":scheme", b"http").decode("latin-1"),
        "raw_path": raw_path,
        "query_string": query,
        "headers": own,
        "client": (address(source), 0),
    }


def address(source: str) -> str:
    """`192.0.2.1:443`, `[2001:db8::1]:443` or either without a port."""
    if source.startswith("["):
        return source[1:].partition("]")[0]
    return source.rpartition(":")[0] if source.count(":") == 1 else source


def is_upgrade(headers: Headers) -> bool:
    """A WebSocket: also over HTTP/2, where Envoy shows an extended CONNECT to its filters as an upgrade."""
    return any(name == b"upgrade" and value.strip().lower() == b"websocket" for name, value in headers)


def is_grpc(headers: Headers) -> bool:
    """A stream of messages, whose end may never come."""
    return any(name == b"content-type" and value[: len(GRPC)].lower() == GRPC for name, value in headers)


def is_of_events(headers: Headers) -> bool:
    """An answer that is a stream of events, or a request for one."""
    return any(name in (b"content-type", b"accept") and EVENTS in value.lower() for name, value in headers)
