"""A real `lockgate serve` in front of Step Functions (moto's): what was decided is started, held or not, and its end is on record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

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
        answering = {"adapter": "stepfunctions", "region": REGION, "endpoint": aws.url, "keys": keys}
        answering["task_token"] = "{{ request.headers['resume-token'] }}"
        catalog["destinations"]["goes-on"] = {**answering, "action": "task_success"}
        catalog["destinations"]["gives-up"] = {**answering, "action": "task_failure", "error": "Refused"}
        catalog["routes"]["once"]["resume"] = {"destination": "goes-on", "refused": "gives-up"}
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


def asks(flowing: Lockgate, aws: Aws) -> tuple[str, str, str]:
    """An execution whose step waits with a token, the token, and the review that the step had asked for."""
    aws.check_signatures(on=False)
    try:
        execution = str(aws.client("stepfunctions").start_execution(stateMachineArn=aws.machines["asks"], name=uuid4().hex)["executionArn"])
        token = until(aws.token, "the step waited")
    finally:
        aws.check_signatures(on=True)
    wanted = {"method": "POST", "path": "/once/1", "body": {"amount": 5}, "hold": True, "resume": {"token": token}}
    answer = flowing.decide("checkout", wanted)
    assert (answer.status, answer.json["review"]["state"]) == (200, "pending")
    return execution, token, str(answer.json["id"])


def ended(aws: Aws, execution: str) -> Any:
    def found() -> Any:
        told = aws.client("stepfunctions").describe_execution(executionArn=execution)
        return told if told["status"] != "RUNNING" else None

    return until(found, "the execution ended")


@pytest.mark.parametrize("approved", [True, False])
def test_a_step_that_waits_goes_on_when_its_review_has_ended(flowing: Lockgate, aws: Aws, approved: bool) -> None:
    """By its own token, which is in no record and not in what it is told: with success, or with an error that it can catch."""
    execution, token, review = asks(flowing, aws)
    if approved:
        approve(flowing, review)
    else:
        flowing.control("POST", f"/v1/reviews/{review}/reject", {"comment": "no"}, who="max")
    told = ended(aws, execution)
    assert told["status"] == ("SUCCEEDED" if approved else "FAILED")
    if approved:
        said = json.loads(told["output"])
        assert (said["decision_id"], said["state"], said["ahead"]) == (review, "released", True)
    else:
        assert told["error"] == "Refused"
    assert token not in json.dumps(flowing.leaves()) + str(told.get("output"))
    for file in flowing.state.glob("*.sqlite*"):
        assert token.encode() not in file.read_bytes()


def test_a_route_that_resumes_nobody_refuses_who_wants_it(flowing: Lockgate) -> None:
    """Nothing is held then; and what cannot be meant is refused before anything is decided."""
    wanted = {"method": "POST", "path": "/pay/1", "body": {"amount": 5}, "hold": True, "resume": {"token": "t"}}
    answer = flowing.decide("checkout", wanted)
    assert (answer.status, answer.code) == (403, "resume_not_allowed")
    for resume in ({}, {"token": ""}, {"token": "a b"}, {"token": "x" * 4097}, {"Token": "t"}, {"a\r\nb": "t"}):
        assert flowing.decide("checkout", {**wanted, "path": "/once/1", "resume": resume}).status == 400
    assert flowing.decide("checkout", {**wanted, "path": "/once/1", "hold": False}).status == 400
