"""What signing in needs of the running process."""

from __future__ import annotations

from dataclasses import dataclass

from router.identity.local_links import LocalLinks
from router.identity.sessions import SessionService


@dataclass(frozen=True, slots=True)
class SignIn:
    """`secure`: whether browsers reach the listener over TLS. `local` is None where nobody signs in by a link of this machine's."""

    sessions: SessionService
    secure: bool
    local: LocalLinks | None = None
