"""Digests of documents cover what they say, and not how it is laid out."""

from __future__ import annotations

import hashlib

import pytest

from router.bundle.documents import file_digest, read_document
from router.errors import BundleError


def test_layout_does_not_count_and_content_does() -> None:
    """Spaces, order of keys, and JSON or YAML give the same digest."""
    written = file_digest("data.json", b'{"b": [1, 1.50, "\xc3\xa4"], "a": null}')
    assert written == hashlib.sha256('{"a":null,"b":[1,1.50,"ä"]}'.encode()).hexdigest()
    assert file_digest("x/data.yaml", b"b: [1, 2.5]\na: true") == file_digest("data.json", b'{"a":true,"b":[1,2.5]}')
    assert file_digest("a.rego", b"{}") == hashlib.sha256(b"{}").hexdigest()
    assert file_digest(".manifest", b"{ }") == hashlib.sha256(b"{}").hexdigest()


@pytest.mark.parametrize(
    ("written", "as_go"),
    [("1e21", "1e+21"), ("1e20", "100000000000000000000"), ("0.000001", "0.000001"), ("1.5e-7", "1.5e-7"), ("2.0", "2"), ("-0.0", "-0")],
)
def test_numbers_of_yaml_are_written_as_go_writes_them(written: str, as_go: str) -> None:
    """OPA reads YAML by way of JSON, and hashes that."""
    assert file_digest("data.yaml", f"a: {written}".encode()) == hashlib.sha256(f'{{"a":{as_go}}}'.encode()).hexdigest()


@pytest.mark.parametrize("algorithm", ["SHA-384", "SHA-512"])
def test_longer_digests_are_known(algorithm: str) -> None:
    """Of OPA's list, those that hold."""
    assert file_digest("a.rego", b"x", algorithm) == hashlib.new(algorithm.replace("-", ""), b"x").hexdigest()


def test_weak_digests_are_refused() -> None:
    """OPA would take MD5; a file with the same one can be made."""
    with pytest.raises(BundleError, match="'MD5', which is not one of"):
        file_digest("a.rego", b"x", "MD5")


@pytest.mark.parametrize(
    "content", [b'{"a": 1, "a": 2}', b"{", b'{"a": NaN}', b"\xff", b"[" * 100_000, b'{"a":' * 60 + b"1" + b"}" * 60], ids=str
)
def test_a_document_with_two_readings_or_none_is_refused(content: bytes) -> None:
    """Duplicate keys among them: two readers could take two values."""
    with pytest.raises(BundleError):
        read_document("data.json", content)


def test_half_a_character_is_refused() -> None:
    """It has no bytes to be hashed."""
    with pytest.raises(BundleError, match="half of a character"):
        file_digest("data.json", b'{"a": "\\ud800"}')
