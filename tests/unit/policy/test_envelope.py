"""Signed statements, against the examples of the specification and against changes anywhere."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from router.errors import AuditError
from router.policy.envelope import STATEMENT, opened_statement, private_key, public_key, sealed_envelope

DOCUMENT = {"_type": STATEMENT, "predicateType": "urn:x", "subject": [], "predicate": {"ä": 1}}


def pem(key: Any) -> tuple[bytes, bytes]:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "make", [Ed25519PrivateKey.generate, lambda: generate_private_key(SECP256R1()), lambda: generate_private_key(SECP384R1())]
)
def test_what_was_signed_is_opened_by_its_key_and_by_no_other(make: Callable[[], Any]) -> None:
    """With each kind of key."""
    (private, public), (_, other) = pem(make()), pem(make())
    envelope = sealed_envelope(DOCUMENT, private_key(private, "k"), "ann")
    assert opened_statement(envelope, public_key(public, "k")) == DOCUMENT
    with pytest.raises(AuditError, match="No signature is by this key"):
        opened_statement(envelope, public_key(other, "k"))


def test_the_signature_is_over_the_encoding_of_dsse() -> None:
    """Built here from the words of the specification: "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body."""
    key = Ed25519PrivateKey.generate()
    document = json.loads(sealed_envelope(DOCUMENT, key, "ann"))
    body = b64decode(document["payload"])
    kind = document["payloadType"].encode()
    message = b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(body)).encode(), body])
    key.public_key().verify(b64decode(document["signatures"][0]["sig"]), message)
    assert document["payloadType"] == "application/vnd.in-toto+json"


def test_nothing_of_the_payload_can_be_changed() -> None:
    """Byte by byte."""
    key = Ed25519PrivateKey.generate()
    document = json.loads(sealed_envelope(DOCUMENT, key, "ann"))
    body = b64decode(document["payload"])
    for place in range(len(body)):
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        with pytest.raises(AuditError, match="No signature"):
            opened_statement(json.dumps({**document, "payload": b64encode(changed).decode()}).encode(), key.public_key())


@pytest.mark.parametrize("envelope", [b"", b"[]", b"{}", b'{"payloadType":"x","payload":"?","signatures":[]}', b"\xff"])
def test_what_is_no_envelope_gets_a_sentence(envelope: bytes) -> None:
    """As anybody may hand over anything."""
    with pytest.raises(AuditError, match="not a signed statement"):
        opened_statement(envelope, Ed25519PrivateKey.generate().public_key())


def test_another_kind_of_payload_is_refused() -> None:
    """Also where its signature would hold."""
    key = Ed25519PrivateKey.generate()
    document = {**json.loads(sealed_envelope(DOCUMENT, key, "ann")), "payloadType": "text/plain"}
    with pytest.raises(AuditError, match="something else"):
        opened_statement(json.dumps(document).encode(), key.public_key())
    with pytest.raises(AuditError, match="version 1"):
        opened_statement(sealed_envelope({**DOCUMENT, "_type": "other"}, key, "ann"), key.public_key())


@pytest.mark.parametrize("key", [generate_private_key(SECP256K1()), generate_rsa(65537, 2048)])
def test_other_kinds_of_keys_are_refused(key: Any) -> None:
    """Before anything is signed or believed."""
    private, public = pem(key)
    for read, content in ((private_key, private), (public_key, public)):
        with pytest.raises(AuditError, match="is not a key for Ed25519") as refused:
            read(content, "k.pem")
        assert refused.value.code == "report_key_unusable"
        with pytest.raises(AuditError, match=r"k\.pem is not"):
            read(b"nonsense", "k.pem")
