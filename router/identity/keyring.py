"""An issuer's verification keys. Only public, asymmetric ones ever enter a ring."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key
from joserfc.util import base64_to_int

from router.errors import IdentityError

MAX_KEYS = 100
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192  # verifying gets slow with size, and the size is the publisher's choice
# Algorithm -> key type and curve it needs (RFC 7518, 8037, 9864). No symmetric algorithm and no `none` is in this table, so neither
# can be configured, and a public key can never be used as a shared secret: the key's own type must fit before it is used.
ALGORITHMS: Mapping[str, tuple[str, str | None]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """`alg` is the only algorithm that its publisher allows for it; None leaves every fitting one."""

    key: Key
    kid: str | None
    kind: tuple[str, str | None]
    alg: str | None

    def fits(self, algorithm: str) -> bool:
        return ALGORITHMS[algorithm] == self.kind and self.alg in (None, algorithm)


class KeyRing:
    """An immutable set; a new document makes a new ring, so identity tells whether keys changed."""

    def __init__(self, keys: list[VerificationKey]) -> None:
        self._keys = tuple(keys)

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """The key with that id; a token without `kid` is served only where exactly one key fits its algorithm.
        Raises IdentityError when the key is there but not made for the algorithm."""
        if kid is None:
            fitting = [key for key in self._keys if key.fits(algorithm)]
            return fitting[0] if len(fitting) == 1 else None
        named = [key for key in self._keys if key.kid == kid]
        if not named:
            return None
        fitting = [key for key in named if key.fits(algorithm)]
        if not fitting:
            raise IdentityError("The token's algorithm does not fit its key.", "algorithm_refused")
        return fitting[0]


def parse_ring(document: bytes) -> KeyRing:
    """RFC 7517 §5: keys that are not understood are left out. Raises ValueError with a sentence when nothing usable remains."""
    try:
        told = json.loads(document)
    except (ValueError, RecursionError):
        raise ValueError("the key set is not JSON") from None
    listed = told.get("keys") if isinstance(told, dict) else None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise ValueError(f"the key set must be an object with a list 'keys' of at most {MAX_KEYS}")
    keys = [key for key in map(_key, listed) if key is not None]
    if not keys:
        raise ValueError("the key set holds no key that can verify signatures")
    return KeyRing(keys)


def _key(told: Any) -> VerificationKey | None:
    if not isinstance(told, dict) or told.get("use", "sig") != "sig" or "verify" not in told.get("key_ops", ["verify"]):
        return None
    kind = next((kind for kind in ALGORITHMS.values() if kind == (told.get("kty"), told.get("crv"))), None)
    if kind is None:
        return None
    kid, alg = told.get("kid"), told.get("alg")
    if not isinstance(kid, str | None) or not (alg is None or alg in ALGORITHMS):
        return None
    try:
        if kind[0] == "RSA" and not MIN_RSA_BITS <= base64_to_int(told["n"]).bit_length() <= MAX_RSA_BITS:
            return None
        key = JWKRegistry.import_key(_public(told))
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return VerificationKey(key, kid, kind, alg)


def _public(told: dict[str, Any]) -> dict[str, Any]:
    """The public half only, should somebody publish more."""
    return {name: told[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in told}
