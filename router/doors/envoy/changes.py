"""What Envoy has to change in a request so that the upstream gets what our own gateway would have sent it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from router.ports import Headers, Outbound

# Connections and framing are Envoy's; it also appends its own hop to these two.
_ENVOYS = frozenset(
    (
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-forwarded-for",
        b"x-forwarded-proto",
    )
)
_ENVOY_PREFIX = b"x-envoy-"


@dataclass(frozen=True, slots=True)
class Changes:
    """`set` replaces every field of these names. `body`: None where it stays as it came."""

    set: Headers
    remove: tuple[bytes, ...]
    body: bytes | None = None


def changes(came: Headers, body: bytes, outbound: Outbound) -> Changes:
    """`came` with Envoy's pseudo-fields, `body` as Envoy holds it."""
    before, after = _grouped(came), _grouped(outbound.headers)
    wanted: Headers = []
    for name, values in after.items():
        if before.get(name) != values:
            wanted += [(name, value) for value in values]
    remove = tuple(name for name in before if name not in after and not name.startswith(b":"))
    pseudo = {name: value for name, value in came if name.startswith(b":")}
    for name, text in ((b":path", outbound.target), (b":method", outbound.method)):
        if pseudo.get(name) != (value := text.encode("latin-1")):
            wanted.append((name, value))
    changed = outbound.body if isinstance(outbound.body, bytes) and outbound.body != body else None
    return Changes(wanted, remove, changed)


def lost(names: Iterable[str]) -> str | None:
    """The first of these fields that Envoy would never hear of, since it writes them itself."""
    return next((name for name in names if _is_envoys(name.encode())), None)


def _is_envoys(name: bytes) -> bool:
    return name in _ENVOYS or name.startswith(_ENVOY_PREFIX)


def _grouped(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if not _is_envoys(name):
            found.setdefault(name, []).append(value)
    return found
