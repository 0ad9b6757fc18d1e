"""The `camunda` kind of destination: process instances and messages, by the REST API v2 of Camunda 8."""

from __future__ import annotations

from typing import Any, Literal, Self
from urllib.parse import quote, urlencode

from pydantic import Field, model_validator

from adapters.messaging.destination import MessageDestination
from adapters.messaging.message import Message
from adapters.messaging.scoped import scoped
from adapters.workflows.access import Access, Anonymous, Basic, Bearer, LoggedIn, revealed
from adapters.workflows.client import Call, post
from adapters.workflows.config import EngineConfig, OneSecret, Url, User
from adapters.workflows.engine import CANCELLED, COMPLETED, Ask, Begun, EngineFollower, EnginePeer, Ids, fields_of, told
from router.ports import Clock, Ended, Random
from router.secret import Secret
from router.settings import Span, Strict, Text
from router.templates import Line

__all__ = ["Config", "build", "follower"]

ENDS = {"COMPLETED": COMPLETED, "TERMINATED": CANCELLED, "CANCELED": CANCELLED}
TAKEN = frozenset({409})
NOT_SEEN = frozenset({404})


class OAuth(Strict):
    """Client credentials (RFC 6749 §4.4)."""

    url: Url = Field(description="Where tokens are given.")
    client_id: Text = Field(description="Our id.")
    client_secret: Secret = Field(description="Our secret.")
    audience: Text | None = Field(default=None, description="For whom the token is.")
    scope: Text | None = Field(default=None, description="Its scope.")


class Config(EngineConfig, OneSecret):
    """Settings of a `camunda` destination."""

    url: Url = Field(description="The cluster's REST API, without `/v2`.")
    action: Literal["start", "message"] = Field(default="start", description="Create a process instance, or publish a message.")
    process: Text | None = Field(default=None, description="BPMN id of the process that is started.")
    message: Text | None = Field(default=None, description="Name of the message.")
    correlation_key: Line | None = Field(
        default=None, description="The message's correlation key; without one it can start a process only."
    )
    time_to_live: Span = Field(default=86400.0, description="How long the message waits for its receiver, and its id is known again.")
    tenant: Text | None = Field(default=None, description="Camunda's tenant.")
    oauth: OAuth | None = Field(default=None, description="Tokens by client credentials.")
    login: User | None = Field(default=None, description="User and password (basic authentication).")
    token: Secret | None = Field(default=None, description="A token.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        wanted, other = ("process", "message") if self.action == "start" else ("message", "process")
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            raise ValueError(f"needs '{wanted}' for the action '{self.action}', and has no '{other}'")
        if self.action == "message" and self.wait is not None:
            raise ValueError("has 'wait', which means nothing for the action 'message'")
        return self


class Camunda:
    def __init__(self, name: str, settings: Config) -> None:
        self._name = name
        self._settings = settings
        self.repeatable = settings.action == "message"  # instances are created as often as it is asked
        self.place = settings.url
        self.access: Access = _access(name, settings)

    async def begin(self, ask: Ask, message: Message) -> Begun:
        trace = {name: message.fields[name] for name in ("traceparent",) if name in message.fields}
        variables = {"lockgate": {"decision_id": message.decision_id, **trace}, **fields_of(message)}
        tenant = {} if self._settings.tenant is None else {"tenantId": self._settings.tenant}
        if self._settings.action == "message":
            return await self._published(ask, message, {"variables": variables, **tenant})
        document = {"processDefinitionId": self._settings.process, "variables": variables, **tenant}
        answer = await ask(post(f"{self._settings.url}/v2/process-instances", document))
        return Begun({"process_instance_key": str(answer.json(self._name)["processInstanceKey"])})

    async def ended(self, ask: Ask, ids: Ids) -> Ended | None:
        """An instance can be looked at some time after it was made, so one that is not seen goes on."""
        key = quote(ids["process_instance_key"], safe="")
        answer = await ask(Call("GET", f"{self._settings.url}/v2/process-instances/{key}", good=NOT_SEEN))
        return None if answer.status == 404 else told(ENDS, answer.json(self._name).get("state"))

    async def ping(self, ask: Ask) -> None:
        await ask(Call("GET", f"{self._settings.url}/v2/topology"))

    async def _published(self, ask: Ask, message: Message, given: dict[str, Any]) -> Begun:
        """409 means that a message of this id is there, so that this one was acted on before."""
        key = self._settings.correlation_key
        document = {
            "name": self._settings.message,
            "correlationKey": "" if key is None else message.text(key),
            "messageId": scoped(message),
            "timeToLive": int(self._settings.time_to_live * 1000),
            **given,
        }
        await ask(post(f"{self._settings.url}/v2/messages/publication", document, TAKEN))
        return Begun({"message_id": document["messageId"]}, followed=False)


def _access(name: str, settings: Config) -> Access:
    if settings.token is not None:
        return Bearer(name, settings.token)
    if settings.login is not None:
        return Basic(name, settings.login)
    if settings.oauth is None:
        return Anonymous()
    oauth = settings.oauth

    async def login() -> Call:
        asked = {"grant_type": "client_credentials", "client_id": oauth.client_id}
        asked["client_secret"] = await revealed(oauth.client_secret, name)
        asked.update((key, value) for key, value in (("audience", oauth.audience), ("scope", oauth.scope)) if value is not None)
        return Call("POST", oauth.url, urlencode(asked).encode(), {"content-type": "application/x-www-form-urlencoded"})

    return LoggedIn(name, login)


def build(settings: Config, *, name: str, clock: Clock, random: Random) -> MessageDestination:
    return MessageDestination(name, settings, EnginePeer(name, settings, Camunda(name, settings)), clock, random)


def follower(settings: Config, *, name: str) -> EngineFollower:
    return EngineFollower(name, settings, Camunda(name, settings))


def resumes(settings: Config) -> bool:
    """Whether it takes up work that waits; else it starts new work each time."""
    return settings.action == "message"
