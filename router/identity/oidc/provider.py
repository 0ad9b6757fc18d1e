"""What a provider says of itself (OpenID Connect Discovery 1.0), and its signing keys. Asked for when somebody signs in, so that a provider
that is down keeps nobody from starting Lockgate."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from router.config.identity import secure_url
from router.errors import IdentityError, StateError
from router.identity.issuer_keys import FetchedKeys, KeyUrl
from router.ports import Clock

SECOND = 1_000_000_000
KNOWN_S = 600.0  # how long what it said is believed; its keys likewise, so that one that was withdrawn is not used for a day
KEYS_PAUSE_S = 10.0
WELL_KNOWN = "/.well-known/openid-configuration"


class ProviderHttp(Protocol):
    """No redirects are followed; answers and waiting are bounded. Raises StateError."""

    async def get(self, url: str) -> bytes: ...

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, bytes]: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Metadata:
    """`names_itself`: its answers carry `iss` (RFC 9207)."""

    authorization: str
    token: str
    jwks: str
    end_session: str | None
    names_itself: bool


class Provider:
    """`key_url` makes what fetches a JWKS document."""

    def __init__(self, issuer: str, http: ProviderHttp, key_url: Callable[[str], KeyUrl], clock: Clock) -> None:
        self.issuer = issuer
        self.http = http
        self._key_url = key_url
        self._clock = clock
        self._known: Metadata | None = None
        self._known_ns = 0
        self._keys: tuple[str, FetchedKeys] | None = None

    async def metadata(self) -> Metadata:
        """Raises IdentityError `sign_in_provider_unavailable` (503), `sign_in_provider_unusable` (502)."""
        if self._known is None or self._clock.monotonic_ns() - self._known_ns > KNOWN_S * SECOND:
            try:
                document = await self.http.get(self.issuer.removesuffix("/") + WELL_KNOWN)
            except StateError as error:
                raise unavailable() from error
            self._known, self._known_ns = read_metadata(document, self.issuer), self._clock.monotonic_ns()
        return self._known

    async def keys(self) -> FetchedKeys:
        url = (await self.metadata()).jwks
        if self._keys is None or self._keys[0] != url:
            if self._keys is not None:
                await self._keys[1].close()
            self._keys = (url, FetchedKeys(self._key_url(url), self._clock, pause=KEYS_PAUSE_S, max_age=KNOWN_S))
        return self._keys[1]

    async def close(self) -> None:
        if self._keys is not None:
            await self._keys[1].close()
        await self.http.close()


def read_metadata(document: bytes, issuer: str) -> Metadata:
    """Raises IdentityError `sign_in_provider_unusable`."""
    try:
        told = json.loads(document)
    except (ValueError, RecursionError):
        raise unusable("its configuration is not JSON") from None
    if not isinstance(told, dict) or told.get("issuer") != issuer:
        raise unusable("its configuration is another issuer's")
    methods = told.get("code_challenge_methods_supported")
    if methods is not None and "S256" not in methods:
        raise unusable("it knows no PKCE with S256")
    return Metadata(
        authorization=_url(told, "authorization_endpoint"),
        token=_url(told, "token_endpoint"),
        jwks=_url(told, "jwks_uri"),
        end_session=_url(told, "end_session_endpoint") if told.get("end_session_endpoint") is not None else None,
        names_itself=told.get("authorization_response_iss_parameter_supported") is True,
    )


def _url(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    try:
        return secure_url(value) if isinstance(value, str) else secure_url("")
    except ValueError:
        raise unusable(f"its {name} is no https:// URL") from None


def unusable(why: str) -> IdentityError:
    return IdentityError(f"The sign-in provider cannot be used: {why}.", "sign_in_provider_unusable", 502)


def unavailable() -> IdentityError:
    return IdentityError("The sign-in provider does not answer; try again later.", "sign_in_provider_unavailable", 503)
