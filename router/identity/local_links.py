"""Links that sign in an administrator of this machine: made by who can read the workspace's key material, used once, good for minutes.

A token is 16 random bytes, the second from which on it is worth nothing (8 bytes), and an HMAC-SHA256 over both under a key that is
derived from the sealing key, so that no list of tokens has to be kept and any process with that key can make one.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hmac import compare_digest
from hmac import digest as hmac_digest

from router.errors import IdentityError
from router.ports import Clock

GOOD_S = 900
SECOND = 1_000_000_000
LENGTH = 16 + 8 + 32
PATH = "/console/sign-in/local"


class LocalLinks:
    """`key` is the sealing key, which is not used itself."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = hmac_digest(key, b"lockgate console link 1", "sha256")
        self._clock = clock

    def token(self) -> str:
        told = secrets.token_bytes(16) + (self._clock.now_ns() // SECOND + GOOD_S).to_bytes(8, "big")
        return urlsafe_b64encode(told + self._mac(told)).rstrip(b"=").decode()

    def check(self, token: str) -> tuple[bytes, int]:
        """The mark that is to be spent, and until when (Unix nanoseconds) nobody else may spend it. Raises IdentityError."""
        try:
            raw = urlsafe_b64decode(token.encode("ascii") + b"==")
        except ValueError:
            raw = b""
        if len(raw) != LENGTH or not compare_digest(raw[24:], self._mac(raw[:24])):
            raise IdentityError("The link is not one that this Lockgate made.", "sign_in_link_unknown", 403)
        until = int.from_bytes(raw[16:24], "big") * SECOND
        if self._clock.now_ns() >= until:
            raise spent()
        return raw[:16], until

    def _mac(self, told: bytes) -> bytes:
        return hmac_digest(self._key, told, "sha256")


def spent() -> IdentityError:
    message = "The link was used already, or is too old; `lockgate console link` prints another one."
    return IdentityError(message, "sign_in_link_spent", 403)
