"""A real `lockgate serve` in front of Temporal's own server and a real worker: what was decided is done, and how it ended is on record."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.needs import needs

needs("temporalio", "pip install 'lockgate[temporal]'")

from temporalio.client import Client

from tests.e2e.processes import Process, until
from tests.e2e.running import Lockgate, cli, prepared
from tests.e2e.test_reviews import approve, state_of
from tests.e2e.yard import load, save
from tests.temporal_server import TemporalServer, temporal_server
from tests.temporal_workflows import QUEUE

FOLLOWED = {"destination": "flow", "evidence": {"within": "1h", "follow": True}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    with temporal_server(tmp_path_factory.mktemp("temporal")) as made:
        yield made


@pytest.fixture(scope="module")
def flowing(server: TemporalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    """`/echo` starts a workflow that ends at once, `/nothing` one that waits to be told, and payments are held before they start one."""
    folder = tmp_path_factory.mktemp("yard")
    worker = Process([sys.executable, "-m", "tests.temporal_workflows", server.address], folder / "worker.log")
    with prepared(folder) as lockgate:
        file = lockgate.yard.folder / "catalog.yaml"
        catalog = load(file)
        common = {"adapter": "temporal", "address": server.address, "task_queue": QUEUE}
        catalog["destinations"]["flow"] = {**common, "workflow": "Echo"}
        catalog["destinations"]["slow"] = {**common, "workflow": "Collects"}
        signal = {"action": "signal", "signal": "add", "workflow_id": "{{ request.headers['resume-workflow'] }}"}
        catalog["destinations"]["tells"] = {"adapter": "temporal", "address": server.address, **signal}
        catalog["routes"]["once"]["resume"] = {"destination": "tells"}
        catalog["routes"]["plain"] = FOLLOWED
        catalog["routes"]["lonely"] = {**FOLLOWED, "destination": "slow"}
        save(file, catalog)
        worker.start()
        try:
            lockgate.start()
            yield lockgate
        finally:
            worker.kill()


def evidence(lockgate: Lockgate, decision: str) -> Any:
    def found() -> Any:
        return [leaf["evidence"] for leaf in lockgate.story(decision) if leaf["schema"] == "lockgate.evidence.v1"]

    return until(found, "evidence was recorded")


def test_a_decided_request_starts_a_workflow_and_how_it_ended_is_evidence(flowing: Lockgate) -> None:
    answer = flowing.ask("ann", "POST", "/echo/1", {"payment": 4711})
    assert (answer.status, sorted(answer.json)) == (202, ["namespace", "run_id", "workflow_id"])
    assert answer.json["workflow_id"] == f"lockgate-{answer.decision}"
    told = evidence(flowing, answer.decision)
    assert told == [{"destination": "flow", "phase": "completed", "reference": "decision", "sender": "lockgate.follower"}]
    outcome = next(leaf for leaf in flowing.story(answer.decision) if leaf["schema"] == "lockgate.outcome.v1")
    assert "work" in outcome["commitments"]
    assert outcome["outcome"]["upstream"].startswith("temporal://127.0.0.1:")
    shown = cli("audit", "show", answer.decision, "--state", str(flowing.state))
    assert shown.returncode == 0
    assert "completed" in shown.stdout
    assert flowing.verify().returncode == 0


def test_a_held_request_starts_its_workflow_once_somebody_said_yes(flowing: Lockgate, server: TemporalServer) -> None:
    answer = flowing.ask("ann", "POST", "/pay/1", {"amount": 5})
    assert answer.status == 202
    workflow_id = f"lockgate-{answer.decision}"
    assert not known(server, workflow_id)
    assert approve(flowing, answer.decision).status == 200
    assert state_of(flowing, answer.decision, "done")
    assert evidence(flowing, answer.decision)[0]["phase"] == "completed"
    assert known(server, workflow_id)


def test_work_is_followed_across_a_crash_and_without_what_is_derived(flowing: Lockgate, server: TemporalServer) -> None:
    answer = flowing.ask("ann", "POST", "/lonely/1", {"payment": 1})
    flowing.outcome(answer.decision)
    flowing.process.kill()
    asyncio.run(signalled(server, answer.json["workflow_id"]))
    following = flowing.state / "following.sqlite"
    assert following.exists()
    for file in flowing.state.glob("following.sqlite*"):
        file.unlink()
    flowing.start()
    assert len(evidence(flowing, answer.decision)) == 1
    until(lambda: "lockgate_work_followed 0.0" in metrics(flowing), "nothing was left to follow")


def test_only_an_engine_can_be_asked(tmp_path: Path) -> None:
    with prepared(tmp_path) as lockgate:
        file = lockgate.yard.folder / "catalog.yaml"
        catalog = load(file)
        catalog["routes"]["plain"] = {**FOLLOWED, "destination": "service"}
        save(file, catalog)
        checked = cli("check", "--config", str(lockgate.yard.config))
        assert checked.returncode == 1
        assert "The destination 'service' cannot be asked how work ended: 'http' has no such question." in checked.stderr + checked.stdout


def metrics(lockgate: Lockgate) -> str:
    return lockgate.control("GET", "/metrics").body.decode()


def known(server: TemporalServer, workflow_id: str) -> bool:
    async def ask() -> bool:
        client = await Client.connect(server.address)
        return bool([each async for each in client.list_workflows(f"WorkflowId = '{workflow_id}'")])

    return asyncio.run(ask())


async def signalled(server: TemporalServer, workflow_id: str) -> None:
    handle = (await Client.connect(server.address)).get_workflow_handle(workflow_id)
    await handle.signal("end")
    await handle.result()


def test_a_workflow_that_waits_is_told_by_a_signal_when_its_review_has_ended(flowing: Lockgate, server: TemporalServer) -> None:
    """Under the id that its step gave, which is all that leads there."""
    workflow = "waits-for-a-person"

    async def begun() -> None:
        client = await Client.connect(server.address)
        await client.start_workflow("Collects", id=workflow, task_queue=QUEUE)

    async def held() -> Any:
        client = await Client.connect(server.address)
        return await client.get_workflow_handle(workflow).query("held")

    asyncio.run(begun())
    wanted = {"method": "POST", "path": "/once/1", "body": {"amount": 5}, "hold": True, "resume": {"workflow": workflow}}
    review = flowing.decide("checkout", wanted).json["id"]
    assert asyncio.run(held()) == []
    approve(flowing, review)
    (told,) = until(lambda: asyncio.run(held()), "the workflow was told")
    assert (told["decision_id"], told["state"], told["ahead"]) == (review, "released", True)
