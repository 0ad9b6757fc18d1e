"""Tokens that a certified OpenID provider signed, at a Lockgate that knows no more of it than its issuer, audience and JWKS URL."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conformance.oidc_provider import Provider, provider_process
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, company
from tests.e2e.wire import Answer, ask


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with provider_process(tmp_path_factory.mktemp("oidc")) as running:
        yield running


@pytest.fixture(scope="module")
def lockgate(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    issuer = {"issuer": provider.issuer, "audience": "lockgate", "jwks": {"url": f"{provider.issuer}/jwks"}, "leeway": "0s"}
    with company(tmp_path_factory.mktemp("gateway"), identity={"jwt": [issuer]}) as running:
        yield running


@pytest.fixture
def said_with(lockgate: Lockgate) -> Callable[[str], Answer]:
    return lambda token: ask(lockgate.gateway, "GET", "/items/7", token)


def header(token: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))


def test_a_token_of_the_provider_is_accepted(provider: Provider, lockgate: Lockgate, said_with: Callable[[str], Answer]) -> None:
    """Signature, issuer, audience and type fit, and its claims make the subject that policy judges."""
    token = provider.token()
    assert header(token) == {"alg": "RS256", "typ": "at+jwt", "kid": provider.keys()[0]}
    answer = said_with(token)
    assert answer.status == 200
    assert lockgate.story(answer.decision)[0]["subject"] == {"authenticated_by": "jwt", "tenant": None, "type": "service"}


def test_a_token_for_somebody_else_is_refused(provider: Provider, said_with: Callable[[str], Answer]) -> None:
    """The same provider's token for another audience opens nothing here."""
    answer = said_with(provider.token("https://other.example"))
    assert (answer.status, answer.code) == (401, "audience_mismatch")


def test_an_altered_token_is_refused(provider: Provider, said_with: Callable[[str], Answer]) -> None:
    """A claim that was changed after signing breaks the signature."""
    head, payload, signature = provider.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "==")) | {"roles": ["employee", "admin"]}
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    answer = said_with(f"{head}.{forged}.{signature}")
    assert (answer.status, answer.code) == (401, "signature_invalid")


def test_a_token_is_good_until_it_expires(provider: Provider, said_with: Callable[[str], Answer]) -> None:
    """A token that lives two seconds is accepted and then, though it was accepted before, refused."""
    token = provider.token("https://brief.example")
    assert said_with(token).status == 200
    expired = until(lambda: (answer := said_with(token)).status != 200 and answer, "the token expired")
    assert (expired.status, expired.code) == (401, "token_expired")


def test_a_rotated_key_is_fetched(provider: Provider, said_with: Callable[[str], Answer]) -> None:
    """A token that a new key signed is accepted as soon as Lockgate may ask for the keys again; those of the former key stay good."""
    former = provider.token()
    assert said_with(former).status == 200
    provider.rotate()
    token = provider.token()
    assert header(token)["kid"] != header(former)["kid"]
    until(lambda: said_with(token).status == 200, "the new key was known")
    assert said_with(former).status == 200
