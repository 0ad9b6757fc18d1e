from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from joserfc.jwk import OctKey

from router.identity.keyring import parse_ring
from tests.unit.identity.issuing import ec, jwks, rsa


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b"\xff", b'{"keys": [1, null]}', b"[" * 100_000])
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    """A document without one usable key is a ValueError with a sentence."""
    with pytest.raises(ValueError, match="key set"):
        parse_ring(document)


def test_symmetric_keys_never_enter() -> None:
    """An `oct` key in a published set is left out."""
    with pytest.raises(ValueError, match="no key"):
        parse_ring(json.dumps({"keys": [OctKey.generate_key(256, {"kid": "s"}).as_dict(private=True)]}).encode())


@pytest.mark.parametrize("extra", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"alg": "RSA-OAEP"}, {"kid": 7}, {"n": "!"}])
def test_keys_for_other_purposes_are_left_out(extra: dict[str, Any]) -> None:
    """Encryption keys and unreadable ones do not stop the rest of the set."""
    odd = json.loads(jwks(rsa(), **extra))["keys"]
    good = json.loads(jwks(ec()))["keys"]
    ring = parse_ring(json.dumps({"keys": odd + good}).encode())
    assert ring.find("e1", "ES256") is not None
    assert ring.find("r1", "RS256") is None


def test_short_rsa_keys_are_left_out() -> None:
    """RSA under 2048 bits does not verify anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joserfc warns where the test makes the weak key
        weak = rsa("weak", 1024)
    assert parse_ring(jwks(ec(), weak)).find("weak", "RS256") is None


def test_published_private_parts_are_dropped() -> None:
    """Should an issuer leak its private key, it is not kept here."""
    ring = parse_ring(json.dumps({"keys": [rsa().as_dict(private=True)]}).encode())
    found = ring.find("r1", "RS256")
    assert found is not None
    assert not found.key.is_private
