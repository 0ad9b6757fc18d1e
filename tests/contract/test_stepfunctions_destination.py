"""What a `stepfunctions` destination promises, over moto's Step Functions, which runs state machines and checks signatures."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapters.messaging.destination import MessageDestination
from adapters.stepfunctions_destination import Config, build, follower
from adapters.workflows.aws import AwsKeys, Signed
from adapters.workflows.client import Answer, Call
from router.errors import DestinationError
from router.ports import Ended, Outbound
from router.secret import Secret
from router.system import SystemClock, SystemRandom
from tests.contract.message_promises import Case, Promises, asked, own_id, whole
from tests.contract.stepfunctions_server import ACCOUNT, REGION, Aws, needed, stepfunctions_server
from tests.contract.sts_front import sts
from tests.e2e.processes import until

needed()


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with stepfunctions_server(tmp_path_factory.mktemp("aws")) as made:
        yield made


def config(aws: Aws, machine: str | None = "echo", **settings: Any) -> Config:
    keys = {"access_key": aws.access, "secret_key": aws.secret}
    common = {"region": REGION, "endpoint": aws.url, "keys": keys, "timeout": "20s"}
    own = {} if machine is None else {"state_machine": aws.machines.get(machine, machine)}
    return Config.model_validate({**common, **own, **settings})


@contextlib.asynccontextmanager
async def opened(aws: Aws, machine: str | None = "echo", **settings: Any) -> AsyncIterator[MessageDestination]:
    made = build(config(aws, machine, **settings), name="flow", clock=SystemClock(), random=SystemRandom())
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def told(made: MessageDestination, outbound: Outbound) -> tuple[int, Any]:
    status, content = await whole(made, outbound)
    return status, orjson.loads(content)


def execution(aws: Aws, arn: str) -> Any:
    return aws.client("stepfunctions").describe_execution(executionArn=arn)


@pytest.fixture
def unchecked(aws: Aws) -> Iterator[None]:
    aws.check_signatures(on=False)
    yield
    aws.check_signatures(on=True)


class TestStepFunctions(Promises):
    @pytest.fixture
    async def case(self, aws: Aws) -> AsyncIterator[Case]:
        async def arrived(message_id: str) -> Sequence[bytes]:
            name = f"lockgate-{own_id(asked(b'', key=message_id))}"
            arn = f"{aws.machines['echo'].replace(':stateMachine:', ':execution:')}:{name}"
            given = json.loads((await asyncio.to_thread(execution, aws, arn))["input"])
            return [orjson.dumps({name: value for name, value in given.items() if name != "lockgate"})]

        async with opened(aws) as made:
            yield Case(made, arrived)


async def test_a_repeat_is_answered_with_the_first_ones_ids_also_when_it_has_ended(aws: Aws) -> None:
    async with opened(aws, wait="15s") as made:
        again = asked(b'{"n":1}')
        first, second = await told(made, again), await told(made, again)
        key = asked(b'{"n":2}', key="k", idempotent=True), asked(b'{"n":3}', key="k", idempotent=True)
        third, fourth = await told(made, key[0]), await told(made, key[1])
    assert first == second
    assert (first[0], first[1]["state"]) == (200, "completed")
    assert third == fourth != first


async def test_the_decision_and_the_trace_are_in_the_input(aws: Aws) -> None:
    async with opened(aws) as made:
        outbound = asked(b'{"n":1}')
        _, answer = await told(made, outbound)
    fields = {name.decode(): value.decode() for name, value in outbound.headers}
    found = json.loads((await asyncio.to_thread(execution, aws, answer["execution_arn"]))["input"])
    own = {"decision_id": fields["x-lockgate-decision-id"], "traceparent": fields["traceparent"]}
    assert found == {"lockgate": own, "n": 1}


async def test_an_execution_that_fails_while_it_is_waited_for(aws: Aws) -> None:
    async with opened(aws, "fails", wait="15s") as made:
        with pytest.raises(DestinationError, match="failed") as failed:
            await made.send(asked(b"{}"))
    assert (failed.value.code, failed.value.final) == ("work_failed", True)


async def test_the_follower_tells_how_it_ended(aws: Aws) -> None:
    asking = follower(config(aws), name="flow")
    await asking.open()
    try:
        async with opened(aws, "sleeps") as made:
            work = (await made.send(asked(b"{}"))).work
        assert await asking.ended(work) is None
        arn = orjson.loads(work)["execution_arn"]
        await asyncio.to_thread(lambda: aws.client("stepfunctions").stop_execution(executionArn=arn))
        await asyncio.to_thread(until, lambda: execution(aws, arn)["status"] != "RUNNING", "it was stopped")
        assert await asking.ended(work) == Ended("cancelled", False)
        none = orjson.dumps({"execution_arn": f"{arn}-none"}).decode()
        assert await asking.ended(none) == Ended("unknown", False)
    finally:
        await asking.close()


@pytest.mark.parametrize("action", ["task_success", "task_failure"])
async def test_a_task_that_waits_gets_its_answer(aws: Aws, unchecked: None, action: str) -> None:
    async with opened(aws, "asks") as made:
        _, started = await told(made, asked(b"{}"))
    token = await asyncio.to_thread(until, aws.token, "a task waited")
    settings = {"action": action, "task_token": "{{ body.token }}", "input": {"approved": "{{ body.approved }}"}}
    async with opened(aws, None, **settings) as made:
        status, answer = await told(made, asked(orjson.dumps({"token": token, "approved": True})))
        assert (status, answer) == (202, {"answered": action})
    state = "SUCCEEDED" if action == "task_success" else "FAILED"
    ended = lambda: (found := execution(aws, started["execution_arn"]))["status"] == state and found  # noqa: E731  # asked again and again
    found = await asyncio.to_thread(until, ended, "the execution had ended")
    assert json.loads(found["output"]) == {"approved": True} if action == "task_success" else found["error"] == "Refused"


async def test_a_token_that_nobody_waits_with_is_refused(aws: Aws) -> None:
    async with opened(aws, None, action="task_success", task_token="{{ body.token }}") as made:
        with pytest.raises(DestinationError) as refused:
            await made.send(asked(b'{"token":"none"}'))
    assert (refused.value.code, refused.value.final) == ("upstream_refused", True)


async def test_a_machine_that_is_not_there_is_refused(aws: Aws) -> None:
    async with opened(aws, f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:none") as made:
        for ask in (made.ping(), made.send(asked(b"{}"))):
            with pytest.raises(DestinationError, match="StateMachineDoesNotExist") as refused:
                await ask
            assert refused.value.code == "upstream_refused"


async def test_a_signature_that_is_wrong_is_a_denial(aws: Aws) -> None:
    async with opened(aws, keys={"access_key": aws.access, "secret_key": "wrong"}) as made:
        for ask in (made.ping(), made.send(asked(b"{}"))):
            with pytest.raises(DestinationError) as refused:
                await ask
            assert (refused.value.code, refused.value.sent) == ("upstream_denied", False)
            assert "wrong" not in str(refused.value)


@pytest.mark.parametrize("may", [True, False])
async def test_a_role_that_is_assumed_with_a_token_signs_instead_of_keys(aws: Aws, tmp_path: Path, may: bool) -> None:
    """Its session's keys pass the server's check of signatures, and do what the role may. Asking for them is not signed, so that check is
    off meanwhile."""
    await asyncio.to_thread((tmp_path / "token").write_text, "hush-1")
    aws.check_signatures(on=False)
    arn = aws.role("flows" if may else "idle", may=may)
    with sts(aws.url) as front:
        web = {"role": arn, "token_file": str(tmp_path / "token"), "endpoint": front.url}
        async with opened(aws, keys={"web_identity": web}) as made:
            await made.ping()
            aws.check_signatures(on=True)
            if may:
                assert (await told(made, asked(b"{}")))[0] == 202
            else:
                with pytest.raises(DestinationError) as refused:
                    await made.send(asked(b"{}"))
                assert refused.value.code == "upstream_denied"
        assert front.tokens == ["hush-1"]


async def test_signatures_are_those_of_botocore() -> None:
    """With a session's token and everything that is sent along."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    now = datetime.now(UTC)
    keys = AwsKeys(access_key="AKIDEXAMPLE", secret_key=Secret("hush"), session_token=Secret("token"))
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AWSStepFunctions.StartExecution", "traceparent": "00-a-b-01"}
    call = Call("POST", "https://states.eu-west-1.amazonaws.com/", b'{"a":1}', headers)

    async def nobody(_: Call) -> Answer:
        raise AssertionError("nobody is asked")

    ours = await Signed("flow", "states", "eu-west-1", keys, lambda: now).fields(call, nobody, fresh=False)
    theirs = AWSRequest("POST", call.url, headers=dict(headers), data=call.body)
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", "hush", "token"), "states", "eu-west-1")
    theirs.headers["X-Amz-Date"] = ours["x-amz-date"]
    theirs.headers["X-Amz-Security-Token"] = "token"
    theirs.context["timestamp"] = ours["x-amz-date"]
    theirs.headers["host"] = "states.eu-west-1.amazonaws.com"
    wanted = signer.signature(signer.string_to_sign(theirs, signer.canonical_request(theirs)), theirs)
    assert ours["authorization"].endswith(f"Signature={wanted}")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "needs 'state_machine'"),
        ({"action": "task_success"}, "needs 'task_token'"),
        ({"action": "task_success", "task_token": "t", "wait": "1s"}, "has 'wait'"),
        ({"state_machine": "arn:aws:states:x"}, "must be the ARN of a state machine"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], why: str) -> None:
    keys = {"access_key": "a", "secret_key": "b"}
    with pytest.raises(ValueError, match=why):
        Config.model_validate({"region": REGION, "keys": keys, **settings})
