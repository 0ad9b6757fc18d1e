"""What a `temporal` destination promises, over Temporal's own development server and a real worker."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from tests.needs import needs

needs("temporalio", "pip install 'lockgate[temporal]'")

from temporalio.client import Client, WorkflowContinuedAsNewError, WorkflowFailureError
from temporalio.converter import DataConverter

from adapters.messaging.destination import MessageDestination
from adapters.temporal.connection import Sealing
from adapters.temporal_destination import Config, build, follower
from router.errors import DestinationError
from router.ports import Ended, Outbound
from router.secret import Secret
from router.system import SystemClock, SystemRandom
from tests.contract.message_promises import Case, Promises, asked, own_id, whole
from tests.temporal_server import TemporalServer, prepared, temporal_server
from tests.temporal_workflows import QUEUE, working

Json = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    with temporal_server(tmp_path_factory.mktemp("temporal")) as made:
        yield made


@pytest.fixture
async def client(server: TemporalServer) -> AsyncIterator[Client]:
    """With a worker."""
    made = await Client.connect(server.address)
    async with working(made):
        yield made


def destination(server: TemporalServer, **settings: object) -> MessageDestination:
    common = {"address": server.address, "task_queue": QUEUE, "timeout": "20s", "retries": {"backoff": "10ms"}}
    if settings.get("action") in ("signal", "update"):
        del common["task_queue"]
    return build(Config.model_validate({**common, **settings}), name="flow", clock=SystemClock(), random=SystemRandom())


@contextlib.asynccontextmanager
async def opened(server: TemporalServer, **settings: object) -> AsyncIterator[MessageDestination]:
    made = destination(server, **settings)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def told(made: MessageDestination, outbound: Outbound) -> tuple[int, Json]:
    status, content = await whole(made, outbound)
    return status, orjson.loads(content)


class TestTemporal(Promises):
    @pytest.fixture
    async def case(self, server: TemporalServer, client: Client) -> AsyncIterator[Case]:
        async def arrived(message_id: str) -> Sequence[bytes]:
            workflow_id = f"lockgate-{own_id(asked(b'', key=message_id))}"
            runs = [each async for each in client.list_workflows(f"WorkflowId = '{workflow_id}'")]
            result = await client.get_workflow_handle(workflow_id).result()
            return [orjson.dumps(result["given"])] * max(1, len(runs))

        async with opened(server, workflow="Echo") as made:
            yield Case(made, arrived)


async def test_the_decision_and_the_trace_travel_along(server: TemporalServer, client: Client) -> None:
    async with opened(server, workflow="Echo", wait="15s") as made:
        outbound = asked(b'{"n":1}')
        status, answer = await told(made, outbound)
    decision = dict(outbound.headers)[b"x-lockgate-decision-id"].decode()
    trace = dict(outbound.headers)[b"traceparent"].decode()
    assert status == 200
    assert answer["result"]["given"] == {"n": 1}
    assert answer["result"]["headers"] == {
        "lockgate-decision-id": decision,
        "traceparent": trace,
        "_tracer-data": {"traceparent": trace},
    }
    described = await client.get_workflow_handle(answer["workflow_id"]).describe()
    assert await described.memo() == {"lockgate_decision_id": decision, "lockgate_intent": "cancel_payment"}


async def test_ids_arguments_memo_and_search_attributes_are_made_of_the_request(server: TemporalServer, client: Client) -> None:
    settings = {
        "workflow": "Collects",
        "workflow_id": "payment-{{ body.id }}",
        "args": ["{{ body.id }}", {"why": "{{ decision.intent }}"}],
        "memo": {"risk": "{{ decision.risk }}"},
        "search_attributes": {"Payment": {"type": "int", "value": "{{ body.id }}"}, "Intent": {"value": "{{ decision.intent }}"}},
    }
    number = uuid.uuid4().int % 10**9
    async with opened(server, **settings) as made:
        _, answer = await told(made, asked(orjson.dumps({"id": number})))
    assert answer["workflow_id"] == f"payment-{number}"
    described = await client.get_workflow_handle(answer["workflow_id"]).describe()
    assert (await described.memo())["risk"] == "high"
    assert {pair.key.name: pair.value for pair in described.typed_search_attributes} == {"Payment": number, "Intent": "cancel_payment"}
    history = await client.get_workflow_handle(answer["workflow_id"]).fetch_history()
    payloads = history.events[0].workflow_execution_started_event_attributes.input.payloads
    assert await DataConverter.default.decode(list(payloads)) == [number, {"why": "cancel_payment"}]


async def test_a_search_attribute_of_another_type_is_refused_and_nothing_is_sent(server: TemporalServer) -> None:
    async with opened(server, workflow="Echo", search_attributes={"Payment": {"type": "int", "value": "{{ body.id }}"}}) as made:
        with pytest.raises(DestinationError, match="Payment got no int") as refused:
            await made.send(asked(b'{"id": "x"}'))
    assert refused.value.code == "input_unmapped"


@pytest.mark.parametrize("reuse", ["reject", "allow"])
async def test_the_first_runs_ids_answer_a_repeat_also_when_it_has_ended(server: TemporalServer, client: Client, reuse: str) -> None:
    async with opened(server, workflow="Echo", wait="15s", reuse=reuse, workflow_id=f"w-{uuid.uuid4()}") as made:
        outbound = asked(b'{"n":1}')
        first, second = await told(made, outbound), await told(made, outbound)
        other = made.send(asked(b'{"n":2}'))
        if reuse == "reject":
            assert first == second
            with pytest.raises(DestinationError, match="another request") as refused:
                await other
            assert (refused.value.code, refused.value.final) == ("upstream_refused", True)
        else:
            assert first == second
            assert (await other).status == 200


async def test_two_callers_with_one_key_start_two_workflows(server: TemporalServer, client: Client) -> None:
    async with opened(server, workflow="Echo") as made:
        answers = [await told(made, asked(b"{}", [(b"x-lockgate-subject", who)], key="1")) for who in (b"anna", b"bo", b"anna")]
    ids = [answer["run_id"] for _, answer in answers]
    assert ids[0] == ids[2] != ids[1]


async def test_a_workflow_of_the_same_id_that_runs_may_answer(server: TemporalServer, client: Client) -> None:
    settings = {"workflow": "Sleeps", "workflow_id": f"w-{uuid.uuid4()}"}
    async with opened(server, **settings) as strict, opened(server, **settings, conflict="use_existing") as lax:
        _, first = await told(strict, asked(b"{}"))
        with pytest.raises(DestinationError, match="another request"):
            await strict.send(asked(b"{}"))
        _, second = await told(lax, asked(b"{}"))
    assert (second["run_id"], second["existing"], "existing" in first) == (first["run_id"], True, False)


async def test_a_result_that_does_not_come_in_time_is_an_acknowledgement(server: TemporalServer, client: Client) -> None:
    async with opened(server, workflow="Sleeps", wait="300ms") as made:
        status, answer = await told(made, asked(b"{}"))
    assert status == 202
    assert "result" not in answer


async def test_a_workflow_that_fails_while_it_is_waited_for_is_a_failure_of_its_own(server: TemporalServer, client: Client) -> None:
    async with opened(server, workflow="Fails", wait="15s") as made:
        with pytest.raises(DestinationError, match="ApplicationError") as failed:
            await made.send(asked(b"{}"))
    assert (failed.value.code, failed.value.status, failed.value.sent, failed.value.final) == ("work_failed", 502, True, True)
    assert "no such payment" not in str(failed.value)


async def test_a_signal_arrives_once_for_each_request(server: TemporalServer, client: Client) -> None:
    workflow_id = f"w-{uuid.uuid4()}"
    await client.start_workflow("Collects", id=workflow_id, task_queue=QUEUE)
    async with opened(server, action="signal", workflow_id=workflow_id, signal="add") as made:
        again = asked(b'{"n":1}')
        assert [(await told(made, each))[0] for each in (again, again, asked(b'{"n":2}'))] == [202, 202, 202]
    assert await client.get_workflow_handle(workflow_id).query("held") == [{"n": 1}, {"n": 2}]


async def test_a_signal_to_nobody_is_refused(server: TemporalServer) -> None:
    async with opened(server, action="signal", workflow_id="nobody", signal="add") as made:
        with pytest.raises(DestinationError) as refused:
            await made.send(asked(b"{}"))
    assert (refused.value.code, refused.value.sent, refused.value.final) == ("upstream_refused", False, True)


async def test_a_signal_starts_the_workflow_where_there_is_none(server: TemporalServer, client: Client) -> None:
    workflow_id = f"w-{uuid.uuid4()}"
    async with opened(server, action="signal_with_start", workflow="Collects", workflow_id=workflow_id, signal="add") as made:
        again = asked(b'{"n":1}')
        answers = [await told(made, each) for each in (again, again, asked(b'{"n":2}'))]
    assert len({answer["run_id"] for _, answer in answers}) == 1
    assert await client.get_workflow_handle(workflow_id).query("held") == [{"n": 1}, {"n": 2}]


async def test_an_update_is_done_once_and_its_result_answers(server: TemporalServer, client: Client) -> None:
    workflow_id = f"w-{uuid.uuid4()}"
    await client.start_workflow("Collects", id=workflow_id, task_queue=QUEUE)
    async with opened(server, action="update", workflow_id=workflow_id, update="change", wait="15s") as made:
        again = asked(b'{"n":1}')
        answers = [await told(made, each) for each in (again, again, asked(b'{"n":2}'))]
        for body in (b'{"refused":true}', b'{"bad":true}'):
            with pytest.raises(DestinationError) as refused:
                await made.send(asked(body))
            assert refused.value.code == "work_failed"
    assert [(status, answer["result"]["count"]) for status, answer in answers] == [(200, 1), (200, 1), (200, 2)]
    assert answers[0][1]["update_id"] == own_id(again)


async def test_an_update_starts_the_workflow_where_there_is_none(server: TemporalServer, client: Client) -> None:
    workflow_id = f"w-{uuid.uuid4()}"
    settings = {"action": "update_with_start", "workflow": "Collects", "workflow_id": workflow_id, "update": "change", "wait": "15s"}
    async with opened(server, **settings) as made:
        again = asked(b'{"n":1}')
        answers = [await told(made, each) for each in (again, again, asked(b'{"n":2}'))]
        assert [answer["result"]["count"] for _, answer in answers] == [1, 1, 2]
        await client.get_workflow_handle(workflow_id).signal("end")
        await client.get_workflow_handle(workflow_id).result()
        assert (await told(made, again))[1]["result"]["count"] == 1
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    assert "lockgate-decision-id" in started.header.fields


async def test_an_update_without_a_worker_is_a_time_out_that_may_have_arrived(server: TemporalServer) -> None:
    """A signal only needs the server; an update needs the workflow's answer."""
    settings = {"workflow": "Collects", "task_queue": "nobody", "workflow_id": f"w-{uuid.uuid4()}", "update": "change"}
    async with opened(server, action="update_with_start", **settings, timeout="1s") as made:
        with pytest.raises(DestinationError) as late:
            await made.send(asked(b"{}"))
    assert (late.value.code, late.value.sent) == ("upstream_timeout", True)


async def test_payloads_are_encrypted_with_a_key_and_only_the_key_opens_them(server: TemporalServer) -> None:
    key = bytes(range(32))
    encryption = {"key": base64.b64encode(key).decode(), "key_id": "test"}
    sealing = replace(DataConverter.default, payload_codec=Sealing(key, "test"))
    worker = working(await Client.connect(server.address, data_converter=sealing))
    async with worker, opened(server, workflow="Echo", wait="15s", encryption=encryption) as made:
        status, answer = await told(made, asked(b'{"iban":"DE02120300000000202051"}'))
    assert (status, answer["result"]["given"]) == (200, {"iban": "DE02120300000000202051"})
    plain = await Client.connect(server.address)
    history = await plain.get_workflow_handle(answer["workflow_id"]).fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    assert started.input.payloads[0].metadata["encoding"] == b"binary/encrypted"
    assert b"DE0212" not in b"".join(event.SerializeToString() for event in history.events)


async def test_a_payload_that_the_server_refuses_is_too_large(server: TemporalServer) -> None:
    async with opened(server, workflow="Echo", most="8MiB") as made:
        with pytest.raises(DestinationError) as refused:
            await made.send(asked(orjson.dumps({"text": "x" * (3 << 20)})))
    assert (refused.value.code, refused.value.status) == ("body_too_large", 413)


async def test_an_unknown_namespace_is_refused_and_a_ping_says_so(server: TemporalServer) -> None:
    async with opened(server, workflow="Echo", namespace="other") as made:
        for ask in (made.ping(), made.send(asked(b"{}"))):
            with pytest.raises(DestinationError) as refused:
                await ask
            assert refused.value.code == "upstream_refused"


async def test_a_body_that_is_no_json_is_refused(server: TemporalServer) -> None:
    async with opened(server, workflow="Echo") as made:
        with pytest.raises(DestinationError, match="takes JSON"):
            await made.send(asked(b"nonsense"))


async def test_the_server_is_killed_and_comes_back(tmp_path: Any) -> None:
    server = prepared(tmp_path)
    try:
        await asyncio.to_thread(server.start)
        async with opened(server, workflow="Sleeps", timeout="5s", retries={"attempts": 1}, circuit={"failures": 100}) as made:
            outbound = asked(b'{"n":1}')
            _, first = await told(made, outbound)
            server.kill()
            with pytest.raises(DestinationError) as gone:
                await made.send(outbound)
            assert gone.value.code in ("upstream_unavailable", "connect_failed", "upstream_reset", "upstream_timeout")
            assert gone.value.wait is None
            with pytest.raises(DestinationError):
                await made.ping()
            await asyncio.to_thread(server.start)
            _, second = await told(made, outbound)
        assert second["run_id"] == first["run_id"]
    finally:
        server.stop()


async def test_a_server_that_is_not_there_yet_is_no_reason_not_to_open(tmp_path: Any) -> None:
    server = TemporalServer(tmp_path, (1, 1))
    async with opened(server, workflow="Echo", retries={"attempts": 1}) as made:
        with pytest.raises(DestinationError) as away:
            await made.send(asked(b"{}"))
    assert (away.value.code, away.value.sent) == ("connect_failed", False)


async def test_a_server_that_never_answers_is_bounded_by_the_time_out(tmp_path: Any) -> None:
    writers = list[asyncio.StreamWriter]()

    async def deaf(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    listener = await asyncio.start_server(deaf, "127.0.0.1", 0)
    try:
        server = TemporalServer(tmp_path, (listener.sockets[0].getsockname()[1], 1))
        async with opened(server, workflow="Echo", timeout="500ms") as made:
            with pytest.raises(DestinationError) as late:
                await made.send(asked(b"{}"))
        assert (late.value.code, late.value.sent) == ("upstream_timeout", True)
    finally:
        listener.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@pytest.mark.parametrize(
    ("kind", "state", "well"), [("Echo", "completed", True), ("Fails", "failed", False), ("Sleeps", "terminated", False)]
)
async def test_the_follower_tells_how_it_ended(server: TemporalServer, client: Client, kind: str, state: str, well: bool) -> None:
    async with opened(server, workflow=kind) as made:
        reply = await made.send(asked(b"{}"))
    ids = orjson.loads(reply.work)
    asking = follower(Config.model_validate({"address": server.address, "workflow": kind, "task_queue": QUEUE}), name="flow")
    await asking.open()
    handle = client.get_workflow_handle(ids["workflow_id"], run_id=ids["run_id"])
    if kind == "Sleeps":
        assert await asking.ended(reply.work) is None
        await handle.terminate()
    with contextlib.suppress(WorkflowFailureError):
        await handle.result()
    assert await asking.ended(reply.work) == Ended(state, well)
    unknown = orjson.dumps({"workflow_id": "nobody", "run_id": str(uuid.uuid4())}).decode()
    assert await asking.ended(unknown) == Ended("unknown", False)
    await asking.close()
    with pytest.raises(DestinationError):
        await asking.ended(reply.work)


async def test_a_workflow_that_continues_as_new_is_followed_to_its_last_run(server: TemporalServer, client: Client) -> None:
    async with opened(server, workflow="Continues") as made:
        work = (await made.send(asked(b"{}"))).work
    asking = follower(Config.model_validate({"address": server.address, "workflow": "Continues", "task_queue": QUEUE}), name="flow")
    await asking.open()
    ids = orjson.loads(work)
    first = client.get_workflow_handle(ids["workflow_id"], run_id=ids["run_id"])
    await first.signal("go")
    with pytest.raises(WorkflowContinuedAsNewError):
        await first.result(follow_runs=False)
    assert await asking.ended(work) is None
    await client.get_workflow_handle(ids["workflow_id"]).signal("go")
    assert await first.result() == "done"
    assert await asking.ended(work) == Ended("completed", True)
    await asking.close()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"workflow": "Echo"}, "needs 'task_queue'"),
        ({"task_queue": "q"}, "needs 'workflow'"),
        ({"action": "signal", "signal": "add"}, "needs 'workflow_id'"),
        ({"action": "update", "workflow_id": "x"}, "needs 'update'"),
        ({"workflow": "E", "task_queue": "q", "signal": "s"}, "has 'signal', which means nothing"),
        ({"action": "signal", "workflow_id": "x", "signal": "s", "wait": "1s"}, "has 'wait', which means nothing"),
        ({"workflow": "E", "task_queue": "q", "start_args": [1]}, "'start_args', which mean nothing"),
        ({"workflow": "E", "task_queue": "q", "wait": "10s"}, "shorter than 'timeout'"),
        ({"workflow": "E", "task_queue": "q", "api_key": "k"}, "'api_key' without 'tls'"),
        ({"workflow": "E", "task_queue": "q", "tls": {"key": "k.pem"}}, "'certificate' and 'key' together"),
        ({"workflow": "E", "task_queue": "q", "search_attributes": {"a b": {"value": 1}}}, "is no name"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: Json, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Config.model_validate({"address": "127.0.0.1:7233", **settings})


def test_secrets_are_not_shown() -> None:
    made = Config.model_validate({"address": "a:1", "workflow": "E", "task_queue": "q", "tls": {}, "api_key": "hush"})
    assert isinstance(made.api_key, Secret)
    assert "hush" not in repr(made) + made.model_dump_json()
