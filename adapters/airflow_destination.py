"""The `airflow` kind of destination: a run of a DAG, by Apache Airflow's REST API v2 (Airflow 3)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pydantic import Field

from adapters.messaging.destination import MessageDestination
from adapters.messaging.document import CARRIED
from adapters.messaging.message import Message
from adapters.messaging.scoped import scoped
from adapters.workflows.access import Access, Anonymous, Bearer, LoggedIn, revealed
from adapters.workflows.client import Call, post
from adapters.workflows.config import EngineConfig, OneSecret, Url, User
from adapters.workflows.engine import COMPLETED, FAILED, UNKNOWN, Ask, Begun, EngineFollower, EnginePeer, Ids, fields_of, told
from router.ports import Clock, Ended, Random
from router.secret import Secret
from router.templates import Line

__all__ = ["Config", "build", "follower"]

ENDS = {"success": COMPLETED, "failed": FAILED}
TAKEN = frozenset({409})
GONE = frozenset({404})


class Config(EngineConfig, OneSecret):
    """Settings of an `airflow` destination."""

    url: Url = Field(description="The API server, without `/api/v2`.")
    dag: Line = Field(description="Id of the DAG.")
    login: User | None = Field(default=None, description="User whose token (JWT) is asked for at `/auth/token`.")
    token: Secret | None = Field(default=None, description="A token instead of a login.")


class Airflow:
    repeatable = True  # a DAG has one run of an id

    def __init__(self, name: str, settings: Config) -> None:
        self._name = name
        self._settings = settings
        self.place = settings.url
        self.access = self._access()

    async def begin(self, ask: Ask, message: Message) -> Begun:
        """409 means that this message was acted on before: the run has its id."""
        dag, run = message.text(self._settings.dag), f"lockgate-{scoped(message)}"
        trace = {name: message.fields[name] for name in CARRIED if name in message.fields}
        conf: dict[str, Any] = {"lockgate": {"decision_id": message.decision_id, **trace}, **fields_of(message)}
        document = {"dag_run_id": run, "logical_date": None, "conf": conf, "note": f"Lockgate decision {message.decision_id}"}
        await ask(post(f"{self._runs(dag)}", document, TAKEN))
        return Begun({"dag_id": dag, "dag_run_id": run})

    async def ended(self, ask: Ask, ids: Ids) -> Ended | None:
        answer = await ask(Call("GET", f"{self._runs(ids['dag_id'])}/{quote(ids['dag_run_id'], safe='')}", good=GONE))
        return UNKNOWN if answer.status == 404 else told(ENDS, answer.json(self._name).get("state"))

    async def ping(self, ask: Ask) -> None:
        """With our credential, which the server's own health check does not look at."""
        await ask(Call("GET", f"{self._settings.url}/api/v2/dags?limit=1"))

    def _runs(self, dag: str) -> str:
        return f"{self._settings.url}/api/v2/dags/{quote(dag, safe='')}/dagRuns"

    def _access(self) -> Access:
        settings = self._settings
        if settings.token is not None:
            return Bearer(self._name, settings.token)
        if settings.login is None:
            return Anonymous()
        user = settings.login

        async def login() -> Call:
            document = {"username": user.username, "password": await revealed(user.password, self._name)}
            return post(f"{settings.url}/auth/token", document)

        return LoggedIn(self._name, login)


def build(settings: Config, *, name: str, clock: Clock, random: Random) -> MessageDestination:
    return MessageDestination(name, settings, EnginePeer(name, settings, Airflow(name, settings)), clock, random)


def follower(settings: Config, *, name: str) -> EngineFollower:
    return EngineFollower(name, settings, Airflow(name, settings))


def resumes(_: Config) -> bool:
    """Whether it takes up work that waits; else it starts new work each time."""
    return False
