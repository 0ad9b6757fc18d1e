"""gRPC services against a real server of grpc.aio."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2

from adapters.grpc_destination import build
from adapters.grpc_service.config import Config
from adapters.messaging.destination import MessageDestination
from adapters.messaging.message import message
from adapters.messaging.scoped import scoped
from router.errors import ConfigError, DestinationError
from router.system import SystemClock, SystemRandom
from tests.contract.message_promises import Case, Promises, asked, whole
from tests.contract.payments_service import SERVICE, Payments, descriptors, serving
from tests.e2e.authority import Authority
from tests.e2e.processes import Process, until
from tests.e2e.running import free_ports, listens

METHOD = f"{SERVICE}/Cancel"
MAPPED = {"paymentId": "{{ body.payment }}", "asked_by": "{{ body.who | default('anna') }}", "lines": [{"text": "{{ body | string }}"}]}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return descriptors(tmp_path_factory.mktemp("protos") / "payments.pb")


@pytest.fixture
async def payments(published: Path) -> AsyncIterator[tuple[Payments, int]]:
    service = Payments(published)
    async with serving(service) as port:
        yield service, port


def destination(port: int, published: Path, **settings: Any) -> MessageDestination:
    plain = {"target": f"127.0.0.1:{port}", "method": METHOD, "descriptors": str(published), "insecure": True, "retries": {"attempts": 1}}
    config = Config.model_validate({**plain, "input": MAPPED, **settings})
    return build(config, name="payments", clock=SystemClock(), random=SystemRandom())


async def opened(port: int, published: Path, **settings: Any) -> MessageDestination:
    made = destination(port, published, **settings)
    await made.open()
    return made


async def refused(made: MessageDestination, who: str) -> DestinationError:
    try:
        with pytest.raises(DestinationError) as error:
            await made.send(asked(orjson.dumps({"payment": 1, "who": who})))
        return error.value
    finally:
        await made.close()


class TestGrpc(Promises):
    @pytest.fixture
    async def case(self, payments: tuple[Payments, int], published: Path) -> AsyncIterator[Case]:
        service, port = payments
        made = await opened(port, published, deduplicates=True, input={"more": {"body": "{{ body }}"}})

        async def arrived(key: str) -> list[bytes]:
            known = scoped(message(asked(b"", key=key), b"", None))
            return [orjson.dumps(service.done[known]["more"]["body"])] if known in service.done else []

        yield Case(made, arrived, status=200)
        await made.close()


async def test_the_service_is_told_what_was_decided_and_its_answer_is_the_answer(payments: tuple[Payments, int], published: Path) -> None:
    service, port = payments
    made = await opened(port, published, metadata={"authorization": "Bearer t"}, timeout="5s")
    status, answer = await whole(made, asked(b'{"payment": 4711}', [(b"x-lockgate-subject", b"anna")], key="k-1"))
    await made.close()
    assert (status, orjson.loads(answer)) == (200, {"state": "cancelled", "paymentId": "4711"})
    (arrived,) = service.arrivals
    assert arrived["request"]["paymentId"] == "4711"
    told = arrived["metadata"]
    assert (told["authorization"], told["x-lockgate-subject"]) == ("Bearer t", "anna")
    assert told["idempotency-key"].startswith("key-")
    assert told["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c")
    assert told["x-lockgate-decision-id"]
    assert 0 < arrived["within"] < 6


async def test_a_routes_own_time_out_is_the_deadline_that_the_service_hears(payments: tuple[Payments, int], published: Path) -> None:
    service, port = payments
    made = await opened(port, published, timeout="60s")
    error = await refused(made.with_timeouts(total=0.3), "slow")
    assert (error.code, error.sent) == ("upstream_timeout", True)
    assert service.arrivals[0]["within"] < 1


@pytest.mark.parametrize(
    ("status", "code", "final", "sent"),
    [
        ("INVALID_ARGUMENT", "upstream_refused", True, False),
        ("FAILED_PRECONDITION", "upstream_refused", True, False),
        ("UNIMPLEMENTED", "upstream_refused", True, False),
        ("PERMISSION_DENIED", "upstream_denied", False, False),
        ("UNAUTHENTICATED", "upstream_denied", False, False),
        ("RESOURCE_EXHAUSTED", "upstream_throttled", False, False),
        ("UNAVAILABLE", "upstream_unavailable", False, True),
        ("INTERNAL", "upstream_unavailable", False, True),
        ("DEADLINE_EXCEEDED", "upstream_timeout", False, True),
    ],
)
async def test_what_a_status_means(
    payments: tuple[Payments, int], published: Path, status: str, code: str, final: bool, sent: bool
) -> None:
    """What the service wrote about it is told to nobody."""
    service, port = payments
    service.trailing = (("grpc-retry-pushback-ms", "1500"),)
    error = await refused(await opened(port, published), f"status:{status}")
    assert (error.code, error.final, error.sent) == (code, final, sent)
    assert "anna" not in str(error)
    if status in ("RESOURCE_EXHAUSTED", "UNAVAILABLE"):
        assert error.wait == 1.5


@pytest.mark.parametrize(
    "words",
    [
        "failed to connect to the cards database",
        "the handshake with the bank was refused: bad certificate",
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.7:443: Failed to connect to remote host: Connection refused",
    ],
)
async def test_what_a_service_says_of_its_own_connections_is_not_taken_for_ours(
    payments: tuple[Payments, int], published: Path, words: str
) -> None:
    """It was reached and may have done something: nothing is sent again, and who gave a key hears that it was spent."""
    service, port = payments
    service.words = words
    error = await refused(await opened(port, published, retries={"attempts": 3, "backoff": "1ms"}), "status:UNAVAILABLE")
    assert (error.code, error.sent, len(service.arrivals)) == ("upstream_unavailable", True, 1)


@pytest.mark.parametrize("trailing", [(), (("grpc-retry-pushback-ms", "1500"),)])
async def test_what_its_library_says_of_a_broken_connection_too_tells_nothing(
    payments: tuple[Payments, int], published: Path, trailing: Any
) -> None:
    """Only a service sends metadata; without, it may have been done."""
    service, port = payments
    service.trailing = trailing
    assert (await refused(await opened(port, published), "status:UNAVAILABLE")).untold == (not trailing)


async def leaving(published: Path) -> tuple[Payments, int, Callable[[], None], list[asyncio.Task[None]]]:
    """A service that answers with the library's words, its port, what has its server end, and the tasks that this begins."""
    service = Payments(published, words="failed to connect to all addresses; last error: UNKNOWN: Connection refused")
    server, stopping = grpc.aio.server(), list[asyncio.Task[None]]()
    server.add_generic_rpc_handlers((service.handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return service, port, lambda: stopping.append(asyncio.create_task(server.stop(0))), stopping


@pytest.mark.parametrize("met", [True, False])
async def test_nor_is_it_where_the_service_then_goes(published: Path, met: bool) -> None:
    """One that is drained answers, and ends the connection before anybody has read that; `met`: there was one before."""
    service, port, leave, stopping = await leaving(published)
    made = await opened(port, published)
    if met:
        assert (await whole(made, asked(b'{"payment": "5"}')))[0] == 200
    service.leave = leave
    error = await refused(made, "status:UNAVAILABLE")
    await asyncio.gather(*stopping)
    assert (error.code, error.sent, len(service.arrivals)) == ("upstream_unavailable", True, 1 + met)


async def test_a_service_that_is_far_away_has_time_to_be_connected_with(payments: tuple[Payments, int], published: Path) -> None:
    """What it answers takes four tenths of a second on its way, the connection's first frames too."""
    service, port = payments
    on_their_way = set[asyncio.Task[None]]()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await asyncio.sleep(delay_s)
                writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port)
        on_their_way.update(asyncio.create_task(carry(*each)) for each in ((reader, there[1], 0.0), (there[0], writer, 0.4)))

    far = await asyncio.start_server(relay, "127.0.0.1", 0)
    made = await opened(far.sockets[0].getsockname()[1], published)
    await made.send(asked(b'{"payment": 1, "who": "x"}'))
    assert len(service.arrivals) == 1
    await made.close()
    far.close()
    await asyncio.gather(*on_their_way)


async def test_nor_is_it_where_others_have_the_channel_connect_again(published: Path) -> None:
    """Before the answer was looked at: then it looks like a connection that never was."""
    for _ in range(15):
        service, port, leave, stopping = await leaving(published)
        service.leave = leave
        made = await opened(port, published)
        others = [asyncio.create_task(on_and_on(made)) for _ in range(3)]
        with pytest.raises(DestinationError) as error:
            await made.send(asked(b'{"payment": 1, "who": "status:UNAVAILABLE"}'))
        for each in others:
            each.cancel()
        await asyncio.gather(*others, *stopping, return_exceptions=True)
        await made.close()
        arrived = any(each["request"].get("askedBy") == "status:UNAVAILABLE" for each in service.arrivals)
        assert error.value.sent or not arrived


async def on_and_on(made: MessageDestination) -> None:
    while True:
        with suppress(DestinationError):
            await made.send(asked(b'{"payment": 1, "who": "x"}'))
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("deduplicates", [True, False])
async def test_what_may_have_been_done_is_repeated_only_where_the_service_heeds_the_key(
    payments: tuple[Payments, int], published: Path, deduplicates: bool
) -> None:
    service, port = payments
    made = await opened(port, published, deduplicates=deduplicates, retries={"attempts": 3, "backoff": "1ms"})
    await refused(made, "status:UNAVAILABLE")
    assert len(service.arrivals) == (3 if deduplicates else 1)
    assert len({each["metadata"]["idempotency-key"] for each in service.arrivals}) == 1


async def test_a_request_that_makes_no_message_is_refused_and_not_sent(payments: tuple[Payments, int], published: Path) -> None:
    service, port = payments
    made = await opened(port, published)
    with pytest.raises(DestinationError, match=r"does not make a halden\.payments\.v1\.CancelRequest") as error:
        await made.send(asked(b'{"payment": "four"}'))
    assert (error.value.code, error.value.status, service.arrivals) == ("input_unmapped", 422, [])
    assert "four" not in str(error.value)
    plain = await opened(port, published, input=None)
    for body in (b"[1]", b'{"nobody": 1}', b"nothing"):
        with pytest.raises(DestinationError) as error:
            await plain.send(asked(body))
        assert error.value.code == "input_unmapped"
    await made.close()
    await plain.close()


async def test_bytes_are_passed_on_as_they_are(payments: tuple[Payments, int], published: Path) -> None:
    service, port = payments
    made = await opened(port, published, descriptors=None, input=None, content="bytes")
    status, answer = await whole(made, asked(b"\x08\x05", [(b"content-type", b"application/protobuf")]))
    await made.close()
    assert (status, service.arrivals[0]["request"]) == (200, {"paymentId": "5"})
    assert answer == b"\x0a\x09cancelled\x10\x05"


async def test_a_response_that_is_too_long_is_not_taken(payments: tuple[Payments, int], published: Path) -> None:
    error = await refused(await opened(payments[1], published, most_answer="1KiB"), "long")
    assert (error.code, error.sent) == ("upstream_protocol", True)


async def test_its_health_is_what_it_says(payments: tuple[Payments, int], published: Path) -> None:
    service, port = payments
    made, unasked = await opened(port, published), await opened(port, published, health=None)
    await service.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    with pytest.raises(DestinationError, match="not serving"):
        await made.ping()
    await unasked.ping()
    unknown = await opened(port, published, health="nobody")
    with pytest.raises(DestinationError):
        await unknown.ping()
    for each in (made, unasked, unknown):
        await each.close()


async def test_both_sides_show_their_certificates(published: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("payments", x509.DNSName("payments.example"))
    mine = authority.issue("lockgate")
    pair = [(key.read_bytes(), certificate.read_bytes())]
    credentials = grpc.ssl_server_credentials(pair, authority.ca.read_bytes(), require_client_auth=True)
    tls = {"ca": str(authority.ca), "certificate": str(mine[0]), "key": str(mine[1]), "server_name": "payments.example"}
    service = Payments(published)
    async with serving(service, credentials=credentials) as port:
        made = await opened(port, published, insecure=False, tls=tls)
        await made.ping()
        assert (await whole(made, asked(b'{"payment": 1}')))[0] == 200
        await made.close()
        for wrong in ({"server_name": "other.example"}, {"ca": None}):
            error = await refused(await opened(port, published, insecure=False, tls={**tls, **wrong}), "anna")
            assert (error.code, error.sent) == ("tls_failed", False)
    assert len(service.arrivals) == 1


async def test_a_service_that_is_killed_and_comes_back_is_called_again(published: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "tests.contract.payments_service", str(port), str(published), str(tmp_path / "arrivals")]
    process = Process(command, tmp_path / "service.log")
    made = await opened(port, published, circuit={"failures": 1000})
    body = b'{"payment": 1}'
    try:
        with pytest.raises(DestinationError) as nobody:
            await made.send(asked(body))
        assert (nobody.value.code, nobody.value.sent) == ("connect_failed", False)
        for _ in range(2):
            process.start()
            await asyncio.to_thread(until, lambda: listens(port), "the service listened")
            await _answered(made, body)
            slow = asyncio.create_task(made.send(asked(b'{"payment": 1, "who": "slow"}')))
            await asyncio.to_thread(until, lambda: '"slow"' in (tmp_path / "arrivals").read_text(), "the slow one arrived")
            process.kill()
            with pytest.raises(DestinationError) as gone:
                await slow
            assert (gone.value.code, gone.value.sent) == ("upstream_unavailable", True)
            (tmp_path / "arrivals").unlink()
    finally:
        process.kill()
        await made.close()


async def _answered(made: MessageDestination, body: bytes) -> None:
    """Within the pause that gRPC keeps between connections."""
    async with asyncio.timeout(20):
        while True:
            try:
                assert (await whole(made, asked(body)))[0] == 200
            except DestinationError as error:
                assert error.code == "connect_failed"  # noqa: PT017  # the others are faults
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"method": f"{SERVICE}/Refund"}, "There is no method .* The service has Cancel, Watch."),
        ({"method": "halden.Nobody/Cancel"}, "There is no method"),
        ({"method": f"{SERVICE}/Watch"}, "streams"),
        ({"input": {"payment": 1}}, "'payment', which is no field of"),
        ({"input": {"lines": [{"words": "{{ body }}"}]}}, "'lines.words'"),
        ({"input": {"by_name": {"anna": {"words": 1}}}}, "'by_name.words'"),
        ({"input": {"urgency": "URGENT", "payment_id": "{{ body.payment }}"}}, "does not fit"),
        ({"descriptors": "nowhere.pb"}, "cannot be read"),
        ({"descriptors": "broken.pb"}, "no FileDescriptorSet"),
    ],
)
async def test_what_does_not_fit_the_descriptors_is_said_when_they_are_read(
    published: Path, tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    (tmp_path / "broken.pb").write_bytes(b"\xff\xff")
    config = {"target": "127.0.0.1:1", "method": METHOD, "descriptors": str(published), "insecure": True, "input": MAPPED, **settings}
    made = Config.model_validate(config)
    (told,) = made.unusable(tmp_path)
    with pytest.raises(ConfigError, match=sentence) as error:
        await build(made, name="payments", clock=SystemClock(), random=SystemRandom(), root=tmp_path).open()
    assert str(error.value) == told


def test_what_fits_the_descriptors_is_taken(published: Path) -> None:
    """Fields by either of their names, maps, well-known types, and values that only the request has."""
    mapping = {
        "paymentId": 1,
        "urgency": "URGENCY_HIGH",
        "by_name": {"a": {"cents": 5}},
        "at": "{{ body.at }}",
        "more": {"any": {"thing": 1}},
    }
    config = {"target": "127.0.0.1:1", "method": METHOD, "descriptors": str(published), "insecure": True, "input": mapping}
    assert list(Config.model_validate(config).unusable(Path())) == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"descriptors": None}, "needs 'descriptors'"),
        ({"content": "bytes", "input": {"a": 1}}, "takes none"),
        ({"method": "Cancel"}, "whole name"),
        ({"tls": {"ca": "x"}}, "'tls' and 'insecure'"),
        ({"metadata": {"grpc-timeout": "1"}}, "not one of Lockgate's own"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Config.model_validate({"target": "127.0.0.1:1", "method": METHOD, "descriptors": "x", "insecure": True, **settings})
