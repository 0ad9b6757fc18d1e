"""Who works at Halden, and how each of them proves it: most with an API key, one with a token of the firm's identity provider."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import RSAKey

from adapters.sqlite.api_keys import SqliteApiKeys
from router.decision import Subject
from router.identity import api_keys
from router.system import SystemClock
from router.wiring.nodes import OpenApiKeys

ISSUER = "https://id.halden.example"
DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    roles: tuple[str, ...]
    tenant: str = "halden-eu"
    type: str = "user"
    scopes: tuple[str, ...] = ("gateway",)


PEOPLE = (
    Person("anna.lind", ("employee", "finance_clerk")),
    Person("marta.kovacs", ("employee", "finance_manager"), scopes=("gateway", "control")),
    Person("jonas.weber", ("employee",)),
    Person("priya.shah", ("employee", "hr_partner")),
    Person("sam.okoro", ("employee", "it_agent")),
    Person("lee.marsh", ("contractor",)),
    Person("erp", ("service",), type="service"),
    Person("payments", ("service",), type="service"),
    Person("back.office", (), type="service", scopes=("control:evidence.write",)),
    Person("audit.desk", ("auditor", "reviewer", "finance_manager", "operator"), scopes=("control",)),
)
WITH_TOKEN = Person("noor.haddad", ("employee", "finance_clerk"), "halden-us")


def make_credentials(state: Path, jwks: Path, store: OpenApiKeys | None = None) -> Mapping[str, str]:
    """Every person's `Authorization` value. Keys go into `store`, else where `lockgate keys create` puts them; the provider's public key
    into `jwks`."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    clock = SystemClock()
    store = store or SqliteApiKeys(state / "identity.sqlite", clock)
    store.open()
    try:
        now = clock.now_ns()
        made = {
            each.id: api_keys.create(store, each.id, _subject(each), frozenset(each.scopes), now, now + DAY_NS, "demo")[1]
            for each in PEOPLE
        }
    finally:
        store.close()
    return {**{name: f"Bearer {key}" for name, key in made.items()}, WITH_TOKEN.id: f"Bearer {_token(jwks)}"}


def _subject(person: Person) -> Subject:
    return Subject(person.id, person.type, person.roles, (), person.tenant, {}, "api_key")


def _token(jwks: Path) -> str:
    key = RSAKey.generate_key(2048, {"kid": "halden-1", "use": "sig", "alg": "RS256"}, private=True)
    jwks.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "lockgate", "sub": WITH_TOKEN.id, "iat": now, "nbf": now, "exp": now + 86_400}
    claims |= {"roles": list(WITH_TOKEN.roles), "tenant": WITH_TOKEN.tenant}
    return jwt.encode({"alg": "RS256", "kid": "halden-1"}, claims, key)
