"""The `argo` kind of destination: Argo Workflows, submitted from a template by the Argo server's REST API."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote

import orjson
from pydantic import Field

from adapters.messaging.destination import MessageDestination
from adapters.messaging.message import Message
from adapters.messaging.scoped import scoped
from adapters.messaging.worded import worded
from adapters.workflows.access import Access, Anonymous, Bearer
from adapters.workflows.client import Call, post
from adapters.workflows.config import EngineConfig, Url
from adapters.workflows.engine import COMPLETED, FAILED, UNKNOWN, Ask, Begun, EngineFollower, EnginePeer, Ids, fields_of, told
from router.ports import Clock, Ended, Random
from router.secret import Secret
from router.settings import Text

__all__ = ["Config", "build", "follower"]

ENDS = {"Succeeded": COMPLETED, "Failed": FAILED, "Error": FAILED}
TAKEN = frozenset({409})
GONE = frozenset({404})
KIND = {"template": "WorkflowTemplate", "cluster_template": "ClusterWorkflowTemplate", "cron": "CronWorkflow"}
Dns = Annotated[
    str, worded(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "a name as Kubernetes has them: lower-case letters, digits, '-' and '.'")
]


class Config(EngineConfig):
    """Settings of an `argo` destination."""

    url: Url = Field(description="The Argo server, without `/api/v1`.")
    namespace: Dns = Field(description="Kubernetes namespace of the workflows.")
    kind: Literal["template", "cluster_template", "cron"] = Field(default="template", description="What `name` is the name of.")
    name: Dns = Field(description="Name of the template.")
    service_account: Text | None = Field(default=None, description="Service account of the workflow's pods.")
    token: Secret | None = Field(default=None, description="Token of a service account that may create workflows.")


class Argo:
    repeatable = True  # a namespace has one workflow of a name

    def __init__(self, name: str, settings: Config) -> None:
        self._name = name
        self._settings = settings
        self.place = f"{settings.url}/{settings.namespace}"
        self.access: Access = Anonymous() if settings.token is None else Bearer(name, settings.token)

    async def begin(self, ask: Ask, message: Message) -> Begun:
        """409 means that this message was acted on before: the workflow has its name. Parameters are text; other values are JSON."""
        settings, name = self._settings, f"lockgate-{scoped(message)}"
        values = {key: value if isinstance(value, str) else orjson.dumps(value).decode() for key, value in fields_of(message).items()}
        trace = f"traceparent={message.fields['traceparent']}" if "traceparent" in message.fields else ""
        options = {
            "name": name,
            "parameters": [f"{key}={value}" for key, value in values.items()],
            "labels": f"lockgate/decision-id={message.decision_id}",
            **({"annotations": trace} if trace else {}),
            **({} if settings.service_account is None else {"serviceAccount": settings.service_account}),
        }
        kind = KIND[settings.kind]
        document = {"namespace": settings.namespace, "resourceKind": kind, "resourceName": settings.name, "submitOptions": options}
        await ask(post(f"{self._workflows()}/submit", document, TAKEN))
        return Begun({"namespace": settings.namespace, "name": name})

    async def ended(self, ask: Ask, ids: Ids) -> Ended | None:
        """Of an archived workflow, which is not in the cluster any more, the server tells the end as well."""
        answer = await ask(Call("GET", f"{self._workflows()}/{quote(ids['name'], safe='')}?fields=status.phase", good=GONE))
        if answer.status == 404:
            return UNKNOWN
        status = answer.json(self._name).get("status")
        return told(ENDS, status.get("phase")) if isinstance(status, dict) else None

    async def ping(self, ask: Ask) -> None:
        settings, name = self._settings, quote(self._settings.name, safe="")
        where = {
            "template": f"workflow-templates/{settings.namespace}/{name}",
            "cluster_template": f"cluster-workflow-templates/{name}",
            "cron": f"cron-workflows/{settings.namespace}/{name}",
        }
        await ask(Call("GET", f"{settings.url}/api/v1/{where[settings.kind]}"))

    def _workflows(self) -> str:
        return f"{self._settings.url}/api/v1/workflows/{self._settings.namespace}"


def build(settings: Config, *, name: str, clock: Clock, random: Random) -> MessageDestination:
    return MessageDestination(name, settings, EnginePeer(name, settings, Argo(name, settings)), clock, random)


def follower(settings: Config, *, name: str) -> EngineFollower:
    return EngineFollower(name, settings, Argo(name, settings))


def resumes(_: Config) -> bool:
    """Whether it takes up work that waits; else it starts new work each time."""
    return False
