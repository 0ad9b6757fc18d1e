"""The way in when the provider or the policy of the control API is broken: for who can read the sealing key, under an incident's id, for a
short while, and told to everybody who listens.

A token is 16 random bytes, the second from which on it is worth nothing (8 bytes), how many minutes the session lasts (2 bytes), the
incident's id, and an HMAC-SHA256 over all of it under a key that is derived from the sealing key.
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hmac import compare_digest
from hmac import digest as hmac_digest

from router.errors import IdentityError
from router.identity.local_links import GOOD_S, SECOND, spent
from router.ports import Clock, Session

PATH = "/console/sign-in/break-glass"
METHOD = "break_glass"
CASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")  # it goes into the ledger as it is, so nothing personal may fit
MOST_MINUTES = 240
HEAD, MAC = 26, 32


@dataclass(frozen=True, slots=True)
class Broken:
    """`mark` is spent by the first use, until `until_ns`."""

    mark: bytes
    until_ns: int
    minutes: int
    case: str


class BreakGlass:
    """`key` is the sealing key, which is not used itself."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = hmac_digest(key, b"lockgate break glass 1", "sha256")
        self._clock = clock

    def token(self, case: str, minutes: int) -> str:
        """Raises ValueError with a sentence."""
        if CASE.fullmatch(case) is None:
            raise ValueError("must be an incident's id of at most 40 letters, digits, '.', '_' and '-'")
        if not 1 <= minutes <= MOST_MINUTES:
            raise ValueError(f"must be 1 to {MOST_MINUTES} minutes")
        until = self._clock.now_ns() // SECOND + GOOD_S
        told = secrets.token_bytes(16) + until.to_bytes(8, "big") + minutes.to_bytes(2, "big") + case.encode()
        return urlsafe_b64encode(told + self._mac(told)).rstrip(b"=").decode()

    def check(self, token: str) -> Broken:
        """Raises IdentityError."""
        try:
            raw = urlsafe_b64decode(token.encode("ascii") + b"==")
        except ValueError:
            raw = b""
        told, mac = raw[:-MAC], raw[-MAC:]
        if not HEAD < len(told) <= HEAD + 40 or not compare_digest(mac, self._mac(told)):
            raise IdentityError("The link is not one that this Lockgate made.", "sign_in_link_unknown", 403)
        until = int.from_bytes(told[16:24], "big") * SECOND
        if self._clock.now_ns() >= until:
            raise spent()
        return Broken(told[:16], until, int.from_bytes(told[24:HEAD], "big"), told[HEAD:].decode())

    def _mac(self, told: bytes) -> bytes:
        return hmac_digest(self._key, told, "sha256")


def is_break_glass(session: Session) -> bool:
    """Whatever a provider says of how somebody signed in there."""
    return not session.issuer and session.methods == (METHOD,)
