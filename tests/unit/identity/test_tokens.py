from __future__ import annotations

import json
import warnings
from base64 import urlsafe_b64encode
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.acting import actors
from router.errors import ConfigError, IdentityError
from router.identity.claims import ClaimNames
from router.identity.tokens import TokenVerifier
from tests.unit.identity import issuing
from tests.unit.identity.issuing import NOW_S, FixedKeys, claims, ec, ed, issuer, jwks, rsa, token, verifier
from tests.unit.identity.parts import NOW, SECOND


def refused(checker: TokenVerifier, credential: bytes, now_ns: int = NOW) -> str:
    with pytest.raises(IdentityError) as caught:
        checker.verify(credential, now_ns)
    return caught.value.code


def encoded(told: bytes) -> bytes:
    return urlsafe_b64encode(told).rstrip(b"=")


def test_a_good_token_becomes_a_subject() -> None:
    """Signature, issuer, audience and times are right: the claims make the subject."""
    subject = verifier().verify(token(groups=["finance", "emea"], tenant="halden"), NOW)
    assert (subject.id, subject.type, subject.roles, subject.groups, subject.tenant) == (
        "alice",
        "user",
        ("clerk",),
        ("finance", "emea"),
        "halden",
    )
    assert subject.authenticated_by == "jwt"


def test_who_acts_is_named_as_subjects_are() -> None:
    """By the same claim, with the issuer's prefix: somebody in another's name must not seem to be a third."""
    act = {"sub": "7", "email": "ada@halden.example", "client_id": "console", "act": {"sub": "robot"}}
    names = ClaimNames(id="email")
    subject = verifier(claims=names, subject_prefix="id:").verify(token(email="pat@halden.example", act=act), NOW)
    assert (subject.id, actors(subject)) == ("id:pat@halden.example", ("id:ada@halden.example", "id:robot"))
    assert subject.claims["act"]["client_id"] == "console"


NINE: dict[str, Any] = reduce(lambda below, _: {"sub": "x", "act": below}, range(8), {"sub": "ada"})


@pytest.mark.parametrize(
    "act",
    ["ada", [], {}, {"sub": ""}, {"sub": 7}, {"sub": "ada", "act": "robot"}, NINE],
    ids=["text", "list", "nobody", "empty", "number", "text below", "nine of them"],
)
def test_who_acts_is_read_or_the_token_refused(act: Any) -> None:
    """Not to know who else somebody is is not the same as that they are nobody else."""
    assert refused(verifier(), token(act=act)) == "claims_invalid"


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(rsa(), "RS512"), (rsa(), "PS256"), (ec(), "ES256"), (ec("e3", "P-384"), "ES384"), (ed(), "Ed25519"), (ed(), "EdDSA")],
)
def test_every_family_of_algorithms_verifies(key: Any, algorithm: str) -> None:
    """RSA, RSA-PSS, ECDSA and EdDSA tokens are accepted where their algorithm is configured."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joserfc warns where the test signs as EdDSA; issuers still do
        signed = token(key, algorithm)
    assert verifier(FixedKeys(jwks(key)), algorithms=(algorithm,)).verify(signed, NOW).id == "alice"


@pytest.mark.parametrize("algorithm", ["none", "HS256", "HS512", "RS1", ""])
def test_symmetric_and_absent_algorithms_cannot_be_configured(algorithm: str) -> None:
    """`none` and HMAC are refused when the configuration is read."""
    with pytest.raises(ConfigError, match="algorithms must name"):
        issuer(algorithms=("RS256", algorithm))


def test_an_issuer_needs_algorithms_and_an_audience() -> None:
    """Empty lists never mean 'any'."""
    with pytest.raises(ConfigError):
        issuer(algorithms=())
    with pytest.raises(ConfigError):
        issuer(audiences=())


def test_hmac_with_the_public_key_is_refused() -> None:
    """The published key is never taken as a shared secret."""
    assert refused(verifier(), issuing.hmac_with_public_key()) == "algorithm_refused"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "hs256", ""])
def test_an_unsigned_token_is_refused(algorithm: str) -> None:
    """No spelling of `none` is an algorithm."""
    header = encoded(b'{"alg":"%s"}' % algorithm.encode())
    payload = token().split(b".")[1]
    assert refused(verifier(), header + b"." + payload + b".AA") == "algorithm_refused"


def test_a_key_of_another_kind_is_refused() -> None:
    """ES256 with the kid of an RSA key does not verify, whatever the bytes."""
    assert refused(verifier(), token(ec(), "ES256", {"kid": "r1"})) == "algorithm_refused"


def test_a_key_bound_to_one_algorithm_serves_no_other() -> None:
    """A JWK's own `alg` is honoured."""
    checker = verifier(FixedKeys(jwks(rsa(), alg="RS256")), algorithms=("RS256", "PS256"))
    assert refused(checker, token(rsa(), "PS256")) == "algorithm_refused"


def test_a_changed_payload_is_refused() -> None:
    """The signature covers the claims."""
    header, _, signature = token().split(b".")
    payload = token(sub="mallory").split(b".")[1]
    assert refused(verifier(), b".".join((header, payload, signature))) == "signature_invalid"


def test_a_token_of_another_key_with_the_same_id_is_refused() -> None:
    """The key id only names; the signature proves."""
    stranger = type(rsa()).generate_key(2048, {"kid": "r1"}, private=True)
    assert refused(verifier(), token(stranger)) == "signature_invalid"


def test_a_token_without_key_id_needs_one_fitting_key() -> None:
    """One RSA key: it is meant. Two: nothing is guessed."""
    unnamed = token(header={"kid": None})
    assert verifier().verify(unnamed, NOW).id == "alice"
    assert refused(verifier(FixedKeys(jwks(rsa(), rsa("r2")))), unnamed) == "key_unknown"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": "https://evil.example"}, "issuer_unknown"),
        ({"iss": None}, "issuer_unknown"),
        ({"iss": ["https://id.example"]}, "issuer_unknown"),
        ({"aud": "payments"}, "audience_mismatch"),
        ({"aud": None}, "audience_mismatch"),
        ({"aud": []}, "audience_mismatch"),
        ({"exp": NOW_S - 31}, "token_expired"),
        ({"exp": None}, "claims_invalid"),
        ({"exp": "soon"}, "claims_invalid"),
        ({"exp": True}, "claims_invalid"),
        ({"exp": 1e300}, "claims_invalid"),
        ({"nbf": NOW_S + 31}, "token_not_yet_valid"),
        ({"iat": NOW_S + 31}, "token_not_yet_valid"),
        ({"sub": None}, "claims_invalid"),
        ({"sub": 7}, "claims_invalid"),
        ({"sub": "a\nb"}, "claims_invalid"),
        ({"sub": "a" * 257}, "claims_invalid"),
        ({"roles": {"admin": True}}, "claims_invalid"),
        ({"roles": ["a", 1]}, "claims_invalid"),
    ],
)
def test_claims_that_are_wrong_are_named(changes: dict[str, Any], code: str) -> None:
    """Each claim that cannot be accepted has its own code."""
    assert refused(verifier(), token(**changes)) == code


def test_leeway_covers_clocks_that_differ() -> None:
    """Thirty seconds either way are forgiven, on the boundary too."""
    assert verifier().verify(token(exp=NOW_S - 29, nbf=NOW_S + 30), NOW).id == "alice"


@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"typ": "logout+jwt"}, {"typ": "dpop+jwt"}, {"typ": "secevent+jwt"}])
def test_other_kinds_of_token_are_refused(header: dict[str, Any]) -> None:
    """A critical extension or a type that is no access token is never ignored."""
    head, payload, signature = token().split(b".")
    told = encoded(json.dumps({"alg": "RS256", "kid": "r1", **header}).encode())
    assert refused(verifier(), b".".join((told, payload, signature))) == "credential_malformed"
    assert head != told


def test_nested_and_url_named_claims_are_mapped() -> None:
    """`realm_access.roles` walks; a claim whose whole name has dots wins."""
    names = ClaimNames(roles="realm_access.roles", tenant="https://halden.example/tenant", groups="scope")
    claim: dict[str, Any] = {"realm_access": {"roles": ["a", "b"]}, "https://halden.example/tenant": "t1", "scope": "x y"}
    subject = verifier(claims=names).verify(token(**claim), NOW)
    assert (subject.roles, subject.tenant, subject.groups) == (("a", "b"), "t1", ("x", "y"))


def test_a_remembered_token_still_expires() -> None:
    """The memory of verified tokens ends with the token."""
    checker, credential = verifier(), token()
    assert checker.verify(credential, NOW) is checker.verify(credential, NOW)
    assert refused(checker, credential, NOW + 330 * SECOND) == "token_expired"


def test_a_remembered_token_is_forgotten_with_its_key() -> None:
    """When the issuer withdraws a key, tokens verified by it are checked again."""
    keys = FixedKeys(jwks(rsa()))
    checker, credential = verifier(keys), token()
    checker.verify(credential, NOW)
    keys.__init__(jwks(rsa("r2")))  # type: ignore[misc]  # the issuer publishes another document
    assert refused(checker, credential) == "key_unknown"


def test_the_memory_is_bounded() -> None:
    """The least recently used token goes first, and is simply verified again."""
    checker = TokenVerifier([issuer()], remembered=2)
    first, second, third = (token(jti=str(number)) for number in range(3))
    kept = checker.verify(first, NOW)
    for credential in (second, first, third):
        checker.verify(credential, NOW)
    assert checker.verify(first, NOW) is kept
    assert checker.verify(second, NOW).id == "alice"


@pytest.mark.parametrize(
    "credential", [b"a.b.c", b"..", b"!!.e30.x", b"e30.e30.e30", b"W10.W10.x", encoded(b'{"alg":"RS256"}') + b".e30=.x"]
)
def test_what_is_no_token_is_malformed_or_unknown(credential: bytes) -> None:
    """Structure that cannot be read never reaches a key."""
    assert refused(verifier(), credential) in {"credential_malformed", "issuer_unknown"}


@given(st.lists(st.binary(max_size=60), min_size=3, max_size=3), st.booleans())
def test_any_three_parts_end_in_a_refusal(parts: list[bytes], encode: bool) -> None:
    """Random bytes are refused with an IdentityError, never with anything else."""
    assert refused(verifier(), b".".join(encoded(part) if encode else part.replace(b".", b"") for part in parts))


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, -1, 0, 1e18, 2**60, NOW_S, "", "x", "\x00", "\u202e", [], [[]], {}, ["a", 1], {"a": "b"}]
)


@given(st.dictionaries(st.sampled_from([*claims(), "nbf", "type"]), ODD, max_size=3))
def test_any_claims_end_in_a_subject_or_a_refusal(changes: dict[str, Any]) -> None:
    """Properly signed nonsense is refused like any other."""
    try:
        identifier = verifier().verify(token(ec(), "ES256", **changes), NOW).id
    except IdentityError:
        return
    assert identifier in {"alice", "x"}
