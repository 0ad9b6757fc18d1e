"""What signing in needs of the running process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from router.identity.break_glass import BreakGlass
from router.identity.local_links import LocalLinks
from router.identity.oidc.client import OidcClient
from router.identity.sessions import SessionService


@dataclass(frozen=True, slots=True)
class SignIn:
    """`secure`: whether browsers reach the listener over TLS. `local` is None where nobody signs in by a link of this machine's, `oidc`
    where nobody does at a provider, `break_glass` where there is no way around both."""

    sessions: SessionService
    secure: bool
    local: LocalLinks | None = None
    oidc: OidcClient | None = None
    break_glass: BreakGlass | None = None
    open_glass: list[int] = field(default_factory=lambda: [0])  # one number: how many such sessions are open

    async def close(self) -> None:
        if self.oidc is not None:
            await self.oidc.provider.close()
        await asyncio.to_thread(self.sessions.close)
