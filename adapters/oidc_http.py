"""What a sign-in provider is asked over HTTP. Redirects are not followed: where a client's secret goes is told by the provider's own
configuration, not by an answer."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from adapters.aligned_aiohttp import TcpConnector
from adapters.jwks_http import TIMEOUT, read_body
from router.errors import StateError


class OidcHttp:
    """`trust_env`: whether proxies that the environment names are used; not for a provider on this machine."""

    def __init__(self, trust_env: bool) -> None:
        self._trust_env = trust_env
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str) -> bytes:
        status, body = await self._ask("GET", url)
        if status != 200:
            raise StateError(f"{url} answered {status}")
        return body

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, bytes]:
        return await self._ask("POST", url, dict(form), headers)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(
        self, method: str, url: str, form: dict[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        fields = {"accept": "application/json", **(headers or {})}
        try:
            async with self._opened().request(method, url, data=form, headers=fields, allow_redirects=False) as response:
                return response.status, await read_body(response, url)
        except (aiohttp.ClientError, OSError) as error:  # a time-out is an OSError
            raise StateError(f"{url} does not answer: {error or type(error).__name__}") from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            jar, agent = aiohttp.DummyCookieJar(), {"user-agent": "lockgate"}
            self._session = aiohttp.ClientSession(
                connector=TcpConnector(), cookie_jar=jar, timeout=TIMEOUT, headers=agent, trust_env=self._trust_env
            )
        return self._session
