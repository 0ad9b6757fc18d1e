"""Who may call: authenticators and limits from the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.jwks_file import JwksFile
from adapters.jwks_http import JwksUrl
from adapters.sqlite_api_keys import SqliteApiKeys
from router.config import IdentityConfig, JwtIssuer
from router.identity.authenticate import Authenticator
from router.identity.claims import ClaimNames
from router.identity.issuer_keys import FetchedKeys, IssuerKeys, WatchedKeys
from router.identity.tokens import Issuer, TokenVerifier
from router.ports import Clock
from router.workspace import Workspace

API_KEYS_FILE = "identity.sqlite"


@dataclass(frozen=True, slots=True)
class Identity:
    """Authenticators by what a credential must be good for."""

    gateway: Authenticator
    decide: Authenticator
    delegate: Authenticator
    keys: SqliteApiKeys | None
    fetched: Sequence[FetchedKeys]

    async def close(self) -> None:
        for fetching in self.fetched:
            await fetching.close()
        if self.keys is not None:
            self.keys.close()


async def make_identity(workspace: Workspace, clock: Clock) -> Identity:
    config = workspace.config.identity
    keys = None
    if config.api_keys:
        keys = SqliteApiKeys(workspace.path(workspace.config.state) / API_KEYS_FILE, clock)
        keys.open()
    rings = [(issuer, _ring(issuer, workspace.root, clock)) for issuer in config.jwt]
    fetched = [ring for _, ring in rings if isinstance(ring, FetchedKeys)]
    for ring in fetched:
        await ring.open()
    tokens = TokenVerifier([_issuer(issuer, ring) for issuer, ring in rings]) if rings else None
    gateway, decide, delegate = (_authenticator(scope, config, keys, tokens) for scope in ("gateway", "decide", "delegate"))
    return Identity(gateway, decide, delegate, keys, fetched)


def _authenticator(scope: str, config: IdentityConfig, keys: SqliteApiKeys | None, tokens: TokenVerifier | None) -> Authenticator:
    """To speak for somebody else takes an API key with that scope; neither a token nor the lack of a credential will do."""
    if scope == "delegate":
        return Authenticator(scope, keys, None, anonymous=False)
    return Authenticator(scope, keys, tokens, anonymous=config.anonymous == "allow")


def _ring(issuer: JwtIssuer, root: Path, clock: Clock) -> IssuerKeys:
    if issuer.jwks.file is not None:
        return WatchedKeys(JwksFile(root / issuer.jwks.file), clock)
    return FetchedKeys(JwksUrl(str(issuer.jwks.url)), clock)


def _issuer(issuer: JwtIssuer, ring: IssuerKeys) -> Issuer:
    names = ClaimNames(**issuer.claims.model_dump())
    return Issuer(issuer.issuer, issuer.audience, ring, issuer.algorithms, issuer.leeway, names)
