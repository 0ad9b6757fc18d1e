"""The personal half of a record: salted commitments for the leaf, ciphertext to lie beside it.

Every personal field is a string. Its commitment is SHA-256(salt ‖ UTF-8 value) with salt = HMAC-SHA256(subject key, id ‖ 0x00 ‖ field),
in lower-case hex. All fields together, as one JSON object, are sealed with AES-256-GCM under the same key: one version byte, a 12-byte
nonce, then ciphertext and tag; the associated data is `schema ‖ 0x00 ‖ id`. Destroying the subject's key thus takes salts and text at once.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from router.errors import AuditError

VERSION = b"\x01"
_NONCE = 12
_BLOCK = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


def as_text(value: Any) -> str:
    """A structure as the string that is committed to and sealed. Never fails: what JSON cannot say is said as `str` does."""
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # an integer beyond 64 bits, or a lone surrogate
        return json.dumps(value, default=_plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def commit(key: bytes, record_id: str, fields: Mapping[str, str]) -> dict[str, str]:
    """HMAC (RFC 2104) by hand: the key's two blocks are hashed once for all fields of a record, which halves the cost of a record."""
    block = key.ljust(_BLOCK, b"\x00")
    inner = sha256(block.translate(_INNER))
    inner.update(record_id.encode() + b"\x00")
    outer = sha256(block.translate(_OUTER))
    found: dict[str, str] = {}
    for name, value in fields.items():
        within, around = inner.copy(), outer.copy()
        within.update(name.encode())
        around.update(within.digest())
        found[name] = sha256(around.digest() + value.encode()).hexdigest()
    return found


def salt(key: bytes, record_id: str, name: str) -> bytes:
    """Opens one field's commitment to whoever is told it with the value, and nothing else that the key opens."""
    return hmac.digest(key, f"{record_id}\x00{name}".encode(), "sha256")


def seal(key: bytes, schema: str, record_id: str, fields: Mapping[str, str]) -> bytes:
    nonce = os.urandom(_NONCE)
    return VERSION + nonce + AESGCM(key).encrypt(nonce, orjson.dumps(fields), associated_data(schema, record_id))


def unseal(key: bytes, schema: str, record_id: str, sealed: bytes) -> dict[str, str]:
    if sealed[:1] != VERSION:
        raise AuditError("The personal part of this record has an unknown form.", "sealed_unreadable")
    try:
        plain = AESGCM(key).decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], associated_data(schema, record_id))
    except (InvalidTag, ValueError) as error:
        raise AuditError("The personal part of this record does not open with its subject's key.", "sealed_unreadable") from error
    fields: dict[str, str] = orjson.loads(plain)
    return fields


def sealed_digest(key_id: str, sealed: bytes) -> str:
    """Stands in the leaf, so that exchanging the sealed part is noticed without any key. Ciphertext is random: nothing to guess."""
    return sha256(key_id.encode() + b"\x00" + sealed).hexdigest()


def encodable(fields: Mapping[str, str]) -> dict[str, str]:
    """Lone surrogates, which UTF-8 cannot say, become `\\udc80` escapes."""
    return {name: value.encode("utf-8", "backslashreplace").decode() for name, value in fields.items()}


def associated_data(schema: str, record_id: str) -> bytes:
    return f"{schema}\x00{record_id}".encode()
