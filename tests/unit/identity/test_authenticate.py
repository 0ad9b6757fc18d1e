from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sqlite.api_keys import SqliteApiKeys
from router.decision import ANONYMOUS
from router.errors import IdentityError
from router.identity.authenticate import Authenticator
from router.identity.credentials import credential
from tests.unit.identity.parts import NOW, new_key

Headers = list[tuple[bytes, bytes]]


def refused(authenticator: Authenticator, headers: Headers) -> tuple[str, int]:
    with pytest.raises(IdentityError) as caught:
        authenticator.authenticate(headers, NOW)
    return caught.value.code, caught.value.status


def bearer(token: bytes) -> Headers:
    return [(b"host", b"x"), (b"authorization", b"Bearer " + token)]


def test_a_key_is_taken_from_either_header(keys: SqliteApiKeys) -> None:
    """Authorization: Bearer and X-Api-Key mean the same."""
    _, plain = new_key(keys)
    door = Authenticator("gateway", keys)
    assert door.authenticate(bearer(plain), NOW) == door.authenticate([(b"x-api-key", plain)], NOW)


def test_the_same_key_in_both_headers_is_one_credential(keys: SqliteApiKeys) -> None:
    """Sending a credential twice is no conflict."""
    _, plain = new_key(keys)
    assert Authenticator("gateway", keys).authenticate([*bearer(plain), (b"x-api-key", plain)], NOW).id == "alice"


def test_two_different_credentials_are_refused(keys: SqliteApiKeys) -> None:
    """No order between two valid credentials is guessed."""
    first, second = new_key(keys)[1], new_key(keys)[1]
    assert refused(Authenticator("gateway", keys), [*bearer(first), (b"x-api-key", second)]) == ("two_credentials", 400)


def test_a_key_without_the_doors_scope_is_refused(keys: SqliteApiKeys) -> None:
    """A key for the decide door does not open the gateway."""
    _, plain = new_key(keys, "decide")
    assert refused(Authenticator("gateway", keys), bearer(plain)) == ("scope_missing", 403)
    assert Authenticator("decide", keys).authenticate(bearer(plain), NOW).id == "alice"


def test_nobody_is_anonymous_unless_configured(keys: SqliteApiKeys) -> None:
    """No credential is a refusal by default and ANONYMOUS where allowed."""
    assert refused(Authenticator("gateway", keys), []) == ("credential_missing", 401)
    assert Authenticator("gateway", keys, anonymous=True).authenticate([], NOW) is ANONYMOUS


def test_a_bad_credential_never_falls_back_to_anonymous(keys: SqliteApiKeys) -> None:
    """Anonymous is for who sends nothing, not for who sends something wrong."""
    door = Authenticator("gateway", keys, anonymous=True)
    assert refused(door, bearer(b"lgk_abcdefgh_" + b"a" * 43))[0] == "credential_unknown"


def test_keys_that_are_switched_off_are_refused(keys: SqliteApiKeys) -> None:
    """A valid key means nothing at a door that takes none."""
    _, plain = new_key(keys)
    assert refused(Authenticator("gateway"), bearer(plain))[0] == "credential_unknown"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Basic YTpi")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"")],
        [(b"x-api-key", b"")],
        [(b"x-api-key", b"a.b.c")],
        [(b"authorization", b"Bearer a b")],
        [(b"authorization", b"Bearer \xff\xfe.a.b")],
        [(b"authorization", b"Bearer " + b"a" * 20_000)],
    ],
)
def test_malformed_credentials_are_named(keys: SqliteApiKeys, headers: Headers) -> None:
    """Whatever is sent in a credential header and is none is malformed, not missing."""
    assert refused(Authenticator("gateway", keys), headers)[0] == "credential_malformed"


@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key", b"accept"]), st.binary(max_size=80)), max_size=4))
def test_header_parsing_answers_or_refuses(headers: Headers) -> None:
    """Any bytes in any headers end in a plausible token, none, or an IdentityError."""
    try:
        token = credential(headers)
    except IdentityError:
        return
    sent = {name for name, _ in headers} & {b"authorization", b"x-api-key"}
    assert (token is None) == (not sent)
    assert token is None or (token and token.isascii() and b" " not in token)


@given(st.sampled_from(["Bearer", "bearer", "BEARER"]), st.from_regex(rb"[A-Za-z0-9._~+/-]{1,60}", fullmatch=True))
def test_the_scheme_is_case_insensitive(scheme: str, token: bytes) -> None:
    """RFC 7235: schemes have no case."""
    assert credential([(b"authorization", scheme.encode() + b" " + token)]) == token
