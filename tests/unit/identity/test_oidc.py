"""What a provider that lies, or somebody who speaks for it, gets: each check of an ID token and of a logout token, with real signatures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from adapters.memory_sessions import MemorySessions
from router.acting import actors
from router.errors import IdentityError, StateError
from router.identity.claims import ClaimNames
from router.identity.oidc.client import LOGOUT_EVENT, ClientTerms, OidcClient
from router.identity.oidc.flow import GOOD_S, Flow, begin, resumed
from router.identity.oidc.provider import Provider, read_metadata
from router.identity.sessions import SessionLimits, SessionService, SignedIn
from router.ports import Which
from tests.unit.identity.issuing import ISSUER, NOW_S, jwks, rsa, token
from tests.unit.identity.parts import SECOND, HandClock

METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/auth",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/jwks",
    "end_session_endpoint": f"{ISSUER}/end?a=b",
    "authorization_response_iss_parameter_supported": True,
}
FLOW = Flow("s" * 43, NOW_S)


class Wire:
    """Answers as it is told, without a network: what goes over one is tested against a real provider."""

    def __init__(self, **metadata: Any) -> None:
        self.metadata = json.dumps({name: value for name, value in {**METADATA, **metadata}.items() if value is not None}).encode()
        self.answer: tuple[int, bytes] = (500, b"")
        self.posted: list[tuple[str, Mapping[str, str], Mapping[str, str]]] = []
        self.down = False

    async def get(self, url: str) -> bytes:
        if self.down:
            raise StateError("down")
        return self.metadata

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, bytes]:
        self.posted.append((url, form, headers))
        return self.answer

    async def fetch(self) -> bytes:
        return jwks(rsa())

    async def close(self) -> None: ...


def client(wire: Wire, clock: HandClock | None = None, **terms: Any) -> OidcClient:
    clock = clock or HandClock()
    told = {"roles": {"ops": ("operator",), "all": ("viewer", "operator")}, "secret": lambda: "a b:c", **terms}
    made = ClientTerms("lockgate", "https://l.example/back", "https://l.example/out", claims=ClaimNames(roles="groups"), **told)
    return OidcClient(Provider(ISSUER, wire, lambda url: wire, clock), made, clock)


def finish(made: OidcClient, wire: Wire, flow: Flow = FLOW, answer: Mapping[str, str] | None = None, **claims: Any) -> SignedIn:
    told = {"nonce": flow.nonce, "groups": ["ops"], **claims}
    header = told.pop("header", None)
    if wire.answer[0] == 500:
        wire.answer = (200, json.dumps({"id_token": token(header=header, **told).decode()}).encode())
    return asyncio.run(made.finish(answer or {"code": "c", "iss": ISSUER}, flow))


def refused(*arguments: Any, **more: Any) -> str:
    with pytest.raises(IdentityError) as caught:
        finish(*arguments, **more)
    return caught.value.code


def test_a_good_answer_is_a_person() -> None:
    """With roles by the table, sorted and once; times and methods as the provider told them."""
    wire = Wire()
    who = finish(client(wire), wire, groups=["ops", "all", "x"], auth_time=NOW_S - 5, amr=["pwd", 7, "ü", "otp"], sid="s1", tenant="halden")
    assert (who.subject.id, who.subject.roles, who.subject.tenant) == ("alice", ("operator", "viewer"), "halden")
    assert (who.authenticated_ns, who.methods, who.issuer_session) == ((NOW_S - 5) * SECOND, ("pwd", "otp"), "s1")
    ((url, form, headers),) = wire.posted
    assert (url, form["code"], form["code_verifier"]) == (f"{ISSUER}/token", "c", FLOW.verifier)
    assert headers["authorization"] == "Basic bG9ja2dhdGU6YSUyMGIlM0Fj"


def test_a_session_knows_who_acts_for_the_person() -> None:
    """By the names that those have when they sign in themselves, and nothing else of the token."""
    wire, clock = Wire(), HandClock()
    made = client(wire, subject_prefix="id:")
    who = finish(made, wire, act={"sub": "ada", "act": {"sub": "robot"}}, email="alice@halden.example")
    store = MemorySessions()
    store.open()
    sessions = SessionService(store, clock, SessionLimits())
    _, secret, _ = asyncio.run(sessions.begin(who))
    subject = asyncio.run(sessions.verify(secret.encode())).subject
    assert (subject.id, actors(subject), list(subject.claims)) == ("id:alice", ("id:ada", "id:robot"), ["act"])


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"nonce": None}, "id_token_invalid"),
        ({"nonce": Flow("t" * 43, NOW_S).nonce}, "id_token_invalid"),
        ({"iss": "https://other.example"}, "issuer_unknown"),
        ({"aud": "other"}, "audience_mismatch"),
        ({"aud": ["lockgate", "other"]}, "id_token_invalid"),
        ({"azp": "other"}, "id_token_invalid"),
        ({"aud": ["lockgate", "other"], "azp": "other"}, "id_token_invalid"),
        ({"exp": NOW_S - 31}, "token_expired"),
        ({"exp": None}, "claims_invalid"),
        ({"iat": None}, "id_token_invalid"),
        ({"iat": NOW_S + 31}, "token_not_yet_valid"),
        ({"sub": None}, "claims_invalid"),
        ({"groups": None}, "sign_in_no_role"),
        ({"groups": ["Ops"]}, "sign_in_no_role"),
        ({"header": {"typ": "at+jwt"}}, "credential_malformed"),
        ({"header": {"typ": "logout+jwt"}}, "credential_malformed"),
        ({"header": {"kid": "nobody"}}, "key_unknown"),
    ],
)
def test_an_id_token_that_is_not_right_in_everything_is_refused(claims: dict[str, Any], code: str) -> None:
    """One claim wrong, everything else right."""
    wire = Wire()
    assert refused(client(wire), wire, **claims) == code


def test_two_audiences_are_fine_where_the_party_is_named() -> None:
    """Core §3.1.3.7, 4 and 5."""
    wire = Wire()
    assert finish(client(wire), wire, aud=["lockgate", "other"], azp="lockgate").subject.id == "alice"


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({}, "id_token_invalid"),
        ({"auth_time": True}, "id_token_invalid"),
        ({"auth_time": NOW_S - 91}, "sign_in_too_old"),
        ({"auth_time": NOW_S - 90}, ""),
    ],
)
def test_with_a_longest_age_the_time_of_proof_must_be_there(told: dict[str, Any], code: str) -> None:
    """A provider that ignores `max_age` lets nobody in."""
    wire = Wire()
    made = client(wire, max_age=60.0)
    assert (refused(made, wire, **told) if code else finish(made, wire, **told).subject.id) in (code, "alice")


@pytest.mark.parametrize("iss", [None, "https://other.example", ISSUER + "/"])
def test_an_answer_that_does_not_name_this_issuer_is_refused(iss: str | None) -> None:
    """RFC 9207; nothing is sent anywhere then, the code least of all."""
    wire = Wire()
    assert refused(client(wire), wire, answer={"code": "c", **({"iss": iss} if iss else {})}) == "sign_in_issuer_mismatch"
    assert wire.posted == []


def test_a_provider_that_never_names_itself_need_not() -> None:
    """But what it names must be it."""
    wire = Wire(authorization_response_iss_parameter_supported=None)
    assert finish(client(wire), wire, answer={"code": "c"}).subject.id == "alice"
    assert refused(client(wire), wire, answer={"code": "c", "iss": "https://other.example"}) == "sign_in_issuer_mismatch"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((200, b"{}"), "sign_in_provider_unusable"),
        ((200, b"x"), "sign_in_provider_unusable"),
        ((200, b'{"id_token": 7}'), "sign_in_provider_unusable"),
        ((200, b'{"id_token": "x"}'), "credential_malformed"),
        ((400, b'{"error": "invalid_grant"}'), "sign_in_code_refused"),
        ((400, b'{"error": "<b>"}'), "sign_in_code_refused"),
        ((302, b""), "sign_in_provider_unusable"),
        ((503, b"[" * 9000), "sign_in_provider_unusable"),
    ],
)
def test_a_token_endpoint_that_answers_anything_else(answer: tuple[int, bytes], code: str) -> None:
    """One sentence; nothing of the answer that is not a plain code is repeated."""
    wire = Wire()
    wire.answer = answer
    with pytest.raises(IdentityError) as caught:
        finish(client(wire), wire)
    assert caught.value.code == code
    assert "<b>" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://other.example"},
        {"issuer": None},
        {"token_endpoint": "http://id.example/token"},
        {"token_endpoint": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": ["x"]},
        {"end_session_endpoint": "javascript:alert(1)"},
        {"code_challenge_methods_supported": ["plain"]},
    ],
)
def test_a_configuration_that_cannot_be_used(changes: dict[str, Any]) -> None:
    """Another issuer's, without TLS, without PKCE."""
    with pytest.raises(IdentityError) as caught:
        read_metadata(Wire(**changes).metadata, ISSUER)
    assert caught.value.code == "sign_in_provider_unusable"


def test_a_provider_that_is_away_is_asked_again_the_next_time() -> None:
    """What it said is believed for ten minutes."""
    wire, clock = Wire(), HandClock()
    made = client(wire, clock)
    assert asyncio.run(made.authorization_url(FLOW)).startswith(f"{ISSUER}/auth?response_type=code&")
    wire.down = True
    asyncio.run(made.authorization_url(FLOW))
    clock.forward(601)
    with pytest.raises(IdentityError, match="does not answer"):
        asyncio.run(made.authorization_url(FLOW))


def test_an_attempt_is_good_for_its_browser_and_ten_minutes() -> None:
    """Nothing but the browser's bits can finish it; its kind cannot be changed on the way."""
    flow = begin(NOW_S, again=True)
    assert resumed(flow.secret, flow.state, NOW_S + GOOD_S - 1) == flow
    for secret, state, now in (
        (None, flow.state, NOW_S),
        ("x" * 43, flow.state, NOW_S),
        (flow.secret + "x", flow.state, NOW_S),
        (flow.secret, flow.state.replace(".a.", ".n."), NOW_S),
        (flow.secret, flow.state.replace(str(NOW_S), str(NOW_S + 1)), NOW_S),
        (flow.secret, flow.state, NOW_S + GOOD_S),
        (flow.secret, flow.state, NOW_S - 1),
        (flow.secret, "", NOW_S),
    ):
        with pytest.raises(IdentityError) as caught:
            resumed(secret, state, now)
        assert caught.value.code == "sign_in_state_unknown"


def test_what_leaves_the_browser_tells_nothing_of_the_rest() -> None:
    """State, nonce and verifier are four different values, the bits themselves none of them."""
    flow = begin(NOW_S, again=False)
    told = {flow.state.rpartition(".")[2], flow.nonce, flow.verifier, flow.challenge, flow.secret}
    assert len(told) == 5


LOGOUT: dict[str, Any] = {"events": {LOGOUT_EVENT: {}}, "jti": "j1", "sid": "s1", "nonce": None}


def logout(made: OidcClient, header: dict[str, Any] | None = None, **changes: Any) -> tuple[Which, bytes, int]:
    signed = token(header=header or {"typ": "logout+jwt"}, **{**LOGOUT, **changes})
    return asyncio.run(made.ended_by(signed.decode()))


def test_a_logout_token_ends_what_it_names() -> None:
    """The provider's session, else all of the person's; spent under its `jti`."""
    which, mark, until_ns = logout(client(Wire()))
    assert which == Which(issuer=ISSUER, issuer_session="s1")
    assert (mark, until_ns) == (f"logout {ISSUER} j1".encode(), (NOW_S + 330) * SECOND)
    assert logout(client(Wire(), subject_prefix="id:"), sid=None)[0] == Which(issuer=ISSUER, subject="id:alice")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"events": None}, "logout_token_invalid"),
        ({"events": {}}, "logout_token_invalid"),
        ({"events": {LOGOUT_EVENT: "yes"}}, "logout_token_invalid"),
        ({"nonce": "n"}, "logout_token_invalid"),
        ({"jti": None}, "logout_token_invalid"),
        ({"iat": None}, "logout_token_invalid"),
        ({"sid": None, "sub": None}, "logout_token_invalid"),
        ({"sid": ["s1"], "sub": None}, "logout_token_invalid"),
        ({"aud": "other"}, "audience_mismatch"),
        ({"exp": NOW_S - 31}, "token_expired"),
        ({"iss": "https://other.example"}, "issuer_unknown"),
        ({"header": {"typ": "at+jwt"}}, "credential_malformed"),
        ({"header": {"typ": "JWT"}}, "credential_malformed"),
        ({"header": {"typ": None}}, "credential_malformed"),
    ],
)
def test_what_is_no_logout_token_is_refused(changes: dict[str, Any], code: str) -> None:
    """An ID token that was caught on the way among them: it has a nonce, and no such event."""
    with pytest.raises(IdentityError) as caught:
        logout(client(Wire()), **changes)
    assert caught.value.code == code


def test_a_person_is_not_found_by_a_claim_that_is_not_their_id() -> None:
    """Without `sid`, and with ids from another claim, nobody can tell whose sessions are meant."""
    made = client(Wire())
    by_mail = OidcClient(made.provider, ClientTerms("lockgate", "", "", {}, claims=ClaimNames(id="email")), HandClock())
    with pytest.raises(IdentityError, match="names no session"):
        logout(by_mail, sid=None)
