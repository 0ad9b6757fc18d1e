"""Bearer tokens: signed JWTs (RFC 7519) of configured issuers, checked after the best current practices of RFC 8725."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jws import JWSRegistry, deserialize_compact

from router.decision import Subject
from router.errors import ConfigError, IdentityError
from router.identity.claims import ClaimNames, subject
from router.identity.issuer_keys import IssuerKeys
from router.identity.keyring import ALGORITHMS, KeyRing, VerificationKey

SECOND = 1_000_000_000
REMEMBERED = 10_000
MAX_NUMERIC_DATE = 1 << 53
COMPACT = re.compile(rb"([\w-]+)\.([\w-]+)\.[\w-]+", re.ASCII)
# RFC 9068 access tokens and plain JWTs; a logout, DPoP or security-event token must never pass for one (RFC 8725 §3.11).
TYPES = (None, "jwt", "at+jwt", "application/jwt", "application/at+jwt")


class _Registry(JWSRegistry):
    max_header_length = 8 * 1024  # some issuers put certificate chains there, which nobody here reads

    def get_alg(self, name: str) -> JWSAlgModel:
        """The library's own check without its warning about the name EdDSA, which issuers still write."""
        if name not in (self.allowed or ()):
            raise UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
        return self.algorithms[name]


@dataclass(frozen=True, slots=True)
class Issuer:
    """`audiences`: one of them must be in `aud`. `leeway` in seconds. Raises ConfigError for an algorithm that is not asymmetric."""

    name: str
    audiences: tuple[str, ...]
    keys: IssuerKeys
    algorithms: tuple[str, ...]
    leeway: float = 30
    claims: ClaimNames = field(default_factory=ClaimNames)
    subject_prefix: str = ""

    def __post_init__(self) -> None:
        refused = [name for name in self.algorithms if name not in ALGORITHMS]
        if refused or not self.algorithms:
            choice = ", ".join(sorted(ALGORITHMS))
            raise ConfigError(
                f"identity.jwt of {self.name}: algorithms must name one or more of {choice}; not {', '.join(refused) or 'none'}."
            )
        if not self.audiences or not all(self.audiences):
            raise ConfigError(f"identity.jwt of {self.name}: an audience is needed, or tokens made for other services would be accepted.")


@dataclass(frozen=True, slots=True)
class _Verified:
    subject: Subject
    issuer: Issuer
    ring: KeyRing
    until_ns: int


class TokenVerifier:
    """Remembers verified tokens until they expire or their issuer's keys change, so that a repeated one costs microseconds."""

    def __init__(self, issuers: Sequence[Issuer], remembered: int = REMEMBERED) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}
        if len(self._issuers) != len(issuers):
            raise ConfigError("identity.jwt: an issuer is configured twice.")
        self._registries = {issuer.name: _registry(issuer) for issuer in issuers}
        self._remembered: dict[bytes, _Verified] = {}
        self._most = remembered

    def verify(self, token: bytes, now_ns: int) -> Subject:
        """Raises IdentityError; KeysPendingError among them when the issuer must be asked first."""
        digest = sha256(token).digest()
        known = self._remembered.pop(digest, None)
        if known is None or now_ns >= known.until_ns or known.issuer.keys.ring() is not known.ring:
            known = self._check(token, now_ns)
            if len(self._remembered) >= self._most:
                del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = known  # last place: least recently used goes first
        return known.subject

    def _check(self, token: bytes, now_ns: int) -> _Verified:
        # 1. Read without trust: header and issuer only choose whose rules apply.
        header, payload = _read(token)
        issuer = self._issuer(payload)
        ring, until_ns = _believed(token, header, payload, issuer, self._registries[issuer.name], now_ns, TYPES)
        return _Verified(subject(payload, issuer.claims, issuer.subject_prefix), issuer, ring, until_ns)

    def _issuer(self, payload: Mapping[str, Any]) -> Issuer:
        name = payload.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise IdentityError("The token's issuer is not trusted here.", "issuer_unknown")
        return issuer


def verified_claims(token: bytes, issuer: Issuer, now_ns: int, types: tuple[str | None, ...]) -> dict[str, Any]:
    """Of one token of this very issuer, whose `typ` is one of `types`: lower case, None for none. Raises IdentityError; KeysPendingError
    among them when the issuer must be asked first."""
    header, payload = _read(token)
    if payload.get("iss") != issuer.name:
        raise IdentityError("The token's issuer is not the one that was asked.", "issuer_unknown")
    _believed(token, header, payload, issuer, _registry(issuer), now_ns, types)
    return payload


def _believed(
    token: bytes,
    header: Mapping[str, Any],
    payload: Mapping[str, Any],
    issuer: Issuer,
    registry: JWSRegistry,
    now_ns: int,
    types: tuple[str | None, ...],
) -> tuple[KeyRing, int]:
    """Which keys verified it, and until when it holds."""
    # 2. The algorithm is one the issuer may use, nothing critical is unknown, and it is a token of the wanted kind.
    algorithm = _algorithm(header, issuer, types)
    # 3. The key is the issuer's, named by the token, and made for that algorithm.
    ring = issuer.keys.ring()
    key = _signing_key(ring, header, algorithm, issuer)
    # 4. The signature covers exactly the bytes read in step 1.
    _verify_signature(token, key, registry)
    # 5. Only now are the claims believed: audience, then times.
    _check_audience(payload, issuer)
    return ring, _check_times(payload, issuer, now_ns)


def _registry(issuer: Issuer) -> JWSRegistry:
    # Unknown header members are ignored as RFC 7515 §4 says; the critical ones are refused in _algorithm.
    return _Registry(algorithms=list(issuer.algorithms), strict_check_header=False)


def _read(token: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    # Python's decoder skips what is not base64url; a token must have one reading only.
    parts = COMPACT.fullmatch(token)
    if parts is None:
        raise IdentityError("The token is malformed.", "credential_malformed")
    return _object(parts[1]), _object(parts[2])


def _object(part: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise IdentityError("The token is malformed.", "credential_malformed")
    return told


def _algorithm(header: Mapping[str, Any], issuer: Issuer, types: tuple[str | None, ...]) -> str:
    algorithm, kind = header.get("alg"), header.get("typ")
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
        raise IdentityError("The token's signature algorithm is not accepted.", "algorithm_refused")
    if "crit" in header or "b64" in header:
        raise IdentityError("The token demands an extension that is not understood.", "credential_malformed")
    if (kind.lower() if isinstance(kind, str) else kind) not in types:
        raise IdentityError("The token is of another kind than is wanted here.", "credential_malformed")
    return algorithm


def _signing_key(ring: KeyRing, header: Mapping[str, Any], algorithm: str, issuer: Issuer) -> VerificationKey:
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise IdentityError("The token is malformed.", "credential_malformed")
    key = ring.find(kid, algorithm)
    if key is None:
        raise issuer.keys.missing()
    return key


def _verify_signature(token: bytes, key: VerificationKey, registry: JWSRegistry) -> None:
    try:
        deserialize_compact(token, key.key, registry=registry)
    except (JoseError, ValueError) as error:
        raise IdentityError("The token's signature is wrong.", "signature_invalid") from error


def _check_audience(payload: Mapping[str, Any], issuer: Issuer) -> None:
    told = payload.get("aud")
    audiences = [told] if isinstance(told, str) else told
    if not isinstance(audiences, list) or not any(one in issuer.audiences for one in audiences):
        raise IdentityError("The token is meant for another audience.", "audience_mismatch")


def _check_times(payload: Mapping[str, Any], issuer: Issuer, now_ns: int) -> int:
    """Until when the token holds, leeway included (ns)."""
    leeway = int(issuer.leeway * SECOND)
    expires, starts, issued = (_time(payload, name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        raise IdentityError("The token's claim 'exp' is missing.", "claims_invalid")
    if now_ns >= expires + leeway:
        raise IdentityError("The token has expired.", "token_expired")
    if max(starts or 0, issued or 0) > now_ns + leeway:
        raise IdentityError("The token is not valid yet.", "token_not_yet_valid")
    return expires + leeway


def _time(payload: Mapping[str, Any], name: str) -> int | None:
    value = payload.get(name)
    if value is None:
        return None
    # NaN fails both comparisons, and bool is an int in Python only.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MAX_NUMERIC_DATE:
        raise IdentityError(f"The token's claim '{name}' is not a time.", "claims_invalid")
    return int(value * SECOND)
