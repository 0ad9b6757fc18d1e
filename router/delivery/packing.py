"""A delivery's content as bytes, sealed under its subject's key and bound to what the delivery is."""

from __future__ import annotations

from router.errors import ReviewError
from router.ports import Due, Held, Outbound
from router.review.packing import open_value, pack_held, seal_value, unpack_held


def seal_outbound(key: bytes, outbound: Outbound, delivery_id: str, route: str, destination: str) -> bytes:
    """Raises ReviewError `body_truncated` for a body that was not read whole."""
    if not isinstance(outbound.body, bytes):
        raise ReviewError("Only a request whose body was read whole can be delivered later.", "body_truncated")
    request = [outbound.method, outbound.target, outbound.headers, outbound.body, outbound.idempotent, outbound.idempotency_key]
    return seal_value(key, request, _bound(Due.DISPATCH, delivery_id, route, destination))


def open_outbound(key: bytes, sealed: bytes, delivery_id: str, route: str, destination: str) -> Outbound:
    """Raises ReviewError `content_changed` where it is not what was sealed for this delivery."""
    opened = open_value(key, sealed, _bound(Due.DISPATCH, delivery_id, route, destination))
    method, target, headers, body, idempotent, own_key = opened
    return Outbound(method, target, [(name, value) for name, value in headers], body, idempotent, own_key)


def seal_held(key: bytes, held: Held) -> bytes:
    return seal_value(key, pack_held(held), _bound(Due.HOLD, held.decision_id, held.route, held.destination))


def open_held(key: bytes, sealed: bytes, delivery_id: str, route: str, destination: str) -> Held:
    """Raises as `open_outbound`."""
    return unpack_held(open_value(key, sealed, _bound(Due.HOLD, delivery_id, route, destination)))


def _bound(due: Due, delivery_id: str, route: str, destination: str) -> bytes:
    return b"\x00".join((b"lockgate.delivery.v1", due.value.encode(), delivery_id.encode(), route.encode(), destination.encode()))
