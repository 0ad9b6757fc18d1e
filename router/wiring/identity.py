"""Who may call: authenticators and limits from the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.jwks_file import JwksFile
from router.config import IdentityConfig, JwtIssuer
from router.identity.authenticate import Authenticator
from router.identity.certificates import CertificateHolders, Holder
from router.identity.claims import ClaimNames
from router.identity.issuer_keys import FetchedKeys, IssuerKeys, WatchedKeys
from router.identity.tokens import Issuer, TokenVerifier
from router.ports import Clock
from router.wiring.nodes import API_KEYS_FILE, OpenApiKeys, api_keys_of
from router.workspace import Workspace

__all__ = ["API_KEYS_FILE", "Identity", "make_identity"]
REFETCH_S = 10.0  # what a token with an unknown key may cost its issuer: one request in this time for every worker


@dataclass(frozen=True, slots=True)
class Identity:
    """Authenticators by what a credential must be good for."""

    gateway: Authenticator
    decide: Authenticator
    delegate: Authenticator
    keys: OpenApiKeys | None
    fetched: Mapping[str, FetchedKeys]

    async def close(self, keeping: Identity | None = None) -> None:
        kept = set(map(id, keeping.fetched.values())) if keeping is not None else set()
        await _let_go(self.keys, [fetching for fetching in self.fetched.values() if id(fetching) not in kept])


async def make_identity(workspace: Workspace, clock: Clock, before: Identity | None = None) -> Identity:
    """Key sets that were fetched are kept across a reload: the issuer may be down just then."""
    config = workspace.config.identity
    keys = None
    if config.api_keys:
        keys = api_keys_of(workspace, clock)
        await asyncio.to_thread(keys.open)
    kept = before.fetched if before is not None else {}
    fetched: dict[str, FetchedKeys] = {}
    try:
        await _fetch(config, clock, kept, fetched)
        rings = [(issuer, _ring(issuer, workspace.root, clock, fetched)) for issuer in config.jwt]
        tokens = TokenVerifier([_issuer(issuer, ring) for issuer, ring in rings]) if rings else None
    except BaseException:
        await _let_go(keys, [fetching for url, fetching in fetched.items() if url not in kept])
        raise
    gateway, decide, delegate = (_authenticator(scope, config, keys, tokens) for scope in ("gateway", "decide", "delegate"))
    return Identity(gateway, decide, delegate, keys, fetched)


def _authenticator(scope: str, config: IdentityConfig, keys: OpenApiKeys | None, tokens: TokenVerifier | None) -> Authenticator:
    """To speak for somebody else takes an API key with that scope; neither a token nor the lack of a credential will do."""
    if scope == "delegate":
        return Authenticator(scope, keys, None, anonymous=False)
    return Authenticator(scope, keys, tokens, config.anonymous == "allow", _holders(config))


def _holders(config: IdentityConfig) -> CertificateHolders | None:
    """None where certificates say nothing about who somebody is."""
    if not config.certificates:
        return None
    return CertificateHolders(
        Holder(
            "uri" if each.uri is not None else "dns",
            each.uri or each.dns or "",
            each.id,
            each.type,
            each.roles,
            each.groups,
            each.tenant,
            frozenset(each.scopes),
        )
        for each in config.certificates
    )


class LiveHolders:
    """Those of the configuration in force."""

    def __init__(self, config: Callable[[], IdentityConfig]) -> None:
        self._config = config
        self._of: IdentityConfig | None = None
        self._made: CertificateHolders | None = None

    def __call__(self) -> CertificateHolders | None:
        config = self._config()
        if config is not self._of:
            self._of, self._made = config, _holders(config)
        return self._made


async def _let_go(keys: OpenApiKeys | None, opened: Sequence[FetchedKeys]) -> None:
    for fetching in opened:
        await fetching.close()
    if keys is not None:
        await asyncio.to_thread(keys.close)


async def _fetch(config: IdentityConfig, clock: Clock, before: Mapping[str, FetchedKeys], found: dict[str, FetchedKeys]) -> None:
    """Key sets by URL; new ones are opened."""
    urls = {issuer.jwks.url for issuer in config.jwt if issuer.jwks.url is not None}
    if urls:
        from adapters.jwks_http import JwksUrl  # aiohttp is for who asks somebody
    for url in urls:
        found[url] = before.get(url) or FetchedKeys(JwksUrl(url), clock, pause=REFETCH_S)
        if url not in before:
            await found[url].open()


def _ring(issuer: JwtIssuer, root: Path, clock: Clock, fetched: Mapping[str, FetchedKeys]) -> IssuerKeys:
    if issuer.jwks.url is not None:
        return fetched[issuer.jwks.url]
    return WatchedKeys(JwksFile(root / str(issuer.jwks.file)), clock)


def _issuer(issuer: JwtIssuer, ring: IssuerKeys) -> Issuer:
    names = ClaimNames(**issuer.claims.model_dump())
    return Issuer(issuer.issuer, issuer.audience, ring, issuer.algorithms, issuer.leeway, names, issuer.subject_prefix)
