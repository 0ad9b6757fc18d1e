from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from adapters.sqlite.api_keys import SqliteApiKeys
from router.errors import IdentityError
from router.identity import api_keys
from router.ports import ApiKey
from tests.unit.identity.parts import ALICE, NOW, SECOND, new_key


def refused(keys: SqliteApiKeys, credential: bytes, now_ns: int = NOW) -> str:
    with pytest.raises(IdentityError) as caught:
        api_keys.verify(keys, credential, now_ns)
    return caught.value.code


def test_a_key_speaks_for_its_subject(keys: SqliteApiKeys) -> None:
    """A fresh key verifies and carries the subject it was made for."""
    key_id, plain = new_key(keys)
    subject = api_keys.verify(keys, plain, NOW).subject
    assert (subject.id, subject.roles, subject.groups, subject.tenant) == ("alice", ("payments_clerk",), ("finance",), "halden")
    assert subject.authenticated_by == "api_key"
    assert subject.claims == {"key_id": key_id}


def test_a_key_says_which_subject_made_it(keys: SqliteApiKeys) -> None:
    """Who has seen it could ask with it. Who can write the file of keys is no subject."""
    for by, expected in (("mia", {"key_made_by": "mia"}), ("cli:uid0", {}), ("", {})):
        key, plain = api_keys.create(keys, "a key", ALICE, frozenset({"gateway"}), NOW, by=by)
        assert key.subject.claims == api_keys.verify(keys, plain.encode(), NOW).subject.claims == {"key_id": key.id, **expected}


def test_a_key_has_the_published_form() -> None:
    """`lgk_`, 8 public characters, 43 secret ones; the digest is the secret's SHA-256."""
    key_id, plain, digest = api_keys.mint()
    assert api_keys.FORM.fullmatch(plain.encode())
    assert plain[4:12] == key_id
    assert digest == sha256(plain[13:].encode()).digest()


def test_the_secret_is_not_in_the_file(keys: SqliteApiKeys, tmp_path: Path) -> None:
    """No file of the store holds the secret part."""
    _, plain = new_key(keys)
    assert not any(plain[13:] in file.read_bytes() for file in (tmp_path / "state").iterdir())


def test_a_wrong_secret_and_an_unknown_id_look_alike(keys: SqliteApiKeys) -> None:
    """Neither tells whether a public id exists."""
    key_id, _ = new_key(keys)
    wrong = api_keys.mint(key_id)[1].encode()
    assert refused(keys, wrong) == refused(keys, api_keys.mint()[1].encode()) == "credential_unknown"


def test_a_key_ends_at_its_expiry(keys: SqliteApiKeys) -> None:
    """The last nanosecond before the expiry is good, the expiry itself is not."""
    _, plain = new_key(keys, expires_ns=NOW + 60 * SECOND)
    assert api_keys.verify(keys, plain, NOW + 60 * SECOND - 1)
    assert refused(keys, plain, NOW + 60 * SECOND) == "credential_expired"


def test_a_revoked_key_is_refused_at_once_where_it_was_revoked(keys: SqliteApiKeys) -> None:
    """The process that revokes does not wait for its own notice."""
    key_id, plain = new_key(keys)
    api_keys.verify(keys, plain, NOW)
    assert keys.revoke(key_id, NOW)
    assert refused(keys, plain) == "credential_revoked"


@pytest.mark.parametrize("credential", [b"lgk_", b"lgk_abc_def", b"lgk_ABCDEFGH_" + b"a" * 43, b"lgk_abcdefgh_" + b"a" * 44, b"x"])
def test_a_malformed_key_is_refused_before_it_is_looked_up(keys: SqliteApiKeys, credential: bytes) -> None:
    """Only the exact form reaches the store."""
    assert refused(keys, credential) == "credential_malformed"


def test_a_taken_id_is_not_overwritten(keys: SqliteApiKeys) -> None:
    """Adding under an id that exists says so and leaves the first key."""
    key_id, plain = new_key(keys)
    first = keys.find(key_id)
    assert first is not None
    assert not keys.add(ApiKey(key_id, b"x" * 32, "other", ALICE, frozenset(), NOW))
    assert api_keys.verify(keys, plain, NOW) == first
