"""Signatures of bundles as OPA has them: `.signatures.json` holds one JWT over the digests of all files. Asymmetric algorithms only: with a
shared secret whoever can verify could sign."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry, deserialize_compact, serialize_compact
from joserfc.util import urlsafe_b64decode

from router.bundle.documents import DEFAULT_HASH, SIGNATURES, file_digest, read_document
from router.errors import BundleError

ALGORITHMS = ("ES256", "ES384", "RS256", "PS256", "EdDSA")
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
MAX_PAYLOAD = 10 << 20
UNSIGNED, WRONG, UNUSABLE_KEY = "bundle_unsigned", "bundle_signature_wrong", "bundle_key_unusable"


class _Registry(JWSRegistry):
    max_header_length = 4096
    max_payload_length = MAX_PAYLOAD

    def get_alg(self, name: str) -> JWSAlgModel:
        """The library's own check without its warning about the name EdDSA, which is OPA's."""
        if name not in (self.allowed or ()):
            raise UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
        return self.algorithms[name]


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """`algorithm` is the only one that is accepted with this key; `scope` what the signature's own must be."""

    key: Key
    algorithm: str
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signed, and what: (algorithm, digest) by file."""

    key_id: str
    algorithm: str
    files: Mapping[str, tuple[str, str]]


def verification_key(pem: bytes, algorithm: str | None, scope: str, where: str) -> VerificationKey:
    """Without an algorithm, the one that is usual for such a key. Raises BundleError `bundle_key_unusable`; `where` begins its sentence."""
    try:
        read = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BundleError(f"{where} is not a PEM public key.", UNUSABLE_KEY) from None
    chosen = algorithm or _usual(read)
    _check_fits(read, chosen, where)
    return VerificationKey(_as_jose(read, pem), chosen, scope)


def signing_key(pem: bytes, algorithm: str | None, where: str) -> tuple[Key, str]:
    """The key, and the algorithm: without one, that which is usual for such a key. Raises BundleError `bundle_key_unusable`."""
    try:
        read = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BundleError(f"{where} is not an unencrypted PEM private key.", UNUSABLE_KEY) from None
    chosen = algorithm or _usual(read)
    _check_fits(read, chosen, where)
    return _as_jose(read, pem), chosen


def sign(files: Mapping[str, bytes], key: Key, algorithm: str, key_id: str, scope: str = "") -> bytes:
    """The content of `.signatures.json` for files that do not have it yet."""
    listed = [{"algorithm": DEFAULT_HASH, "hash": file_digest(name, files[name]), "name": name} for name in sorted(files)]
    payload = {"files": listed, "keyid": key_id, **({"scope": scope} if scope else {})}
    registry = _Registry(algorithms=[algorithm])
    token = serialize_compact({"alg": algorithm, "kid": key_id}, json.dumps(payload).encode(), key, registry=registry)
    return json.dumps({"signatures": [token]}, indent=1).encode()


def verify(files: Mapping[str, bytes], keys: Mapping[str, VerificationKey]) -> Signed:
    """Raises BundleError: `bundle_unsigned`, or `bundle_signature_wrong` with what does not hold."""
    # 1. Exactly one token, and by what it says of itself the key that must have made it.
    token = _token(files)
    header = _header(token)
    key_id = header.get("kid")
    key = keys.get(key_id) if isinstance(key_id, str) else None
    if key is None or not isinstance(key_id, str):
        raise BundleError(f"The bundle is signed with a key that is not configured: {str(key_id)[:80]!r}.", WRONG)
    # 2. That key's own algorithm, whatever the token asks for, and a signature over these very bytes.
    if header.get("alg") != key.algorithm:
        raise BundleError(f"The bundle's signature has another algorithm than {key.algorithm}, which is the key '{key_id}''s own.", WRONG)
    if "crit" in header:
        raise BundleError("The bundle's signature asks for something that is not known here.", WRONG)
    payload = _payload(token, key)
    # 3. Only now is anything of it believed: made for us, and for these files, all of them.
    if payload.get("scope", "") != key.scope:
        raise BundleError(f"The bundle was signed for another scope than that of the key '{key_id}'.", WRONG)
    listed = _listed(payload)
    _check_files(files, listed)
    return Signed(key_id, key.algorithm, listed)


def described(files: Mapping[str, bytes]) -> dict[str, Any] | None:
    """What the signature says of itself, which nobody has verified; None without one. Raises BundleError."""
    if SIGNATURES not in files:
        return None
    header = _header(_token(files))
    return {"key_id": header.get("kid"), "algorithm": header.get("alg")}


def _token(files: Mapping[str, bytes]) -> str:
    if SIGNATURES not in files:
        raise BundleError("The bundle is not signed, and only signed ones are accepted.", UNSIGNED)
    document = read_document(SIGNATURES, files[SIGNATURES])
    tokens = document.get("signatures") if isinstance(document, dict) else None
    if not isinstance(tokens, list) or len(tokens) != 1 or not isinstance(tokens[0], str):
        raise BundleError("The bundle's '.signatures.json' must hold exactly one signature.", WRONG)
    if document.keys() - {"signatures", "plugin"} or document.get("plugin") not in (None, "", "_default"):
        raise BundleError("The bundle is signed in a way that is not known here.", WRONG)
    return tokens[0]


def _header(token: str) -> dict[str, Any]:
    try:
        header = json.loads(urlsafe_b64decode(token.partition(".")[0].encode()))
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise BundleError("The bundle's signature is no JSON Web Token.", WRONG)
    return header


def _payload(token: str, key: VerificationKey) -> dict[str, Any]:
    try:
        read = deserialize_compact(token, key.key, registry=_Registry(algorithms=[key.algorithm], strict_check_header=False))
        payload = json.loads(read.payload)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise BundleError(
            "The bundle's signature does not verify: it was made by somebody else, or something was changed.", WRONG
        ) from error
    if not isinstance(payload, dict):
        raise BundleError("The bundle's signature says nothing about files.", WRONG)
    return payload


def _listed(payload: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    files = payload.get("files")
    found: dict[str, tuple[str, str]] = {}
    for each in files if isinstance(files, list) else [None]:
        name, algorithm, digest = (each.get(key) for key in ("name", "algorithm", "hash")) if isinstance(each, dict) else (None, None, None)
        if not isinstance(name, str) or not isinstance(algorithm, str) or not isinstance(digest, str) or name in found:
            raise BundleError("The bundle's signature does not list each file once with its digest.", WRONG)
        found[name] = (algorithm, digest)
    return found


def _check_files(files: Mapping[str, bytes], listed: Mapping[str, tuple[str, str]]) -> None:
    signed: Sequence[str] = [name for name in files if name != SIGNATURES]
    _none([name for name in listed if name not in signed], "was signed with the file '{}', which is not in it")
    _none([name for name in signed if name not in listed], "has the file '{}', which was not there when it was signed")
    for name in signed:
        algorithm, digest = listed[name]
        if file_digest(name, files[name], algorithm) != digest.lower():
            raise BundleError(f"The bundle's file '{name}' was changed after it was signed.", WRONG)


def _none(names: Sequence[str], sentence: str) -> None:
    if names:
        raise BundleError(f"The bundle {sentence.format(min(names)[:80])}.", WRONG)


def _usual(key: object) -> str:
    if isinstance(key, Ed25519PrivateKey | Ed25519PublicKey):
        return "EdDSA"
    if isinstance(key, EllipticCurvePrivateKey | EllipticCurvePublicKey):
        return "ES384" if isinstance(key.curve, SECP384R1) else "ES256"
    return "RS256"


def _check_fits(key: object, algorithm: str, where: str) -> None:
    fits = algorithm in ALGORITHMS and (
        (algorithm == "EdDSA" and isinstance(key, Ed25519PrivateKey | Ed25519PublicKey))
        or (algorithm == "ES256" and _on(key, SECP256R1))
        or (algorithm == "ES384" and _on(key, SECP384R1))
        or (algorithm in ("RS256", "PS256") and isinstance(key, RSAPrivateKey | RSAPublicKey))
    )
    if not fits:
        raise BundleError(f"{where} is not a key for {algorithm}.", UNUSABLE_KEY)
    if isinstance(key, RSAPrivateKey | RSAPublicKey) and not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise BundleError(f"{where} must have between {MIN_RSA_BITS} and {MAX_RSA_BITS} bits.", UNUSABLE_KEY)


def _on(key: object, curve: type) -> bool:
    return isinstance(key, EllipticCurvePrivateKey | EllipticCurvePublicKey) and isinstance(key.curve, curve)


def _as_jose(key: object, pem: bytes) -> Key:
    if isinstance(key, RSAPrivateKey | RSAPublicKey):
        return RSAKey.import_key(pem)
    return OKPKey.import_key(pem) if isinstance(key, Ed25519PrivateKey | Ed25519PublicKey) else ECKey.import_key(pem)
