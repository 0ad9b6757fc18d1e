"""The authorization code flow with PKCE (OpenID Connect Core 1.0 §3.1, RFC 7636, RFC 9207, RFC 9700), and back-channel logout.

The numbers at the checks of an ID token are those of Core §3.1.3.7.
"""

from __future__ import annotations

import json
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from router.acting import acting_claims, actors
from router.decision import Subject
from router.errors import IdentityError, StateError
from router.identity.claims import ClaimNames, lookup, subject
from router.identity.issuer_keys import KeysPendingError
from router.identity.oidc import flow as flows
from router.identity.oidc.flow import Flow
from router.identity.oidc.provider import Provider, unavailable, unusable
from router.identity.sessions import SignedIn
from router.identity.tokens import Issuer, verified_claims
from router.ports import Clock, Which

SECOND = 1_000_000_000
ID_TOKEN, LOGOUT_TOKEN = (None, "jwt", "application/jwt"), ("logout+jwt", "application/logout+jwt")
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
CODE = re.compile(r"[a-z_]{1,40}")
MOST_TEXT = 256
MOST_METHODS = 16
Signer = Callable[[str, int], str]
"""Makes a client assertion (RFC 7523) of the audience and the time in seconds."""


@dataclass(frozen=True, slots=True)
class ClientTerms:
    """`roles`: which roles of Lockgate a value of the roles' claim gives. `secret` gives the client's secret when it is needed; None where
    there is a `signer`. `max_age` in seconds: how long ago somebody may have proved who they are."""

    client_id: str
    redirect_uri: str
    after_logout: str
    roles: Mapping[str, tuple[str, ...]]
    secret: Callable[[], str] | None = None
    signer: Signer | None = None
    scopes: tuple[str, ...] = ("openid",)
    algorithms: tuple[str, ...] = ("RS256",)
    leeway: float = 30
    max_age: float | None = None
    claims: ClaimNames = field(default_factory=ClaimNames)
    subject_prefix: str = ""
    tenant_required: bool = False


class OidcClient:
    def __init__(self, provider: Provider, terms: ClientTerms, clock: Clock) -> None:
        self.provider = provider
        self.terms = terms
        self._clock = clock

    def begin(self, *, again: bool) -> Flow:
        return flows.begin(self._clock.now_ns() // SECOND, again=again)

    def resumed(self, secret: str | None, state: str) -> Flow:
        """Raises IdentityError `sign_in_state_unknown`."""
        return flows.resumed(secret, state, self._clock.now_ns() // SECOND)

    async def authorization_url(self, flow: Flow) -> str:
        """Where the browser is sent. Raises IdentityError."""
        terms = self.terms
        asked = {
            "response_type": "code",
            "client_id": terms.client_id,
            "redirect_uri": terms.redirect_uri,
            "scope": " ".join(dict.fromkeys(("openid", *terms.scopes))),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": flow.challenge,
            "code_challenge_method": "S256",
            **({"max_age": str(int(terms.max_age))} if terms.max_age is not None else {}),
            **({"prompt": "none"} if flow.again else {}),
        }
        endpoint = (await self.provider.metadata()).authorization
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    async def finish(self, answer: Mapping[str, str], flow: Flow) -> SignedIn:
        """`answer` is what the browser brought back, its state checked. Raises IdentityError."""
        metadata = await self.provider.metadata()
        if answer.get("iss", None if metadata.names_itself else self.provider.issuer) != self.provider.issuer:
            raise IdentityError("The answer does not come from the sign-in provider that was asked.", "sign_in_issuer_mismatch", 403)
        if "error" in answer or not answer.get("code"):
            raise _refused(answer.get("error", ""))
        token = await self._redeemed(metadata.token, answer["code"], flow)
        return self._signed_in(await self._checked(lambda issuer: self._id_token(token, issuer, flow)))

    async def logout_url(self) -> str | None:
        """Where signing out goes on at the provider (RP-Initiated Logout 1.0 §2); None where it has no such place."""
        endpoint = (await self.provider.metadata()).end_session
        if endpoint is None:
            return None
        asked = {"client_id": self.terms.client_id, "post_logout_redirect_uri": self.terms.after_logout}
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    async def ended_by(self, logout_token: str) -> tuple[Which, bytes, int]:
        """Which sessions a logout token ends (Back-Channel Logout 1.0 §2.6), the mark that it spends, and until when. Raises
        IdentityError."""
        claims = await self._checked(lambda issuer: verified_claims(_bytes(logout_token), issuer, self._clock.now_ns(), LOGOUT_TOKEN))
        events, sid, sub, jti = (claims.get(name) for name in ("events", "sid", "sub", "jti"))
        if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict) or "nonce" in claims or "iat" not in claims:
            raise _no_logout("It is no logout token.")
        if not isinstance(jti, str) or not 0 < len(jti) <= MOST_TEXT:
            raise _no_logout("The logout token has no 'jti'.")
        until_ns = int(claims["exp"] * SECOND + self.terms.leeway * SECOND)
        mark = f"logout {self.provider.issuer} {jti}".encode()
        if isinstance(sid, str) and sid:
            return Which(issuer=self.provider.issuer, issuer_session=sid), mark, until_ns
        if isinstance(sub, str) and sub and self.terms.claims.id == "sub":
            return Which(issuer=self.provider.issuer, subject=self.terms.subject_prefix + sub), mark, until_ns
        raise _no_logout("The logout token names no session.")

    async def _redeemed(self, endpoint: str, code: str, flow: Flow) -> bytes:
        terms = self.terms
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": terms.redirect_uri, "code_verifier": flow.verifier}
        headers: dict[str, str] = {}
        if terms.signer is not None:
            assertion = terms.signer(self.provider.issuer, self._clock.now_ns() // SECOND)
            form |= {"client_id": terms.client_id, "client_assertion_type": ASSERTION, "client_assertion": assertion}
        elif terms.secret is not None:
            # RFC 6749 §2.3.1: both are form-encoded before they are joined.
            pair = f"{quote(terms.client_id, safe='')}:{quote(terms.secret(), safe='')}"
            headers["authorization"] = "Basic " + b64encode(pair.encode()).decode()
        else:
            form["client_id"] = terms.client_id
        try:
            status, body = await self.provider.http.post(endpoint, form, headers)
        except StateError as error:
            raise unavailable() from error
        return _id_token_of(status, body)

    async def _checked(self, check: Callable[[Issuer], dict[str, Any]]) -> dict[str, Any]:
        """Asks the provider for its keys where the token names one that is not known yet."""
        terms, keys = self.terms, await self.provider.keys()
        issuer = Issuer(self.provider.issuer, (terms.client_id,), keys, terms.algorithms, terms.leeway, terms.claims, terms.subject_prefix)
        try:
            return check(issuer)
        except KeysPendingError as pending:
            await pending.fetch()
        return check(issuer)

    def _id_token(self, token: bytes, issuer: Issuer, flow: Flow) -> dict[str, Any]:
        now = self._clock.now_ns()
        claims = verified_claims(token, issuer, now, ID_TOKEN)  # 2, 3, 6 to 10
        audience, party = claims.get("aud"), claims.get("azp")
        if (isinstance(audience, list) and len(audience) > 1 and party is None) or party not in (None, self.terms.client_id):  # 4, 5
            raise _id_token_invalid("is meant for another client")
        if claims.get("nonce") != flow.nonce:  # 11
            raise _id_token_invalid("belongs to another sign-in")
        if "iat" not in claims:
            raise _id_token_invalid("does not say when it was made")
        self._check_age(claims, now)  # 13
        return claims

    def _check_age(self, claims: Mapping[str, Any], now_ns: int) -> None:
        if self.terms.max_age is None:
            return
        at = claims.get("auth_time")
        if isinstance(at, bool) or not isinstance(at, int | float):
            raise _id_token_invalid("does not say when you proved who you are")
        if now_ns - at * SECOND > (self.terms.max_age + self.terms.leeway) * SECOND:
            raise IdentityError("It is too long ago that you proved who you are; sign in at the provider again.", "sign_in_too_old", 403)

    def _signed_in(self, claims: Mapping[str, Any]) -> SignedIn:
        names = self.terms.claims
        found: Subject = subject(claims, names, self.terms.subject_prefix)
        roles = tuple(sorted({role for told in found.roles for role in self.terms.roles.get(told, ())}))
        if not roles:
            raise IdentityError("You are known, and have no role in Lockgate; ask whoever gives them out.", "sign_in_no_role", 403)
        if self.terms.tenant_required and found.tenant is None:
            raise IdentityError("The sign-in provider does not say which tenant you belong to.", "sign_in_no_tenant", 403)
        acting = acting_claims(actors(found))
        person = Subject(found.id, "user", roles, found.groups, found.tenant, acting, authenticated_by="session")
        at, sid = claims.get("auth_time"), claims.get("sid")
        proved = int(at * SECOND) if isinstance(at, int | float) and not isinstance(at, bool) else None
        return SignedIn(
            person, proved, self.provider.issuer, sid if isinstance(sid, str) and len(sid) <= MOST_TEXT else "", _methods(claims)
        )


def make_signer(pem: bytes, client_id: str, key_id: str | None) -> Signer:
    """Raises ValueError for what is no private key of a kind that signs."""
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("is no unencrypted PEM private key") from None
    if isinstance(private, RSAPrivateKey) and private.key_size >= 2048:
        key: RSAKey | ECKey = RSAKey.import_key(pem)
        algorithm = "RS256"
    elif isinstance(private, EllipticCurvePrivateKey) and isinstance(private.curve, SECP256R1):
        key, algorithm = ECKey.import_key(pem), "ES256"
    else:
        raise ValueError("is neither a key of RSA with 2048 bits or more nor one of the curve P-256")
    header = {"alg": algorithm, **({"kid": key_id} if key_id is not None else {})}
    return lambda audience, now: jwt.encode(header, _assertion(client_id, audience, now), key, algorithms=[algorithm])


def _assertion(client_id: str, audience: str, now: int) -> dict[str, Any]:
    who = {"iss": client_id, "sub": client_id, "aud": audience}
    return {**who, "jti": secrets.token_urlsafe(24), "iat": now, "exp": now + 60}


def _id_token_of(status: int, body: bytes) -> bytes:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if status == 200 and isinstance(told, dict) and isinstance(told.get("id_token"), str):
        return _bytes(told["id_token"])
    if status == 200 or not isinstance(told, dict):
        raise unusable("it answered without an ID token")
    error = told.get("error")
    known = error if isinstance(error, str) and CODE.fullmatch(error) else f"status {status}"
    raise IdentityError(f"The sign-in provider did not take the sign-in ({known}); begin again.", "sign_in_code_refused", 403)


def _refused(error: str) -> IdentityError:
    """Only the provider's code is shown, never its sentences: whoever makes the link could write them."""
    told = error if CODE.fullmatch(error) else "no reason given"
    return IdentityError(f"The sign-in provider signed nobody in ({told}).", "sign_in_refused", 403)


def _id_token_invalid(what: str) -> IdentityError:
    return IdentityError(f"The sign-in provider's ID token {what}.", "id_token_invalid", 403)


def _no_logout(sentence: str) -> IdentityError:
    return IdentityError(sentence, "logout_token_invalid", 400)


def _methods(claims: Mapping[str, Any]) -> tuple[str, ...]:
    told = lookup(claims, "amr")
    listed = told if isinstance(told, list) else []
    return tuple(each for each in listed if isinstance(each, str) and each.isascii() and each.isprintable() and len(each) <= 32)[
        :MOST_METHODS
    ]


def _bytes(token: str) -> bytes:
    return token.encode("utf-8", "replace")
