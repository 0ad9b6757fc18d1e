"""What a `nats` destination and consumer do when the server, the stream, the credentials or the request are not as they should be."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract.nats_server import HOW, NatsServer, nats_server
from tests.needs import needs

needs("nats", HOW)

import orjson
import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from adapters.nats.config import DestinationConfig
from adapters.nats.login import USER, _crc16, _encoded
from adapters.nats_consumer import Config as ConsumerConfig
from adapters.nats_consumer import build as build_consumer
from router.errors import ConfigError, DestinationError
from router.system import SystemClock, SystemRandom
from tests.contract.consumer_promises import Promises, Yard, contents, nothing, one, opened, put, some
from tests.contract.message_promises import asked, whole
from tests.contract.test_nats import client, destination, kept, listening, ready, stream, yard_at
from tests.e2e.authority import Authority


@pytest.fixture
def server() -> Iterator[NatsServer]:
    with nats_server() as made:
        yield made


def stop(server: NatsServer) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    while psutil.Process(server.process.pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)


def go_on(server: NatsServer) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGCONT)


async def refused(made: Any, *arguments: Any, **more: Any) -> DestinationError:
    with pytest.raises(DestinationError) as error:
        await made.send(asked(*arguments, **more))
    return error.value


async def test_the_message_has_what_was_decided_the_trace_and_the_events_attributes(server: NatsServer) -> None:
    async with client(server) as connected, ready(server) as made:
        await stream(connected)
        await made.send(asked(b"{}", [(b"ce-type", b"order.made"), (b"x-lockgate-subject", b"anna")], key="k-1"))
        (message,) = await kept(connected)
    assert message.subject == "orders.cancel_payment"
    assert message.headers["traceparent"].startswith("00-0af76519")
    assert len(message.headers["x-lockgate-decision-id"]) == 36
    assert message.headers["ce-type"] == "order.made"
    assert message.headers["Content-Type"] == "application/json"


async def test_two_callers_with_one_key_have_asked_for_two_things(server: NatsServer) -> None:
    async with client(server) as connected, ready(server) as made:
        await stream(connected)
        for subject in (b"anna", b"bert"):
            await made.send(asked(b"{}", [(b"x-lockgate-subject", subject)], key="k-1"))
        assert len(await kept(connected)) == 2


@pytest.mark.parametrize("value", ["a.b", "a b", "*", ">", "", "a\nb"])
async def test_what_a_caller_wrote_makes_no_other_subject(server: NatsServer, value: str) -> None:
    async with ready(server, subject="orders.{{ body.region }}") as made:
        error = await refused(made, orjson.dumps({"region": value}))
    assert (error.code, error.status, error.sent) == ("input_unmapped", 422, False)


async def test_another_stream_than_the_expected_one_refuses(server: NatsServer) -> None:
    async with client(server) as connected, ready(server, stream="OTHER") as made:
        await stream(connected)
        error = await refused(made, b"{}")
        assert (error.code, error.final) == ("upstream_refused", True)
        assert await kept(connected) == []


async def test_a_subject_that_no_stream_has_is_told_at_once(server: NatsServer) -> None:
    async with ready(server, retries={"attempts": 1}) as made:
        error = await refused(made, b"{}")
    assert (error.code, error.sent) == ("upstream_unavailable", False)


async def test_what_is_longer_than_the_stream_or_the_server_takes_is_refused(server: NatsServer) -> None:
    async with client(server) as connected, ready(server, most="4MiB") as made:
        await stream(connected, max_msg_size=1024)
        for size in (2000, 2 << 20):
            error = await refused(made, b"x" * size)
            assert (error.code, error.status) == ("body_too_large", 413)
        await made.send(asked(b"{}"))


async def test_a_full_stream_is_a_failure_that_passes(server: NatsServer) -> None:
    async with client(server) as connected, ready(server, retries={"attempts": 1}) as made:
        await stream(connected, max_msgs=1, discard="new")
        await made.send(asked(b"{}"))
        error = await refused(made, b"{}")
        assert (error.code, error.sent) == ("upstream_unavailable", False)
        await connected.jetstream().purge_stream("ORDERS")
        await made.send(asked(b"{}"))


async def test_a_server_that_is_killed_and_comes_back_has_each_message_once(server: NatsServer) -> None:
    async with client(server) as connected:
        await stream(connected)
    async with ready(server, retries={"attempts": 1}, circuit={"failures": 1000}) as made:
        await made.send(asked(b"0", key="k-0"))
        server.kill()
        error = await refused(made, b"1", key="k-1")
        assert error.code in ("connect_failed", "upstream_reset")
        with pytest.raises(DestinationError):
            await made.ping()
        server.start()
        await made.ping()
        for _ in range(2):
            assert (await whole(made, asked(b"1", key="k-1")))[0] == 202
        async with client(server) as connected:
            assert [each.data for each in await kept(connected)] == [b"0", b"1"]


async def test_under_load_a_kill_loses_nothing_that_was_acknowledged(server: NatsServer) -> None:
    async with client(server) as connected:
        await stream(connected)
    acknowledged = set[bytes]()
    async with ready(server, retries={"attempts": 1}, circuit={"failures": 1000}, timeout="2s") as made:

        async def send(number: int) -> None:
            content = b"%d" % number
            try:
                await made.send(asked(content, key=f"k-{number}"))
                acknowledged.add(content)
            except DestinationError:
                pass

        sending = [asyncio.create_task(send(number)) for number in range(100)]
        while not acknowledged:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0)
        server.kill()
        await asyncio.gather(*sending)
        server.start()
        async with client(server) as connected:
            found = [each.data for each in await kept(connected)]
    assert acknowledged <= set(found)
    assert len(found) == len(set(found))


async def test_a_server_that_hangs_costs_no_more_than_the_time_out(server: NatsServer) -> None:
    async with client(server) as connected:
        await stream(connected)
    async with ready(server, timeout="500ms", retries={"attempts": 1}) as made:
        await made.ping()
        stop(server)
        error = await refused(made, b"{}", key="k")
        go_on(server)
        assert (error.code, error.sent, error.status) == ("upstream_timeout", True, 504)
        await made.send(asked(b"{}", key="k"))
    async with client(server) as connected:
        assert len(await kept(connected)) == 1


async def test_opening_does_not_need_the_server(server: NatsServer) -> None:
    server.kill()
    async with ready(server, retries={"attempts": 1}) as made:
        error = await refused(made, b"{}")
        assert (error.code, error.status, error.sent) == ("connect_failed", 502, False)


async def test_what_a_service_says_no_to_is_refused_and_what_nobody_answers_is_not_sent(server: NatsServer) -> None:
    async with client(server) as service, ready(server, mode="request", subject="cancel", retries={"attempts": 1}) as made:
        error = await refused(made, b"{}")
        assert (error.code, error.sent) == ("upstream_unavailable", False)

        async def no(message: Any) -> None:
            await service.publish(message.reply, b"", headers={"Nats-Service-Error": "no such payment", "Nats-Service-Error-Code": "404"})

        await listening(service, "cancel", no)
        error = await refused(made, b"{}")
        assert (error.code, error.final) == ("upstream_refused", True)
        assert "no such payment" in str(error)


PERMITTED = """
authorization { users: [
  { user: lockgate, password: right, permissions: { publish: ["orders.allowed", "$JS.>", "_INBOX.>"], subscribe: ["_INBOX.>"] } }
  { user: other, password: other }
] }
"""


async def test_credentials_that_are_refused_or_do_not_suffice_are_told_apart_from_a_server_that_is_away() -> None:
    with nats_server(PERMITTED) as server:
        async with client(server, user="other", password="other") as connected:
            await stream(connected)
        login = {"user": "lockgate", "retries": {"attempts": 1}, "subject": "orders.{{ body.to }}"}
        async with ready(server, password="wrong", **login) as made:
            assert (await refused(made, b'{"to":"allowed"}')).code == "upstream_denied"
        async with ready(server, password="right", timeout="5m", **login) as made:
            await made.send(asked(b'{"to":"allowed"}'))
            async with asyncio.timeout(60):  # the time-out would be the other way to hear of it
                error = await refused(made, b'{"to":"secret"}')
            assert (error.code, error.sent) == ("upstream_denied", False)
            await made.send(asked(b'{"to":"allowed"}'))


def nkey(prefix: int, private: Ed25519PrivateKey) -> tuple[str, str]:
    """(public key, seed) as `nk` prints them."""
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    raw = bytes([18 << 3 | prefix >> 5, (prefix & 31) << 3]) + private.private_bytes_raw()
    seed = base64.b32encode(raw + _crc16(raw).to_bytes(2, "little")).decode().rstrip("=")
    return _encoded(bytes([prefix]) + public), seed


async def test_an_nkey_signs_the_servers_nonce() -> None:
    public, seed = nkey(USER, Ed25519PrivateKey.generate())
    _, wrong = nkey(USER, Ed25519PrivateKey.generate())
    assert public.startswith("U")
    assert seed.startswith("SU")
    with nats_server(f"authorization {{ users: [ {{ nkey: {public} }} ] }}") as server:
        async with ready(server, nkey=seed) as made:
            await made.ping()
        async with ready(server, nkey=wrong) as made:
            with pytest.raises(DestinationError) as error:
                await made.ping()
            assert error.value.code == "upstream_denied"


@pytest.mark.parametrize("seed", ["", "SUA", "SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRCU", "not base32 at all!"])
async def test_a_seed_that_is_none_is_one_sentence_without_the_seed(server: NatsServer, seed: str, tmp_path: Path) -> None:
    file = tmp_path / "seed"
    file.write_text(seed)
    made = destination(server, nkey={"file": str(file)})
    with pytest.raises(ConfigError) as error:
        await made.open()
    assert "NKEY" in str(error.value)
    assert not seed or seed not in str(error.value)


def jwt(issuer: Ed25519PrivateKey, issuer_public: str, subject: str, claims: dict[str, Any]) -> str:
    """As `nsc` makes them (nats-io/jwt v2)."""

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    body = {"jti": uuid.uuid4().hex, "iat": int(time.time()), "iss": issuer_public, "sub": subject, "name": "test", "nats": claims}
    signed = f"{part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{part(body)}"
    return f"{signed}.{base64.urlsafe_b64encode(issuer.sign(signed.encode())).decode().rstrip('=')}"


async def test_a_credentials_file_is_a_users_jwt_and_the_key_that_signs() -> None:
    operator, account, user = (Ed25519PrivateKey.generate() for _ in range(3))
    operator_public, account_public = nkey(14 << 3, operator)[0], nkey(0, account)[0]
    user_public, seed = nkey(USER, user)
    limits = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
    account_jwt = jwt(operator, operator_public, account_public, {"type": "account", "version": 2, "limits": limits})
    user_jwt = jwt(account, account_public, user_public, {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1})
    operator_jwt = jwt(operator, operator_public, operator_public, {"type": "operator", "version": 2})
    text = (
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    config = f"operator: {operator_jwt}\nresolver: MEMORY\nresolver_preload: {{ {account_public}: {account_jwt} }}"
    with nats_server(config, jetstream=False) as server:
        async with ready(server, credentials=text) as made:
            await made.ping()
        other = text.replace(seed, nkey(USER, Ed25519PrivateKey.generate())[1])
        async with ready(server, credentials=other, connect="20s") as made:  # a busy machine takes its time to refuse
            with pytest.raises(DestinationError) as error:
                await made.ping()
            assert error.value.code == "upstream_denied"


@pytest.mark.parametrize("first", [False, True])
async def test_tls_is_verified_both_ways(tmp_path: Path, first: bool) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    certificate, key = authority.issue("server")
    mine, my_key = authority.issue("client")
    files = f'cert_file: "{certificate}", key_file: "{key}", ca_file: "{authority.ca}"'
    config = f"tls {{ {files}, verify: true, handshake_first: {str(first).lower()} }}"
    shown = {"certificate": str(mine), "key": str(my_key)}
    with nats_server(config) as server:
        own = {"servers": server.url.replace("nats://", "tls://"), "handshake_first": first, "retries": {"attempts": 1}}
        async with ready(server, tls={"ca": str(authority.ca), **shown}, **own) as made:
            await made.ping()
        for tls in ({"ca": str(stranger.ca), **shown}, {"ca": str(authority.ca), **shown, "server_name": "other.example"}):
            async with ready(server, tls=tls, **own) as made:
                error = await refused(made, b"{}")
                assert (error.code, error.sent) == ("tls_failed", False)
        async with ready(server, tls={"ca": str(authority.ca)}, **own) as made:
            assert (await refused(made, b"{}")).sent is False


async def test_where_tls_is_asked_for_a_server_without_it_hears_no_credential() -> None:
    said = bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.15.0","max_payload":1048576,"auth_required":true}\r\n')
        said.extend(await reader.read(4096))
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    plain = type("Plain", (), {"url": f"tls://127.0.0.1:{port}"})()
    async with ready(plain, user="lockgate", password="secret", retries={"attempts": 1}) as made:
        error = await refused(made, b"{}")
    listening.close()
    assert (error.code, error.sent) == ("tls_failed", False)
    assert bytes(said) == b""


async def test_a_file_that_is_no_certificate_is_one_sentence(server: NatsServer, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="TLS files"):
        await destination(server, tls={"ca": str(tmp_path / "ca.pem")}).open()


# The consumer.


async def unopened(yard: Yard, said: str) -> DestinationError:
    consumer = yard.make()
    with pytest.raises(DestinationError, match=said) as error:
        await consumer.open()
    await consumer.close()
    return error.value


@pytest.mark.parametrize("order", ["subject", "header:ce-subject"])
async def test_with_an_order_nothing_overtakes_what_was_given_back(server: NatsServer, order: str) -> None:
    async with yard_at(server, order=order) as yard:
        await yard.put(b"0", {"ce-subject": "s"}, "k")
        async with opened(yard) as consumer:
            first = await one(consumer)
            await consumer.give_back(first, 0.0)
            assert first.order
            await consumer.acknowledge([await one(consumer)])
            await Promises.test_what_is_given_back_comes_before_what_follows_it_in_its_order(
                Promises(), _with_fields(yard, {"ce-subject": "s"})
            )


def _with_fields(yard: Any, fields: dict[str, str]) -> Any:
    put_one = yard.put
    return replace(yard, put=lambda content, more, key: put_one(content, {**fields, **more}, key))


async def test_what_somebody_is_at_is_not_handed_to_another_however_long_it_takes(server: NatsServer) -> None:
    async with yard_at(server, ack_wait="600ms") as yard, opened(yard) as consumer, opened(yard) as other:
        await put(yard, b"slow")
        taken = await one(consumer)
        await nothing(other, 2.0)
        await consumer.acknowledge([taken])


async def test_what_a_worker_had_that_hangs_is_handed_to_another(server: NatsServer) -> None:
    async with yard_at(server, ack_wait="600ms") as yard, opened(yard) as consumer:
        await put(yard, b"slow")
        await one(consumer)
        consumer._keeping.cancel()  # type: ignore[attr-defined]  # as in a process that stands still
        async with opened(yard) as other:
            again = await one(other, acknowledge=True)
            assert (again.content, again.tries) == (b"slow", 2)


async def test_only_the_subjects_that_are_asked_for_come(server: NatsServer) -> None:
    async with yard_at(server) as yard, opened(yard) as all_of_them:
        name = all_of_them._settings.stream  # type: ignore[attr-defined]
        given = {"servers": server.url, "stream": name, "durable": "some", "bury": "aside.x", "subjects": [f"{name}.a.*", f"{name}.b"]}
        consumer = build_consumer(ConsumerConfig.model_validate(given), name="x", clock=SystemClock(), random=SystemRandom())
        await consumer.open()
        try:
            for key in ("a", "a.1", "b", "c"):
                await put(yard, key.encode(), key=key)
            assert contents(await some(consumer, 2)) == [b"a.1", b"b"]
            await nothing(consumer)
        finally:
            await consumer.close()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"max_deliver": 3}, "max_deliver"),
        ({"ack_policy": "none"}, "ack policy"),
        ({"filter_subject": "{name}.only"}, "subjects"),
        ({"deliver_subject": "pushed"}, "pushes"),
    ],
)
async def test_a_durable_that_would_lose_messages_is_refused(server: NatsServer, config: dict[str, Any], said: str) -> None:
    async with yard_at(server) as yard, client(server) as connected:
        name = yard.make()._settings.stream  # type: ignore[attr-defined]
        given = {key: value.format(name=name) if isinstance(value, str) else value for key, value in config.items()}
        await connected.jetstream().add_consumer(name, durable_name="lockgate", **{"ack_policy": "explicit", **given})
        assert (await unopened(yard, said)).code == "upstream_refused"


async def test_a_stream_that_is_not_there_and_a_durable_that_may_not_be_made_are_told(server: NatsServer) -> None:
    async with yard_at(server, create=False) as yard:
        await unopened(yard, "consumer not found")
    async with yard_at(server, stream="NONE") as yard:
        await unopened(yard, "stream not found")


async def test_taking_fails_when_the_durable_is_deleted(server: NatsServer) -> None:
    async with yard_at(server) as yard, opened(yard) as consumer, client(server) as connected:
        taking = asyncio.create_task(consumer.take(1))
        await asyncio.sleep(0.3)
        await connected.jetstream().delete_consumer(consumer._settings.stream, "lockgate")  # type: ignore[attr-defined]
        with pytest.raises(DestinationError, match="deleted"):
            async with asyncio.timeout(30):
                await taking


async def test_what_cannot_be_put_aside_stays(server: NatsServer) -> None:
    async with yard_at(server, bury="no.stream.has.this") as yard:
        async with opened(yard) as consumer:
            await put(yard, b"bad")
            with pytest.raises(DestinationError):
                await consumer.bury(await one(consumer), "event_invalid")
        async with opened(yard) as consumer:
            assert (await one(consumer, acknowledge=True)).content == b"bad"


async def test_a_server_that_hangs_is_a_failure_of_the_acknowledgement(server: NatsServer) -> None:
    async with yard_at(server, timeout="500ms") as yard, opened(yard) as consumer:
        await put(yard, b"1")
        taken = await one(consumer)
        stop(server)
        with pytest.raises(DestinationError) as error:
            await consumer.acknowledge([taken])
        go_on(server)
        assert error.value.code == "upstream_timeout"


@pytest.mark.parametrize(
    "told", [lambda consumer, taken: consumer.acknowledge([taken]), lambda consumer, taken: consumer.give_back(taken, 0)]
)
async def test_what_the_server_was_not_told_for_sure_is_not_kept_from_others(server: NatsServer, told: Any) -> None:
    """It would be kept ours for ever, and neither decided nor handed out again."""
    async with yard_at(server, timeout="500ms") as yard, opened(yard) as consumer:
        await put(yard, b"1")
        taken = await one(consumer)
        assert "held=1" in repr(consumer)
        stop(server)
        with pytest.raises(DestinationError):
            await told(consumer, taken)
        go_on(server)
        assert "held=0" in repr(consumer)


def test_no_other_machine_is_spoken_to_unencrypted_unless_it_is_said() -> None:
    """With a login or without: what is sent is somebody's request."""
    plain = {"servers": ["nats://127.0.0.1:1", "nats://nats.example:4222"], "subject": "a", "user": "u", "password": "p"}
    with pytest.raises(ValidationError, match=r"unencrypted at nats://nats\.example:4222; use tls://, set 'tls' .*, or 'insecure: true'"):
        DestinationConfig.model_validate(plain)
    ways: list[dict[str, Any]] = [{"insecure": True}, {"tls": {}}, {"handshake_first": True}, {"servers": "tls://nats.example:4222"}]
    for allowed in ways:
        DestinationConfig.model_validate(plain | allowed)
    DestinationConfig.model_validate(plain | {"servers": "nats://[::1]:4222"})
