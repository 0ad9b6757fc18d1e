"""A small identity provider for tests: real keys, real tokens, and a JWKS document."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from functools import cache
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from router.errors import IdentityError
from router.identity.issuer_keys import IssuerKeys
from router.identity.keyring import KeyRing, parse_ring
from router.identity.tokens import Issuer, TokenVerifier
from tests.unit.identity.parts import NOW, SECOND

ISSUER = "https://id.example"
NOW_S = NOW // SECOND


@cache
def rsa(kid: str = "r1", bits: int = 2048) -> RSAKey:
    return RSAKey.generate_key(bits, {"kid": kid}, private=True)


@cache
def ec(kid: str = "e1", curve: str = "P-256") -> ECKey:
    return ECKey.generate_key(curve, {"kid": kid}, private=True)


@cache
def ed(kid: str = "o1") -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": kid}, private=True)


def jwks(*keys: Key, **extra: Any) -> bytes:
    return json.dumps({"keys": [{**key.as_dict(private=False), **extra} for key in keys]}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    told = {"iss": ISSUER, "sub": "alice", "aud": "lockgate", "exp": NOW_S + 300, "iat": NOW_S, "roles": ["clerk"], **changes}
    return {name: value for name, value in told.items() if value is not None}


def token(key: Key | None = None, alg: str = "RS256", header: dict[str, Any] | None = None, **changes: Any) -> bytes:
    key = key or rsa()
    told = {"alg": alg, "kid": key.kid, **(header or {})}
    registry = JWSRegistry(algorithms=[alg], strict_check_header=False)
    return jwt.encode(
        {name: value for name, value in told.items() if value is not None}, claims(**changes), key, registry=registry
    ).encode()


class FixedKeys:
    def __init__(self, document: bytes) -> None:
        self._ring = parse_ring(document)

    def ring(self) -> KeyRing:
        return self._ring

    def missing(self) -> IdentityError:
        return IdentityError("unknown", "key_unknown")


def issuer(keys: IssuerKeys | None = None, **changes: Any) -> Issuer:
    told = {"name": ISSUER, "audiences": ("lockgate",), "algorithms": ("RS256", "ES256"), "leeway": 30, **changes}
    return Issuer(keys=keys or FixedKeys(jwks(rsa(), ec())), **told)


def verifier(keys: IssuerKeys | None = None, **changes: Any) -> TokenVerifier:
    return TokenVerifier([issuer(keys, **changes)])


def hmac_with_public_key() -> bytes:
    """The classic confusion: a token signed by HMAC with the issuer's public key as the secret."""
    head, payload = (urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=") for told in ({"alg": "HS256", "kid": "r1"}, claims()))
    signature = hmac.digest(rsa().as_pem(private=False), head + b"." + payload, "sha256")
    return b".".join((head, payload, urlsafe_b64encode(signature).rstrip(b"=")))
