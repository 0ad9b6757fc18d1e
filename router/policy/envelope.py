"""Signed statements as software supply chains have them: an in-toto Statement in a DSSE envelope (secure-systems-lab/dsse, v1).

The envelope signs the statement's very bytes together with their type, so that nothing has to be written in a canonical form again.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, SECP384R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from router.errors import AuditError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
INVALID, UNUSABLE = "report_invalid", "report_key_unusable"
KINDS = "Ed25519, or ECDSA on P-256 or P-384"
PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey
PublicKey = Ed25519PublicKey | EllipticCurvePublicKey


def private_key(pem: bytes, where: str) -> PrivateKey:
    """Raises AuditError `report_key_unusable`; `where` begins its sentence."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise AuditError(f"{where} is not an unencrypted PEM private key.", UNUSABLE) from None
    if not isinstance(key, Ed25519PrivateKey) and not (isinstance(key, EllipticCurvePrivateKey) and _hash(key) is not None):
        raise AuditError(f"{where} is not a key for {KINDS}.", UNUSABLE)
    return key


def public_key(pem: bytes, where: str) -> PublicKey:
    """As `private_key`."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise AuditError(f"{where} is not a PEM public key.", UNUSABLE) from None
    if not isinstance(key, Ed25519PublicKey) and not (isinstance(key, EllipticCurvePublicKey) and _hash(key) is not None):
        raise AuditError(f"{where} is not a key for {KINDS}.", UNUSABLE)
    return key


def sealed_envelope(statement: Mapping[str, Any], key: PrivateKey, key_id: str) -> bytes:
    """The envelope as JSON. `key_id` is a hint for whoever verifies and proves nothing."""
    payload = orjson.dumps(statement)
    message, hashed = _pae(payload), _hash(key)
    if isinstance(key, Ed25519PrivateKey):
        signature = key.sign(message)
    else:
        signature = key.sign(message, ECDSA(hashed or SHA256()))
    document = {
        "payloadType": PAYLOAD_TYPE,
        "payload": b64encode(payload).decode(),
        "signatures": [{"keyid": key_id, "sig": b64encode(signature).decode()}],
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


def opened_statement(envelope: bytes, key: PublicKey) -> dict[str, Any]:
    """The statement, once one of the signatures is by this key. Raises AuditError `report_invalid`."""
    try:
        document = orjson.loads(envelope)
        kind, payload = document["payloadType"], b64decode(document["payload"], validate=True)
        signatures = [b64decode(each["sig"], validate=True) for each in document["signatures"]]
    except (ValueError, TypeError, KeyError, binascii.Error):
        raise AuditError("This is not a signed statement in a DSSE envelope.", INVALID) from None
    if kind != PAYLOAD_TYPE:
        raise AuditError("The envelope holds something else than an in-toto statement.", INVALID)
    if not any(_verifies(key, each, _pae(payload)) for each in signatures):
        raise AuditError("No signature is by this key over what the statement says now.", INVALID)
    try:
        statement = orjson.loads(payload)
    except ValueError:
        statement = None
    if not isinstance(statement, dict) or statement.get("_type") != STATEMENT:
        raise AuditError("What was signed is not an in-toto statement, version 1.", INVALID)
    return statement


def _pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _verifies(key: PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, message)
        else:
            key.verify(signature, message, ECDSA(_hash(key) or SHA256()))
    except InvalidSignature:
        return False
    return True


def _hash(key: object) -> HashAlgorithm | None:
    """What is usual on the key's curve; None where neither is ours."""
    curve = key.curve if isinstance(key, EllipticCurvePrivateKey | EllipticCurvePublicKey) else None
    return SHA256() if isinstance(curve, SECP256R1) else SHA384() if isinstance(curve, SECP384R1) else None
