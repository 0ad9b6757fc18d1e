"""The `prefect` kind of destination: a flow run of a deployment, by Prefect's REST API."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field

from adapters.messaging.destination import MessageDestination, failure
from adapters.messaging.message import Message
from adapters.messaging.scoped import scoped
from adapters.messaging.worded import worded
from adapters.workflows.access import Access, Anonymous, Basic, Bearer
from adapters.workflows.client import Call, post
from adapters.workflows.config import EngineConfig, OneSecret, Url, User
from adapters.workflows.engine import CANCELLED, COMPLETED, FAILED, UNKNOWN, Ask, Begun, EngineFollower, EnginePeer, Ids, fields_of, told
from router.ports import Clock, Ended, Random
from router.secret import Secret
from router.settings import Texts

__all__ = ["Config", "build", "follower"]

ENDS = {"COMPLETED": COMPLETED, "FAILED": FAILED, "CRASHED": FAILED, "CANCELLED": CANCELLED}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
GONE = frozenset({404})
TRACE = "__OTEL_TRACEPARENT"  # the label in which Prefect's own instrumentation keeps a run's trace


class Config(EngineConfig, OneSecret):
    """Settings of a `prefect` destination."""

    url: Url = Field(description="The API, with `/api`, or with account and workspace of Prefect Cloud.")
    deployment: Annotated[str, worded(r"[^/]+/[^/]+|[0-9a-f-]{36}", "flow/deployment, or a deployment's id")] = Field(
        description="The deployment, as `flow/deployment` or by its id."
    )
    tags: Texts = Field(default=(), description="Tags of the flow runs.")
    token: Secret | None = Field(default=None, description="API key, as Prefect Cloud has them.")
    login: User | None = Field(default=None, description="User and password of a server with basic authentication.")


class Prefect:
    repeatable = True  # a deployment has one run of an idempotency key

    def __init__(self, name: str, settings: Config) -> None:
        self._name = name
        self._settings = settings
        self._deployment = settings.deployment if UUID.fullmatch(settings.deployment) else ""
        self.place = settings.url
        self.access: Access = Anonymous()
        if settings.token is not None:
            self.access = Bearer(name, settings.token)
        elif settings.login is not None:
            self.access = Basic(name, settings.login)

    async def begin(self, ask: Ask, message: Message) -> Begun:
        """A deployment that was made anew has another id, so one that is not known any more is looked for once again."""
        labels = {"lockgate.decision_id": message.decision_id}
        if "traceparent" in message.fields:
            labels[TRACE] = message.fields["traceparent"]
        key = scoped(message)
        document: dict[str, Any] = {"parameters": fields_of(message), "idempotency_key": key, "name": f"lockgate-{key}", "labels": labels}
        document["tags"] = list(self._settings.tags)
        answer = await ask(post(await self._runs(ask), document, GONE))
        if answer.status == 404 and not UUID.fullmatch(self._settings.deployment):
            self._deployment = ""
            answer = await ask(post(await self._runs(ask), document, GONE))
        if answer.status == 404:
            raise failure("upstream_refused", f"{self._name} has no such deployment")
        return Begun({"flow_run_id": str(answer.json(self._name)["id"])})

    async def ended(self, ask: Ask, ids: Ids) -> Ended | None:
        answer = await ask(Call("GET", f"{self._settings.url}/flow_runs/{quote(ids['flow_run_id'], safe='')}", good=GONE))
        return UNKNOWN if answer.status == 404 else told(ENDS, answer.json(self._name).get("state_type"))

    async def ping(self, ask: Ask) -> None:
        await self._runs(ask)
        await ask(Call("GET", f"{self._settings.url}/deployments/{self._deployment}"))

    async def _runs(self, ask: Ask) -> str:
        if not self._deployment:
            flow, _, deployment = self._settings.deployment.partition("/")
            name = f"{quote(flow, safe='')}/{quote(deployment, safe='')}"
            answer = await ask(Call("GET", f"{self._settings.url}/deployments/name/{name}"))
            self._deployment = str(answer.json(self._name)["id"])
        return f"{self._settings.url}/deployments/{self._deployment}/create_flow_run"


def build(settings: Config, *, name: str, clock: Clock, random: Random) -> MessageDestination:
    return MessageDestination(name, settings, EnginePeer(name, settings, Prefect(name, settings)), clock, random)


def follower(settings: Config, *, name: str) -> EngineFollower:
    return EngineFollower(name, settings, Prefect(name, settings))


def resumes(_: Config) -> bool:
    """Whether it takes up work that waits; else it starts new work each time."""
    return False
