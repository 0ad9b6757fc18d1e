"""What destinations over engines' HTTP APIs promise, over servers that hold what is sent to the engines' published documents."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import orjson
import pytest

from adapters import airflow_destination, argo_destination, camunda_destination, kestra_destination, prefect_destination
from adapters.messaging.destination import MessageDestination
from router.errors import ConfigError, DestinationError
from router.ports import Ended, Follower, Outbound
from router.system import SystemClock, SystemRandom
from tests.contract.engine_server import Asked, EngineServer, Runs, published
from tests.contract.engine_shapes import argo, camunda, kestra
from tests.contract.message_promises import Case, Promises, asked, own_id, whole

Json = dict[str, Any]


def airflow() -> tuple[EngineServer, Runs]:
    runs = Runs(state="running")

    def trusted(answer: Callable[[Asked], tuple[int, Any]]) -> Callable[[Asked], tuple[int, Any]]:
        def checked(told: Asked) -> tuple[int, Any]:
            return answer(told) if told.headers.get("Authorization") == f"Bearer {runs.token}" else (401, {"detail": "Unauthorized"})

        return checked

    @trusted
    def start(told: Asked) -> tuple[int, Any]:
        if told.body["dag_run_id"] in runs.made:
            return 409, {"detail": "exists"}
        runs.made[told.body["dag_run_id"]] = told.body["conf"]
        return 200, {"dag_run_id": told.body["dag_run_id"], "state": "queued"}

    @trusted
    def look(told: Asked) -> tuple[int, Any]:
        return (200, {"state": runs.state}) if told.path["dag_run_id"] in runs.made else (404, {"detail": "none"})

    @trusted
    def dags(told: Asked) -> tuple[int, Any]:
        return 200, {"dags": [], "total_entries": 0}

    def login(told: Asked) -> tuple[int, Any]:
        right = told.body == {"username": "lockgate", "password": "hush"}
        return (201, {"access_token": runs.token}) if right else (401, {"detail": "Invalid credentials"})

    run = "/api/v2/dags/{dag_id}/dagRuns"
    handlers = {("POST", run): start, ("GET", run + "/{dag_run_id}"): look, ("GET", "/api/v2/dags"): dags, ("POST", "/auth/token"): login}
    return EngineServer(published("airflow"), handlers), runs


def prefect() -> tuple[EngineServer, Runs]:
    runs, ids, deployment = Runs(state="RUNNING"), dict[str, str](), str(uuid.uuid4())

    def named(told: Asked) -> tuple[int, Any]:
        return 200, {"id": deployment, "name": told.path["deployment_name"]}

    def start(told: Asked) -> tuple[int, Any]:
        key = told.body["idempotency_key"]
        known = key in runs.made
        ids.setdefault(key, str(uuid.uuid4()))
        runs.made.setdefault(key, told.body["parameters"])
        return 200 if known else 201, {"id": ids[key], "state_type": "SCHEDULED"}

    def look(told: Asked) -> tuple[int, Any]:
        return (200, {"state_type": runs.state}) if told.path["id"] in ids.values() else (404, {"detail": "none"})

    handlers = {
        ("POST", "/deployments/{id}/create_flow_run"): start,
        ("GET", "/flow_runs/{id}"): look,
        ("GET", "/deployments/name/{flow_name}/{deployment_name}"): named,
        ("GET", "/deployments/{id}"): named_by_id,
    }
    return EngineServer(published("prefect"), handlers, base="/api"), runs


def named_by_id(told: Asked) -> tuple[int, Any]:
    return 200, {"id": told.path["id"], "name": "till"}


@dataclass(frozen=True)
class Kind:
    """`key` gives, of a message's own id, the one that the engine keeps it under. `ends`: states and what they mean."""

    module: ModuleType
    make: Callable[[], tuple[EngineServer, Runs]]
    settings: Json
    start: tuple[str, str]
    key: Callable[[str], str]
    ends: dict[str, Ended]
    unknown: Json | None
    once: bool = True


AIRFLOW = Kind(
    airflow_destination,
    airflow,
    {"dag": "cancel_payment", "login": {"username": "lockgate", "password": "hush"}},
    ("POST", "/api/v2/dags/{dag_id}/dagRuns"),
    lambda own: f"lockgate-{own}",
    {"success": Ended("completed", True), "failed": Ended("failed", False)},
    {"dag_id": "cancel_payment", "dag_run_id": "none"},
)
PREFECT = Kind(
    prefect_destination,
    prefect,
    {"deployment": "cancel-payment/till", "tags": ["lockgate"]},
    ("POST", "/deployments/{id}/create_flow_run"),
    lambda own: own,
    {
        "COMPLETED": Ended("completed", True),
        "FAILED": Ended("failed", False),
        "CRASHED": Ended("failed", False),
        "CANCELLED": Ended("cancelled", False),
    },
    {"flow_run_id": str(uuid.uuid4())},
)
OAUTH = {"client_id": "lockgate", "client_secret": "hush", "audience": "zeebe"}
CAMUNDA = Kind(
    camunda_destination,
    camunda,
    {"process": "cancel-payment", "oauth": OAUTH},
    ("POST", "/v2/process-instances"),
    lambda own: own,
    {"COMPLETED": Ended("completed", True), "TERMINATED": Ended("cancelled", False)},
    None,
    once=False,
)
CAMUNDA_MESSAGE = Kind(
    camunda_destination,
    camunda,
    {"action": "message", "message": "cancelled", "correlation_key": "any", "oauth": OAUTH},
    ("POST", "/v2/messages/publication"),
    lambda own: own,
    {},
    None,
)
ARGO = Kind(
    argo_destination,
    argo,
    {"namespace": "payments", "name": "cancel-payment", "service_account": "flows", "token": "t"},
    ("POST", "/api/v1/workflows/{namespace}/submit"),
    lambda own: f"lockgate-{own}",
    {"Succeeded": Ended("completed", True), "Failed": Ended("failed", False), "Error": Ended("failed", False)},
    {"namespace": "payments", "name": "none"},
)
KESTRA = Kind(
    kestra_destination,
    kestra,
    {"namespace": "company.payments", "flow": "cancel", "login": {"username": "l", "password": "hush"}},
    ("POST", "/api/v1/{tenant}/executions/{namespace}/{id}"),
    lambda own: own,
    {"SUCCESS": Ended("completed", True), "FAILED": Ended("failed", False), "KILLED": Ended("cancelled", False)},
    {"execution_id": "none"},
    once=False,
)
NAMED = {"airflow": AIRFLOW, "prefect": PREFECT, "camunda": CAMUNDA, "camunda message": CAMUNDA_MESSAGE, "argo": ARGO, "kestra": KESTRA}
KINDS = [pytest.param(each, id=name) for name, each in NAMED.items()]
FOLLOWED = [pytest.param(each, id=name) for name, each in NAMED.items() if each.ends]
ONCE = [pytest.param(each, id=name) for name, each in NAMED.items() if each.once]
TWICE = [pytest.param(each, id=name) for name, each in NAMED.items() if not each.once]


@dataclass
class At:
    kind: Kind
    server: EngineServer
    runs: Runs
    destination: MessageDestination

    def starts(self) -> list[Asked]:
        return [each for each in self.server.asked if (each.method, each.template) == self.kind.start]

    async def told(self, outbound: Outbound) -> tuple[int, Json]:
        status, content = await whole(self.destination, outbound)
        return status, orjson.loads(content)

    def follower(self) -> Follower:
        found: Follower = self.kind.module.follower(config(self.kind, self.server), name="flow")
        return found


def config(kind: Kind, server: EngineServer, **settings: Any) -> Any:
    common = {"url": server.url, "timeout": "5s", "retries": {"attempts": 2, "backoff": "1ms"}}
    made = {**common, **kind.settings, **settings}
    if "oauth" in made:
        made["oauth"] = {"url": f"{server.url}/oauth/token", **made["oauth"]}
    return kind.module.Config.model_validate(made)


@contextlib.asynccontextmanager
async def at(kind: Kind, **settings: Any) -> AsyncIterator[At]:
    """Whatever a test does, nothing goes over the wire that the engine's document does not have."""
    server, runs = kind.make()
    await server.start()
    made = kind.module.build(config(kind, server, **settings), name="flow", clock=SystemClock(), random=SystemRandom())
    try:
        await made.open()
        yield At(kind, server, runs, made)
    finally:
        await made.close()
        await server.stop()
    assert server.mistakes == []


class _Engines(Promises):
    kind: Kind

    @pytest.fixture
    async def case(self) -> AsyncIterator[Case]:
        async with at(self.kind) as here:

            async def arrived(message_id: str) -> Sequence[bytes]:
                found = here.runs.made.get(here.kind.key(own_id(asked(b"", key=message_id))))
                return [] if found is None else [orjson.dumps({name: value for name, value in found.items() if name != "lockgate"})]

            yield Case(here.destination, arrived, once=self.kind.once)


class TestAirflow(_Engines):
    kind = AIRFLOW


class TestPrefect(_Engines):
    kind = PREFECT


class TestCamundaMessage(_Engines):
    kind = CAMUNDA_MESSAGE


class TestArgo(_Engines):
    kind = ARGO


class TestKestra(_Engines):
    kind = KESTRA


@pytest.mark.parametrize("kind", ONCE)
async def test_a_repeat_is_answered_with_the_first_ones_ids(kind: Kind) -> None:
    async with at(kind) as here:
        again = asked(b'{"n":1}')
        first, second, other = await here.told(again), await here.told(again), await here.told(asked(b'{"n":2}'))
    assert first == second
    assert first[1] != other[1]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_decision_and_the_trace_travel_along(kind: Kind) -> None:
    async with at(kind) as here:
        outbound = asked(b'{"n":1}')
        await here.told(outbound)
        (start,) = here.starts()
    fields = {name.decode(): value.decode() for name, value in outbound.headers}
    assert start.headers["traceparent"] == fields["traceparent"]
    assert start.headers["x-lockgate-decision-id"] == fields["x-lockgate-decision-id"]
    assert fields["traceparent"] in str(start.body) or kind is KESTRA  # which reads the header
    assert fields["x-lockgate-decision-id"] in f"{start.body}{start.queries}"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_body_without_names_is_refused_and_nothing_is_sent(kind: Kind) -> None:
    async with at(kind) as here:
        for body in (b"[1]", b"nonsense", b""):
            with pytest.raises(DestinationError) as refused:
                await here.destination.send(asked(body))
            assert (refused.value.code, refused.value.final) == ("input_unmapped", True)
        assert here.starts() == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "code", "sent"),
    [
        (400, "upstream_refused", False),
        (403, "upstream_denied", False),
        (413, "body_too_large", False),
        (422, "upstream_refused", False),
        (302, "upstream_refused", False),
        (429, "upstream_throttled", False),
        (500, "upstream_unavailable", True),
        (503, "upstream_unavailable", True),
        (None, "upstream_reset", True),
    ],
)
async def test_what_the_engine_says_becomes_a_code(kind: Kind, status: int | None, code: str, sent: bool) -> None:
    """Each is said by the start itself; what is asked before has been answered."""
    async with at(kind, retries={"attempts": 1}) as here:
        await here.destination.ping()
        here.server.failing = [status]
        with pytest.raises(DestinationError) as refused:
            await here.destination.send(asked(b"{}"))
    assert (refused.value.code, refused.value.sent) == (code, sent)


@pytest.mark.parametrize("kind", ONCE)
async def test_a_failure_that_passes_is_tried_again(kind: Kind) -> None:
    async with at(kind) as here:
        await here.destination.ping()
        here.server.failing = [503]
        reply = await here.destination.send(asked(b"{}"))
        assert (reply.attempts, len(here.starts()), len(here.runs.made)) == (2, 2, 1)


@pytest.mark.parametrize("kind", FOLLOWED)
async def test_how_it_ended_is_waited_for(kind: Kind) -> None:
    async with at(kind, wait="2s") as here:
        for state, ended in kind.ends.items():
            here.runs.state = state
            if ended.well:
                status, answer = await here.told(asked(b"{}"))
                assert (status, answer["state"]) == (200, "completed")
            else:
                with pytest.raises(DestinationError, match=ended.state) as failed:
                    await here.destination.send(asked(b"{}"))
                assert (failed.value.code, failed.value.sent, failed.value.final) == ("work_failed", True, True)


@pytest.mark.parametrize("kind", FOLLOWED)
async def test_what_does_not_end_in_time_is_an_acknowledgement(kind: Kind) -> None:
    async with at(kind, wait="300ms") as here:
        status, answer = await here.told(asked(b"{}"))
    assert status == 202
    assert "state" not in answer


@pytest.mark.parametrize("kind", FOLLOWED)
async def test_the_follower_tells_how_it_ended(kind: Kind) -> None:
    async with at(kind) as here:
        work = (await here.destination.send(asked(b"{}"))).work
        asking = here.follower()
        await asking.open()
        assert await asking.ended(work) is None
        for state, ended in kind.ends.items():
            here.runs.state = state
            assert await asking.ended(work) == ended
        if kind.unknown is not None:
            assert await asking.ended(orjson.dumps(kind.unknown).decode()) == Ended("unknown", False)
        here.server.failing = [503]
        with pytest.raises(DestinationError):
            await asking.ended(work)
        await asking.close()
        await asking.close()


@pytest.mark.parametrize("kind", ONCE)
async def test_an_engine_that_goes_and_comes_back(kind: Kind) -> None:
    async with at(kind, retries={"attempts": 1}, circuit={"failures": 100}) as here:
        again = asked(b"{}")
        first = await here.told(again)
        await here.server.stop()
        with pytest.raises(DestinationError) as gone:
            await here.destination.send(asked(b"{}"))
        assert gone.value.code in ("connect_failed", "upstream_reset")
        with pytest.raises(DestinationError):
            await here.destination.ping()
        await here.server.start()
        assert await here.told(again) == first


@pytest.mark.parametrize("kind", KINDS)
async def test_an_engine_that_never_answers_is_bounded(kind: Kind) -> None:
    async def deaf(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    writers = list[asyncio.StreamWriter]()
    listener = await asyncio.start_server(deaf, "127.0.0.1", 0)
    settings = config(kind, EngineServer({}, {}, port=listener.sockets[0].getsockname()[1]), timeout="300ms")
    made = kind.module.build(settings, name="flow", clock=SystemClock(), random=SystemRandom())
    await made.open()
    try:
        with pytest.raises(DestinationError) as late:
            await made.send(asked(b"{}"))
        assert late.value.code == "upstream_timeout"
    finally:
        await made.close()
        listener.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@pytest.mark.parametrize("kind", TWICE)
async def test_what_may_have_arrived_is_not_sent_again_where_the_engine_would_act_twice(kind: Kind) -> None:
    async with at(kind) as here:
        await here.destination.ping()
        here.server.failing = [503]
        with pytest.raises(DestinationError) as failed:
            await here.destination.send(asked(b"{}"))
        assert (failed.value.code, failed.value.sent, len(here.starts())) == ("upstream_unavailable", True, 1)


async def test_an_instance_that_camunda_does_not_show_yet_goes_on() -> None:
    async with at(CAMUNDA) as here:
        asking = here.follower()
        await asking.open()
        assert await asking.ended('{"process_instance_key": "1"}') is None
        await asking.close()


async def test_a_token_of_client_credentials_is_asked_for_again_once() -> None:
    async with at(CAMUNDA) as here:
        await here.told(asked(b"{}"))
        here.runs.token = "second"
        assert (await here.told(asked(b"{}")))[0] == 202
        assert len([each for each in here.server.asked if each.template == "/oauth/token"]) == 2


async def test_inputs_that_no_form_can_carry_are_refused() -> None:
    async with at(KESTRA) as here:
        for name in ('a"b', "a\\nb"):
            with pytest.raises(DestinationError) as refused:
                await here.destination.send(asked(orjson.dumps({name: 1})))
            assert refused.value.code == "input_unmapped"


async def test_a_token_that_is_refused_is_asked_for_again_once() -> None:
    async with at(AIRFLOW) as here:
        await here.told(asked(b"{}"))
        here.runs.token = "second"
        assert (await here.told(asked(b"{}")))[0] == 202
        logins = [each for each in here.server.asked if each.template == "/auth/token"]
        assert len(logins) == 2


async def test_a_login_that_is_refused_is_a_denial() -> None:
    async with at(AIRFLOW, login={"username": "lockgate", "password": "bad"}) as here:
        with pytest.raises(DestinationError) as refused:
            await here.destination.send(asked(b"{}"))
    assert (refused.value.code, refused.value.sent) == ("upstream_denied", False)
    assert "bad" not in str(refused.value)


async def test_a_secret_that_cannot_be_read_is_a_denial(tmp_path: Any) -> None:
    async with at(AIRFLOW, login=None, token={"file": str(tmp_path / "none")}) as here:
        with pytest.raises(DestinationError, match="secret of flow cannot be read") as refused:
            await here.destination.send(asked(b"{}"))
    assert refused.value.code == "upstream_denied"


async def test_a_file_that_is_missing_is_said_when_it_opens(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="TLS files of the destination flow"):
        async with at(AIRFLOW, tls={"ca": str(tmp_path / "none.pem")}):
            pass


@pytest.mark.parametrize(
    ("kind", "settings", "why"),
    [
        (AIRFLOW, {"url": "http://a/?x=1"}, "without user, query and fragment"),
        (AIRFLOW, {"token": "t"}, "use one of them"),
        (AIRFLOW, {"wait": "5s"}, "shorter than 'timeout'"),
        (PREFECT, {"deployment": "till"}, "deployment"),
        (CAMUNDA, {"process": None, "oauth": None}, "needs 'process'"),
        (CAMUNDA, {"message": "m", "oauth": None}, "has no 'message'"),
        (CAMUNDA_MESSAGE, {"wait": "1s", "oauth": None}, "has 'wait'"),
        (KESTRA, {"token": "t"}, "use one of them"),
        (ARGO, {"name": "Upper"}, "name"),
    ],
)
def test_settings_that_mean_nothing_are_refused(kind: Kind, settings: Json, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        kind.module.Config.model_validate({"url": "http://a", "timeout": "5s", **kind.settings, **settings})
