"""Tokens that a certified OpenID provider signed, at a Lockgate that knows no more of it than its issuer, audience and JWKS URL."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.halden.demo.company import free_ports
from tests.e2e.processes import ROOT, Process, until
from tests.e2e.running import Lockgate, company, listens
from tests.e2e.wire import Answer, ask

HERE = Path(__file__).parent / "oidc"
INSTALLED = ROOT / ".cache/oidc-provider"


@dataclass(frozen=True, slots=True)
class Provider:
    port: int

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def token(self, resource: str = "https://gateway.example") -> str:
        """An access token by the client credentials grant (RFC 6749 §4.4)."""
        form = {"grant_type": "client_credentials", "resource": resource}
        secret = base64.b64encode(b"night-batch:a-secret-of-this-test").decode()
        answer = ask(
            self.port,
            "POST",
            "/token",
            None,
            urllib.parse.urlencode(form).encode(),
            content_type="application/x-www-form-urlencoded",
            authorization=f"Basic {secret}",
        )
        assert answer.status == 200, answer
        return str(answer.json["access_token"])

    def rotate(self) -> None:
        assert ask(self.port, "POST", "/rotate").status == 204

    def keys(self) -> list[str]:
        return [key["kid"] for key in ask(self.port, "GET", "/jwks").json["keys"]]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    installing = subprocess.run(["sh", str(HERE / "install.sh"), str(INSTALLED)], capture_output=True, text=True, timeout=120, check=False)
    assert installing.returncode == 0, installing.stderr
    (port,) = free_ports(1)
    process = Process(["node", str(HERE / "provider.mjs"), str(port), str(INSTALLED)], tmp_path_factory.mktemp("oidc") / "provider.log")
    process.start()
    try:
        until(lambda: listens(port), "the provider listened")
        yield Provider(port)
    finally:
        process.kill()


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
