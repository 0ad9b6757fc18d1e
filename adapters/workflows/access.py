"""How an engine is told who asks. Secrets are read when they are needed, so that files may be exchanged."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from adapters.messaging.destination import failure
from adapters.workflows.client import Answer, Call
from adapters.workflows.config import User
from router.errors import ConfigError
from router.secret import Secret

ROOT = Path()
Ask = Callable[[Call], Awaitable[Answer]]


async def revealed(secret: Secret, name: str) -> str:
    """Raises DestinationError `upstream_denied` for a file that cannot be read."""
    try:
        return await asyncio.to_thread(secret.reveal, ROOT)
    except ConfigError as error:
        raise failure("upstream_denied", f"the secret of {name} cannot be read") from error


class Access(Protocol):
    renews: bool
    """Whether after a refusal (401) it is worth asking with fresh fields."""

    async def fields(self, call: Call, ask: Ask, *, fresh: bool) -> Mapping[str, str]:
        """Header fields for the call. `ask` asks without any."""


class Anonymous:
    renews = False

    async def fields(self, call: Call, ask: Ask, *, fresh: bool) -> Mapping[str, str]:
        return {}


class Bearer:
    renews = False

    def __init__(self, name: str, token: Secret) -> None:
        self._name = name
        self._token = token

    async def fields(self, call: Call, ask: Ask, *, fresh: bool) -> Mapping[str, str]:
        return {"authorization": f"Bearer {await revealed(self._token, self._name)}"}


class Basic:
    renews = False

    def __init__(self, name: str, user: User) -> None:
        self._name = name
        self._user = user

    async def fields(self, call: Call, ask: Ask, *, fresh: bool) -> Mapping[str, str]:
        both = f"{self._user.username}:{await revealed(self._user.password, self._name)}".encode()
        return {"authorization": f"Basic {base64.b64encode(both).decode()}"}


class LoggedIn:
    """A token that is asked for once, and again when it is refused. `login` makes the request for one, which `field` of the answer has."""

    renews = True

    def __init__(self, name: str, login: Callable[[], Awaitable[Call]], field: str = "access_token") -> None:
        self._name = name
        self._login = login
        self._field = field
        self._token = ""
        self._turn = asyncio.Lock()

    async def fields(self, call: Call, ask: Ask, *, fresh: bool) -> Mapping[str, str]:
        used = self._token
        async with self._turn:
            if not self._token or (fresh and self._token == used):  # else somebody fetched another one meanwhile
                self._token = await self._fetched(ask)
        return {"authorization": f"Bearer {self._token}"}

    async def _fetched(self, ask: Ask) -> str:
        answer = await ask(await self._login())
        found: Any = answer.json(self._name).get(self._field) if 200 <= answer.status < 300 else None
        if answer.status >= 500:
            raise failure("upstream_unavailable", f"{self._name} gave no token (status {answer.status})")
        if not isinstance(found, str) or not found:
            raise failure("upstream_denied", f"{self._name} gave no token (status {answer.status})")
        return found
