"""The `kestra` kind of destination: an execution of a flow, by Kestra's REST API."""

from __future__ import annotations

import secrets
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import orjson
from pydantic import Field

from adapters.messaging.destination import MessageDestination
from adapters.messaging.message import Message, unmapped
from adapters.messaging.scoped import scoped
from adapters.messaging.worded import worded
from adapters.workflows.access import Access, Anonymous, Basic, Bearer
from adapters.workflows.client import Call
from adapters.workflows.config import EngineConfig, OneSecret, Url, User
from adapters.workflows.engine import CANCELLED, COMPLETED, FAILED, UNKNOWN, Ask, Begun, EngineFollower, EnginePeer, Ids, fields_of, told
from router.ports import Clock, Ended, Random
from router.secret import Secret

__all__ = ["Config", "build", "follower"]

ENDS = {"SUCCESS": COMPLETED, "WARNING": COMPLETED, "FAILED": FAILED, "KILLED": CANCELLED, "CANCELLED": CANCELLED, "SKIPPED": CANCELLED}
GONE = frozenset({404})
Word = Annotated[str, worded(r"[A-Za-z0-9][A-Za-z0-9._-]*", "a name of letters, digits, '.', '_' and '-'")]


class Config(EngineConfig, OneSecret):
    """Settings of a `kestra` destination."""

    url: Url = Field(description="The server, without `/api/v1`.")
    tenant: Word = Field(default="main", description="Kestra's tenant.")
    namespace: Word = Field(description="Namespace of the flow.")
    flow: Word = Field(description="Id of the flow.")
    login: User | None = Field(default=None, description="User and password (basic authentication).")
    token: Secret | None = Field(default=None, description="An API token.")


class Kestra:
    repeatable = False  # it makes an execution as often as it is asked

    def __init__(self, name: str, settings: Config) -> None:
        self._name = name
        self._settings = settings
        self._api = f"{settings.url}/api/v1/{settings.tenant}"
        self.place = settings.url
        self.access: Access = Anonymous()
        if settings.token is not None:
            self.access = Bearer(name, settings.token)
        elif settings.login is not None:
            self.access = Basic(name, settings.login)

    async def begin(self, ask: Ask, message: Message) -> Begun:
        """What an execution is to be found by stands in its labels, the message's own id as the one that correlates."""
        labels = (("lockgate.decision", message.decision_id), ("system.correlationId", scoped(message)))
        query = urlencode([("labels", f"{name}:{value}") for name, value in labels])
        boundary, body = _form(fields_of(message))
        where = f"{self._api}/executions/{self._settings.namespace}/{self._settings.flow}?{query}"
        answer = await ask(Call("POST", where, body, {"content-type": f"multipart/form-data; boundary={boundary}"}, acts=True))
        return Begun({"execution_id": str(answer.json(self._name)["id"])})

    async def ended(self, ask: Ask, ids: Ids) -> Ended | None:
        answer = await ask(Call("GET", f"{self._api}/executions/{quote(ids['execution_id'], safe='')}", good=GONE))
        if answer.status == 404:
            return UNKNOWN
        state = answer.json(self._name).get("state")
        return told(ENDS, state.get("current")) if isinstance(state, dict) else None

    async def ping(self, ask: Ask) -> None:
        await ask(Call("GET", f"{self._api}/flows/{self._settings.namespace}/{self._settings.flow}"))


def _form(inputs: dict[str, Any]) -> tuple[str, bytes]:
    """(boundary, body): inputs as the fields of a form (RFC 7578). What is no text is JSON."""
    boundary, parts = secrets.token_hex(16), list[bytes]()
    for name, value in inputs.items():
        if not name.isprintable() or '"' in name or "\\" in name:
            raise unmapped("an input has a name that no form can carry")
        content = value.encode() if isinstance(value, str) else orjson.dumps(value)
        parts.append(f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n'.encode() + content + b"\r\n")
    return boundary, b"".join(parts) + f"--{boundary}--\r\n".encode()


def build(settings: Config, *, name: str, clock: Clock, random: Random) -> MessageDestination:
    return MessageDestination(name, settings, EnginePeer(name, settings, Kestra(name, settings)), clock, random)


def follower(settings: Config, *, name: str) -> EngineFollower:
    return EngineFollower(name, settings, Kestra(name, settings))


def resumes(_: Config) -> bool:
    """Whether it takes up work that waits; else it starts new work each time."""
    return False
