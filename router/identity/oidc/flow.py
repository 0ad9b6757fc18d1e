"""One attempt to sign in at a provider, as long as it lasts: everything about it comes from 256 random bits that only the browser holds, so
that any node can finish what another has begun, and nobody can in another browser."""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest

from router.errors import IdentityError

GOOD_S = 600
SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
STATE = re.compile(r"(\d{1,12})\.([na])\.[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Flow:
    """`began` is Unix time in seconds; `again` asks the provider whether what it said still holds, without showing anything."""

    secret: str
    began: int
    again: bool = False

    @property
    def state(self) -> str:
        told = f"{self.began}.{'a' if self.again else 'n'}"
        return f"{told}.{self._derived('state ' + told)}"

    @property
    def nonce(self) -> str:
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """RFC 7636 §4.1; only the provider's token endpoint ever sees it."""
        return self._derived("verifier")

    @property
    def challenge(self) -> str:
        return _base64(sha256(self.verifier.encode()).digest())

    def _derived(self, what: str) -> str:
        return _base64(hmac_digest(self.secret.encode(), f"lockgate {what}".encode(), "sha256"))


def begin(now_s: int, *, again: bool) -> Flow:
    return Flow(secrets.token_urlsafe(32), now_s, again)


def resumed(secret: str | None, state: str, now_s: int) -> Flow:
    """What the provider's answer belongs to. Raises IdentityError `sign_in_state_unknown`."""
    told = STATE.fullmatch(state)
    if secret is None or SECRET.fullmatch(secret) is None or told is None:
        raise _unknown()
    flow = Flow(secret, int(told[1]), told[2] == "a")
    if not compare_digest(flow.state, state) or not 0 <= now_s - flow.began < GOOD_S:
        raise _unknown()
    return flow


def _unknown() -> IdentityError:
    message = "This browser began no such sign-in, began another one since, or took longer than ten minutes; begin again."
    return IdentityError(message, "sign_in_state_unknown", 403)


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
