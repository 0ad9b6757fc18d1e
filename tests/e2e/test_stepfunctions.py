"""A real `lockgate serve` in front of Step Functions (moto's): what was decided is started, held or not, and its end is on record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.stepfunctions_server import REGION, Aws, needed, stepfunctions_server
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, prepared
from tests.e2e.test_reviews import approve, state_of
from tests.e2e.yard import load, save

needed()
FOLLOW = {"within": "1h", "follow": True}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with stepfunctions_server(tmp_path_factory.mktemp("aws")) as made:
        yield made


@pytest.fixture(scope="module")
def flowing(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    """`/echo` and payments, which are held, start what ends well; `/lonely` starts what fails."""
    with prepared(tmp_path_factory.mktemp("yard")) as lockgate:
        secret = lockgate.yard.folder / "aws-secret"
        secret.write_text(f"{aws.secret}\n")
        keys = {"access_key": aws.access, "secret_key": {"file": str(secret)}}
        file = lockgate.yard.folder / "catalog.yaml"
        catalog = load(file)
        for name, machine in (("flow", "echo"), ("failing", "fails")):
            own = {"state_machine": aws.machines[machine], "keys": keys}
            catalog["destinations"][name] = {"adapter": "stepfunctions", "region": REGION, "endpoint": aws.url, **own}
        catalog["routes"]["plain"] = {"destination": "flow", "evidence": FOLLOW}
        catalog["routes"]["lonely"] = {"destination": "failing", "evidence": FOLLOW}
        save(file, catalog)
        lockgate.start()
        yield lockgate


def phases(lockgate: Lockgate, decision: str) -> list[Any]:
    def found() -> list[Any]:
        leaves = [leaf["evidence"] for leaf in lockgate.story(decision) if leaf["schema"] == "lockgate.evidence.v1"]
        return [(leaf["phase"], leaf["destination"]) for leaf in leaves]

    return until(found, "evidence was recorded")


@pytest.mark.parametrize(("path", "told"), [("/echo/1", ("completed", "flow")), ("/lonely/1", ("failed", "failing"))])
def test_a_decided_request_starts_an_execution_and_how_it_ended_is_evidence(flowing: Lockgate, path: str, told: tuple[str, str]) -> None:
    answer = flowing.ask("ann", "POST", path, {"payment": 4711})
    assert answer.status == 202
    assert answer.json["execution_arn"].endswith(f":lockgate-{answer.decision}")
    assert phases(flowing, answer.decision) == [told]


def test_a_held_request_starts_its_execution_once_somebody_said_yes(flowing: Lockgate, aws: Aws) -> None:
    answer = flowing.ask("ann", "POST", "/pay/1", {"amount": 5})
    assert answer.status == 202
    assert not started(aws, answer.decision)
    assert approve(flowing, answer.decision).status == 200
    assert state_of(flowing, answer.decision, "done")
    assert started(aws, answer.decision)
    assert phases(flowing, answer.decision) == [("completed", "flow")]


def test_a_body_that_is_no_object_is_refused_with_a_reason(flowing: Lockgate) -> None:
    answer = flowing.ask("ann", "POST", "/echo/1", [1, 2])
    assert (answer.status, answer.code) == (422, "input_unmapped")


def started(aws: Aws, decision: str) -> bool:
    found = aws.client("stepfunctions").list_executions(stateMachineArn=aws.machines["echo"])["executions"]
    return f"lockgate-{decision}" in [each["name"] for each in found]
