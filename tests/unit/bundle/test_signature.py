"""Who signed, and that everything was signed."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from joserfc import jws

from router.bundle.documents import SIGNATURES
from router.bundle.signature import ALGORITHMS, described, signing_key, verification_key, verify
from router.errors import BundleError
from tests.unit.bundle.making import PRIVATE, PUBLIC, files, pair, signing, trusted


def refused(made: dict[str, bytes], keys: Any = None) -> BundleError:
    with pytest.raises(BundleError) as caught:
        verify(made, keys if keys is not None else trusted())
    return caught.value


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_signs_and_verifies(algorithm: str) -> None:
    """And says who and with what."""
    private, public = pair(algorithm)
    signed = verify(files(by=signing(private, algorithm)), trusted(public, algorithm))
    assert (signed.key_id, signed.algorithm) == ("release", algorithm)
    assert set(signed.files) == set(files()) - {SIGNATURES}


def test_an_unsigned_bundle_has_a_code_of_its_own() -> None:
    """Since it is mended differently."""
    assert refused(files(signed=False)).code == "bundle_unsigned"


def test_another_key_of_the_same_name_is_refused() -> None:
    """The name says which key must have signed, and not that it did."""
    error = refused(files(by=signing(pair()[0])))
    assert error.code == "bundle_signature_wrong"
    assert "does not verify" in str(error)


def test_a_key_that_is_not_configured_is_named() -> None:
    """So that who reads it knows which one to ask about."""
    assert "'other'" in str(refused(files(by=signing(key_id="other"))))


@pytest.mark.parametrize("name", sorted(set(files()) - {SIGNATURES}))
def test_a_changed_file_is_refused(name: str) -> None:
    """Each of them, the manifest with its sequence too."""
    made = files()
    made[name] = made[name].replace(b"lockgate", b"lockgate2")
    assert f"'{name}' was changed" in str(refused(made))


def test_a_file_more_or_less_is_refused() -> None:
    """A signature covers the list of files, too."""
    assert "'x.rego', which was not there" in str(refused({**files(), "x.rego": b"package lockgate.x\n"}))
    less = files()
    del less["lockgate/decision_test.rego"]
    assert "which is not in it" in str(refused(less))


def test_the_scope_must_be_the_keys() -> None:
    """A bundle signed for tests does not go live."""
    assert "another scope" in str(refused(files(by=signing(scope="test")), trusted(scope="live")))
    assert "another scope" in str(refused(files(by=signing(scope="test"))))
    verify(files(by=signing(scope="live")), trusted(scope="live"))


def test_no_other_algorithm_than_the_keys_own_counts() -> None:
    """Neither `none`, nor a public key that is used as a shared secret."""
    made = files()
    payload = json.loads(made[SIGNATURES])["signatures"][0].split(".")[1]
    for algorithm in ("none", "HS256"):
        signed = f"{base64({'alg': algorithm, 'kid': 'release'})}.{payload}"
        mark = urlsafe_b64encode(hmac.digest(PUBLIC, signed.encode(), "sha256")).decode().rstrip("=") if algorithm == "HS256" else ""
        forgery = {**made, SIGNATURES: json.dumps({"signatures": [f"{signed}.{mark}"]}).encode()}
        assert "another algorithm than ES256" in str(refused(forgery))


def base64(value: Any) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize("document", [{}, {"signatures": []}, {"signatures": ["a", "b"]}, {"signatures": ["a"]}, {"signatures": [1]}, [1]])
def test_signatures_of_another_form_are_refused(document: Any) -> None:
    """Exactly one token, as OPA wants it."""
    assert refused({**files(), SIGNATURES: json.dumps(document).encode()}).code == "bundle_signature_wrong"


def test_a_signer_of_another_kind_is_refused() -> None:
    """OPA's plug-ins could mean anything."""
    made = files()
    document = json.loads(made[SIGNATURES]) | {"plugin": "custom"}
    assert "a way that is not known" in str(refused({**made, SIGNATURES: json.dumps(document).encode()}))


@pytest.mark.parametrize("listed", [None, [], [{"name": "a"}], [{"name": "a", "hash": "", "algorithm": "SHA-256"}] * 2])
def test_a_list_of_files_of_another_form_is_refused(listed: Any) -> None:
    """Although the signature is right."""
    token = jws.serialize_compact({"alg": "ES256", "kid": "release"}, json.dumps({"files": listed}), signing().key)
    made = {**files(), SIGNATURES: json.dumps({"signatures": [token]}).encode()}
    assert refused(made).code == "bundle_signature_wrong"


def test_keys_that_do_not_fit_are_refused_when_they_are_read() -> None:
    """Of another kind than the algorithm, too short, private where a public one belongs, or no key."""
    for pem, algorithm in ((PUBLIC, "RS256"), (PUBLIC, "ES384"), (PRIVATE, "ES256"), (b"x", "ES256"), (PUBLIC, "HS256"), (PUBLIC, "none")):
        with pytest.raises(BundleError, match=r"^k\.pub is not a") as caught:
            verification_key(pem, algorithm, "", "k.pub")
        assert caught.value.code == "bundle_key_unusable"
    with pytest.raises(BundleError, match="is not an unencrypted PEM private key"):
        signing_key(PUBLIC, None, "k.pem")


def test_what_a_signature_says_of_itself_can_be_shown() -> None:
    """Without any key, and so without a verdict."""
    assert described(files()) == {"key_id": "release", "algorithm": "ES256"}
    assert described(files(signed=False)) is None
