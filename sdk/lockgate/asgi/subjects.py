"""On whose behalf a decision is asked. The application says so, since only it knows whom it authenticated."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import HTTPConnection

from lockgate.client.asking import Subject


class _AsService:
    def __repr__(self) -> str:
        return "AS_SERVICE"


AS_SERVICE: Final = _AsService()
"""Every decision is about this service itself, whoever called it. To be chosen on purpose: everybody then has this service's rights."""

WhoAsks = Callable[[HTTPConnection], Subject | Awaitable[Subject | None] | None] | _AsService


class UnknownCallerError(Exception):
    """Nobody was authenticated."""


async def subject_of(who: WhoAsks, connection: HTTPConnection) -> Subject | None:
    """None stands for this service itself. Raises UnknownCallerError, and whatever `who` raises."""
    if isinstance(who, _AsService):
        return None
    found = who(connection)
    subject = await found if inspect.isawaitable(found) else found
    if subject is None:
        raise UnknownCallerError
    return subject
