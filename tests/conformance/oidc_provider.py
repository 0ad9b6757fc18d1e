"""A certified OpenID provider as a process of the tests' own on loopback."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.halden.demo.company import free_ports
from tests.e2e.processes import ROOT, Process, until
from tests.e2e.running import listens
from tests.e2e.wire import ask

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

    def next_person(self, sub: str = "", **claims: Any) -> None:
        """Who signs in from now on; nobody without an id."""
        told = {"sub": sub, **claims} if sub else {}
        assert ask(self.port, "POST", "/person", None, told).status == 204


@contextmanager
def provider_process(folder: Path, lockgate: str | None = None, client_jwk: Any = None) -> Iterator[Provider]:
    """`lockgate`: the URL of the control API whose people it signs in; `client_jwk` the public key of its client with a key."""
    installing = subprocess.run(["sh", str(HERE / "install.sh"), str(INSTALLED)], capture_output=True, text=True, timeout=120, check=False)
    assert installing.returncode == 0, installing.stderr
    (port,) = free_ports(1)
    command = ["node", str(HERE / "provider.mjs"), str(port), str(INSTALLED), *([lockgate] if lockgate is not None else [])]
    process = Process(command, folder / "provider.log", environment={"CLIENT_JWK": json.dumps(client_jwk)} if client_jwk else {})
    process.start()
    try:
        until(lambda: listens(port), "the provider listened")
        yield Provider(port)
    finally:
        process.kill()
