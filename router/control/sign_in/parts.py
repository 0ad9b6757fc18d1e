"""What signing in needs of the running process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from router.identity.local_links import LocalLinks
from router.identity.oidc.client import OidcClient
from router.identity.sessions import SessionService


@dataclass(frozen=True, slots=True)
class SignIn:
    """`secure`: whether browsers reach the listener over TLS. `local` is None where nobody signs in by a link of this machine's, `oidc`
    where nobody does at a provider."""

    sessions: SessionService
    secure: bool
    local: LocalLinks | None = None
    oidc: OidcClient | None = None

    async def close(self) -> None:
        if self.oidc is not None:
            await self.oidc.provider.close()
        await asyncio.to_thread(self.sessions.close)
