"""A held request as bytes: for the way to the control process, and for the seal that it is stored under."""

from __future__ import annotations

import os

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from router.errors import ReviewError
from router.ports import Held, Outbound

VERSION = b"\x01"
_NONCE = 12
_HELD_FIELDS = Held.__slots__


def pack_held(held: Held) -> bytes:
    packed: bytes = msgpack.packb([getattr(held, name) for name in _HELD_FIELDS])
    return packed


def unpack_held(packed: bytes) -> Held:
    return Held(**dict(zip(_HELD_FIELDS, msgpack.unpackb(packed), strict=True)))


def seal_outbound(key: bytes, outbound: Outbound, decision_id: str, content_digest: str) -> bytes:
    """AES-256-GCM under the subject's key, bound to the decision and to the digest that an approval names. Raises ReviewError for a body
    that was not read whole."""
    if not isinstance(outbound.body, bytes):
        raise ReviewError("Only a request whose body was read whole can be held.", "body_truncated")
    plain = msgpack.packb(
        [outbound.method, outbound.target, outbound.headers, outbound.body, outbound.idempotent, outbound.idempotency_key]
    )
    nonce = os.urandom(_NONCE)
    return VERSION + nonce + AESGCM(key).encrypt(nonce, plain, _bound_to(decision_id, content_digest))


def open_outbound(key: bytes, sealed: bytes, decision_id: str, content_digest: str) -> Outbound:
    """Raises ReviewError `content_changed` where it is not what was sealed for this decision and digest."""
    try:
        if sealed[:1] != VERSION:
            raise ValueError("unknown form")
        plain = AESGCM(key).decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], _bound_to(decision_id, content_digest))
    except (InvalidTag, ValueError) as error:
        raise ReviewError("The held request is not the one that was stored for this decision.", "content_changed") from error
    method, target, headers, body, idempotent, key_of_caller = msgpack.unpackb(plain)
    return Outbound(method, target, [(name, value) for name, value in headers], body, idempotent, key_of_caller)


def _bound_to(decision_id: str, content_digest: str) -> bytes:
    return f"lockgate.held.v1\x00{decision_id}\x00{content_digest}".encode()
