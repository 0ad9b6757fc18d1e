"""Signatures of Standard Webhooks (https://www.standardwebhooks.com): `v1` is HMAC-SHA256, `v1a` Ed25519, over id, time and body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from router.errors import ConfigError
from router.secret import Secret

SYMMETRIC, PRIVATE = "whsec_", "whsk_"
LEAST, MOST = 24, 64  # bytes of a symmetric secret, says the specification
SEED, SEED_AND_PUBLIC = 32, 64
Sign = Callable[[bytes], str]


def signer(secret: str) -> Sign:
    """Raises ValueError with one sentence that does not have the secret."""
    if secret.startswith(SYMMETRIC):
        key = _decoded(secret.removeprefix(SYMMETRIC))
        if not LEAST <= len(key) <= MOST:
            raise ValueError(f"has {len(key)} bytes; a whsec_ secret has {LEAST} to {MOST}")
        return lambda content: "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    if secret.startswith(PRIVATE):
        private = _private(_decoded(secret.removeprefix(PRIVATE)))
        return lambda content: "v1a," + base64.b64encode(private.sign(content)).decode()
    raise ValueError("must begin with whsec_ (HMAC-SHA256) or whsk_ (Ed25519)")


def _private(key: bytes) -> Ed25519PrivateKey:
    """A seed, alone or with the public key behind it, as libsodium keeps it."""
    if len(key) not in (SEED, SEED_AND_PUBLIC):
        raise ValueError(f"has {len(key)} bytes; a whsk_ key has {SEED}, or {SEED_AND_PUBLIC} with its public key")
    private = Ed25519PrivateKey.from_private_bytes(key[:SEED])
    if len(key) == SEED_AND_PUBLIC and private.public_key().public_bytes_raw() != key[SEED:]:
        raise ValueError("has a public key that does not belong to it")
    return private


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is no base64 behind its prefix") from None


class Signing:
    """All secrets sign, so that a receiver finds its own whichever of them it knows: that is how they are exchanged. Files are looked at
    for every message; one that cannot be read leaves the former secret."""

    def __init__(self, secrets: Sequence[Secret], root: Path) -> None:
        self._secrets = secrets
        self._root = root
        self._signers: list[tuple[str, Sign] | None] = [None] * len(secrets)

    def open(self) -> None:
        """Raises ConfigError."""
        for place, secret in enumerate(self._secrets):
            self._signers[place] = self._read(place, secret)

    def headers(self, message_id: str, seconds: int, body: bytes) -> dict[str, str]:
        content = f"{message_id}.{seconds}.".encode() + body
        self._again()
        signatures = [known[1](content) for known in self._signers if known is not None]
        made = {"webhook-id": message_id, "webhook-timestamp": str(seconds)}
        return made | ({"webhook-signature": " ".join(signatures)} if signatures else {})

    def _again(self) -> None:
        for place, secret in enumerate(self._secrets):
            if secret.file is not None:
                try:
                    self._signers[place] = self._read(place, secret)
                except ConfigError:
                    continue

    def _read(self, place: int, secret: Secret) -> tuple[str, Sign]:
        text, known = secret.reveal(self._root).strip(), self._signers[place]
        if known is not None and known[0] == text:
            return known
        try:
            return text, signer(text)
        except ValueError as error:
            raise ConfigError(f"the webhook's secret number {place + 1} {error}") from None
