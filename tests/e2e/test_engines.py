"""Airflow and Prefect themselves: what their published documents do not say, that they act once, and how runs end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from types import ModuleType
from typing import Any

import orjson
import pytest

from adapters import airflow_destination, prefect_destination
from adapters.messaging.destination import MessageDestination
from router.errors import DestinationError
from router.ports import Ended
from router.system import SystemClock, SystemRandom
from tests.contract.message_promises import Case, Promises, asked, own_id, whole
from tests.e2e.engines import READY_S, airflow, prefect
from tests.e2e.processes import Process, until

pytestmark = pytest.mark.engines
Server = tuple[str, Process]
PATIENT = {"attempts": 10, "backoff": "500ms"}  # over SQLite both say 500 or 503 when many ask at once


@pytest.fixture(scope="module")
def airflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with airflow(tmp_path_factory.mktemp("airflow")) as url:
        yield url


@pytest.fixture(scope="module")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with prefect(tmp_path_factory.mktemp("prefect")) as made:
        yield made


def settings_of(module: ModuleType, url: str, **more: Any) -> Any:
    own: dict[str, Any] = {"dag": "cancel_payment", "login": {"username": "lockgate", "password": "hush"}}
    own = own if module is airflow_destination else {"deployment": "cancel-payment/till"}
    return module.Config.model_validate({"url": url, "timeout": "90s", "retries": PATIENT, "circuit": {"failures": 100}, **own, **more})


@contextlib.asynccontextmanager
async def opened(module: ModuleType, url: str, **more: Any) -> AsyncIterator[MessageDestination]:
    made: MessageDestination = module.build(settings_of(module, url, **more), name="flow", clock=SystemClock(), random=SystemRandom())
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def told(made: MessageDestination, body: bytes) -> tuple[int, Any]:
    status, content = await whole(made, asked(body))
    return status, orjson.loads(content)


def get(url: str, token: str = "", body: Any = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    fields = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, content, fields), timeout=30) as answer:
        return json.load(answer)


async def test_airflow_says_how_a_run_ended(airflow_url: str) -> None:
    async with opened(airflow_destination, airflow_url, wait="80s") as made:
        assert (await told(made, b'{"payment": 1}'))[1]["state"] == "completed"
        with pytest.raises(DestinationError, match="failed") as failed:
            await made.send(asked(b'{"fail": true}'))
        assert failed.value.code == "work_failed"
    await follows(airflow_destination, airflow_url)


async def test_prefect_says_how_a_run_ended(prefect_server: Server) -> None:
    async with opened(prefect_destination, prefect_server[0], wait="80s") as made:
        assert (await told(made, b'{"payment": 1}'))[1]["state"] == "completed"
        with pytest.raises(DestinationError, match="failed") as failed:
            await made.send(asked(b'{"fail": true}'))
        assert failed.value.code == "work_failed"
    await follows(prefect_destination, prefect_server[0])


async def follows(module: ModuleType, url: str) -> None:
    asking = module.follower(settings_of(module, url), name="flow")
    await asking.open()
    async with opened(module, url) as made:
        work = (await made.send(asked(b'{"payment": 2}'))).work
    async with asyncio.timeout(90):
        while (ended := await asking.ended(work)) is None:  # noqa: ASYNC110  # an engine calls nobody
            await asyncio.sleep(0.5)
    assert ended == Ended("completed", True)
    await asking.close()


async def test_what_they_do_not_know_is_refused(airflow_url: str, prefect_server: Server) -> None:
    for module, url, more in (
        (airflow_destination, airflow_url, {"dag": "none"}),
        (prefect_destination, prefect_server[0], {"deployment": "cancel-payment/none"}),
    ):
        async with opened(module, url, **more) as made:
            with pytest.raises(DestinationError) as refused:
                await made.send(asked(b"{}"))
            assert refused.value.code == "upstream_refused"


async def test_airflow_refuses_a_wrong_password(airflow_url: str) -> None:
    async with opened(airflow_destination, airflow_url, login={"username": "lockgate", "password": "bad"}) as made:
        with pytest.raises(DestinationError) as refused:
            await made.ping()
        assert refused.value.code == "upstream_denied"


class TestAirflow(Promises):
    @pytest.fixture
    async def case(self, airflow_url: str) -> AsyncIterator[Case]:
        async def arrived(message_id: str) -> Sequence[bytes]:
            run = f"lockgate-{own_id(asked(b'', key=message_id))}"
            login = {"username": "lockgate", "password": "hush"}
            token = (await asyncio.to_thread(get, f"{airflow_url}/auth/token", "", login))["access_token"]
            runs = f"{airflow_url}/api/v2/dags/cancel_payment/dagRuns"
            found = await asyncio.to_thread(get, f"{runs}/{run}", token)
            return [orjson.dumps({name: value for name, value in found["conf"].items() if name != "lockgate"})]

        async with opened(airflow_destination, airflow_url) as made:
            yield Case(made, arrived)


class TestPrefect(Promises):
    @pytest.fixture
    async def case(self, prefect_server: Server) -> AsyncIterator[Case]:
        url = prefect_server[0]

        async def arrived(message_id: str) -> Sequence[bytes]:
            name = f"lockgate-{own_id(asked(b'', key=message_id))}"
            wanted = {"flow_runs": {"name": {"any_": [name]}}}
            runs = await asyncio.to_thread(get, f"{url}/flow_runs/filter", "", wanted)
            return [orjson.dumps(run["parameters"]) for run in runs]

        async with opened(prefect_destination, url) as made:
            yield Case(made, arrived)


async def test_prefect_is_killed_and_comes_back(prefect_server: Server) -> None:
    """Last of all: the deployment's own process does not live through it."""
    url, running = prefect_server
    async with opened(prefect_destination, url) as made:
        outbound = asked(b'{"payment": 3}')
        first = await whole(made, outbound)
        await asyncio.to_thread(running.kill)
        with pytest.raises(DestinationError):
            await made.ping()
        running.start()

        def back() -> bool:
            with contextlib.suppress(OSError):
                return bool(get(f"{url}/health"))
            return False

        await asyncio.to_thread(until, back, "Prefect answered again", READY_S)
        assert await whole(made, outbound) == first
