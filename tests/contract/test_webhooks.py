"""Webhooks against a receiver that verifies with the specification's own library."""

from __future__ import annotations

import base64
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.messaging.destination import MessageDestination
from adapters.messaging.ids import own_id
from adapters.messaging.message import message
from adapters.webhook.gone import enable, ended
from adapters.webhook_destination import Config, build
from router.errors import ConfigError, DestinationError
from router.system import SystemClock, SystemRandom
from tests.contract.message_promises import Case, Promises, asked, whole
from tests.contract.webhook_receiver import OTHER, SECRET, Receiver, receiving
from tests.e2e.authority import Authority
from tests.e2e.processes import Process, until
from tests.e2e.running import free_ports, listens

LOOPBACK = {"insecure": True, "allow_networks": ["127.0.0.0/8"], "secrets": [SECRET], "retries": {"attempts": 1}}


def destination(url: str, state: Path | None = None, resolver: AbstractResolver | None = None, **settings: Any) -> MessageDestination:
    config = Config.model_validate({**LOOPBACK, "url": url, **settings})
    return build(config, name="hooks", clock=SystemClock(), random=SystemRandom(), state=state, resolver=resolver)


async def opened(url: str, **settings: Any) -> MessageDestination:
    made = destination(url, **settings)
    await made.open()
    return made


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving(Receiver()) as made:
        yield made


async def refused(made: MessageDestination, body: bytes = b"{}") -> DestinationError:
    try:
        with pytest.raises(DestinationError) as error:
            await made.send(asked(body))
        return error.value
    finally:
        await made.close()


class TestWebhook(Promises):
    @pytest.fixture
    async def case(self, receiver: Receiver) -> AsyncIterator[Case]:
        made = await opened(f"{receiver.url}/hook")

        async def arrived(key: str) -> list[bytes]:
            known = own_id(message(asked(b"", key=key), b"", None))
            return [receiver.taken[known]] if known in receiver.taken else []

        yield Case(made, arrived)
        await made.close()


async def test_the_receiver_is_told_the_decision_and_the_trace_and_nothing_of_who_asked(receiver: Receiver) -> None:
    made = await opened(f"{receiver.url}/hook", headers={"authorization": "Bearer for-n8n"})
    await whole(made, asked(b'{"a":1}', [(b"x-lockgate-subject", b"anna.lind"), (b"x-lockgate-roles", b"clerk"), (b"cookie", b"c=1")]))
    await made.close()
    fields = receiver.arrivals[0]["fields"]
    assert fields["webhook-id"] == fields["x-lockgate-decision-id"]
    assert fields["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c")
    assert (fields["authorization"], fields["content-type"]) == ("Bearer for-n8n", "application/json")
    assert abs(int(fields["webhook-timestamp"]) - time.time()) < 60
    assert not {"x-lockgate-subject", "x-lockgate-roles", "cookie", "x-lockgate-intent"} & set(fields)


async def test_every_secret_signs_so_that_one_can_be_exchanged_for_another(receiver: Receiver, tmp_path: Path) -> None:
    """Also while it serves, where the secret is a file."""
    secret = tmp_path / "secret"
    secret.write_text(OTHER)
    made = await opened(f"{receiver.url}/hook", secrets=[{"file": str(secret)}])
    with pytest.raises(DestinationError, match="does not accept our credential"):
        await made.send(asked(b"{}"))
    secret.write_text(f"{SECRET}\n")
    assert (await whole(made, asked(b"{}")))[0] == 202
    secret.unlink()
    assert (await whole(made, asked(b"{}")))[0] == 202
    await made.close()
    both = await opened(f"{receiver.url}/hook", secrets=[OTHER, SECRET])
    assert (await whole(both, asked(b"{}")))[0] == 202
    await both.close()
    assert len(receiver.arrivals[-1]["fields"]["webhook-signature"].split(" ")) == 2


@pytest.mark.parametrize("long", [False, True])
async def test_an_asymmetric_key_signs_what_its_public_key_verifies(receiver: Receiver, long: bool) -> None:
    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    seed = private.private_bytes_raw() + (public.public_bytes_raw() if long else b"")
    made = await opened(f"{receiver.url}/status/204", secrets=["whsk_" + base64.b64encode(seed).decode()])
    await whole(made, asked('{"ä":1}'.encode()))
    await made.close()
    fields = receiver.arrivals[0]["fields"]
    version, _, signature = fields["webhook-signature"].partition(",")
    assert version == "v1a"
    signed = f"{fields['webhook-id']}.{fields['webhook-timestamp']}.".encode() + receiver.arrivals[0]["body"].encode("latin-1")
    public.verify(base64.b64decode(signature), signed)


@pytest.mark.parametrize("secret", ["nonsense", "whsec_AAAA", "whsec_*", "whsk_AAAA", "whsk_" + base64.b64encode(b"\1" * 64).decode()])
async def test_a_secret_that_cannot_sign_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ConfigError) as error:
        await destination("https://hooks.example/", secrets=[secret]).open()
    assert "secret number 1" in str(error.value)
    assert secret not in str(error.value)
    assert secret.partition("_")[2] in ("", "*") or secret.partition("_")[2] not in str(error.value)


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_an_event_is_one_that_the_cloudevents_library_reads(receiver: Receiver, mode: str) -> None:
    from cloudevents.v1.http import from_http

    event = {"mode": mode, "type": "com.halden.{{ decision.intent }}", "source": "/lockgate", "subject": "{{ body.id }}"}
    made = await opened(f"{receiver.url}/hook", event=event)
    await whole(made, asked('{"id": "ä%\\" 4711"}'.encode(), [(b"ce-source", b"/shop"), (b"ce-time", b"2026-11-28T10:00:00Z")]))
    await made.close()
    arrived = receiver.arrivals[0]
    read = from_http(arrived["fields"], arrived["body"].encode("latin-1"))
    assert read.data == {"id": 'ä%" 4711'}
    assert (read["type"], read["source"], read["id"]) == ("com.halden.cancel_payment", "/lockgate", arrived["fields"]["webhook-id"])
    assert (read["subject"], read["time"]) == ('ä%" 4711' if mode == "structured" else "%C3%A4%25%22 4711", "2026-11-28T10:00:00Z")
    assert read["lockgatedecision"] == arrived["fields"]["x-lockgate-decision-id"]


async def test_bytes_that_are_no_text_travel_in_an_event_all_the_same(receiver: Receiver) -> None:
    made = await opened(f"{receiver.url}/hook", event={"type": "t", "source": "/s"})
    await whole(made, asked(b"\xff\x00", [(b"content-type", b"application/octet-stream")]))
    await made.close()
    read = orjson.loads(receiver.arrivals[0]["body"].encode("latin-1"))
    assert base64.b64decode(read["data_base64"]) == b"\xff\x00"
    assert "data" not in read


@pytest.mark.parametrize(
    ("status", "code", "final", "sent"),
    [
        (400, "upstream_refused", True, False),
        (401, "upstream_denied", True, False),
        (404, "upstream_refused", True, False),
        (408, "upstream_unavailable", False, False),
        (302, "upstream_refused", True, False),
        (429, "upstream_throttled", False, False),
        (500, "upstream_unavailable", False, True),
        (503, "upstream_unavailable", False, True),
    ],
)
async def test_what_a_status_means(receiver: Receiver, status: int, code: str, final: bool, sent: bool) -> None:
    """A redirect leads nowhere, though where it points to would take the message."""
    receiver.answer_headers = {"retry-after": "120", "location": f"{receiver.url}/hook"}
    error = await refused(await opened(f"{receiver.url}/status/{status}"))
    assert (error.code, error.final, error.sent) == (code, final, sent)
    assert len(receiver.arrivals) == 1
    if code in ("upstream_throttled", "upstream_unavailable"):
        assert error.wait == 120.0


async def test_an_endpoint_that_is_gone_is_left_alone_until_somebody_says_so(receiver: Receiver, tmp_path: Path) -> None:
    """Also by another process, and after a restart; its URL, which may be a secret, is not in the state."""
    url = f"{receiver.url}/status/410?token=secret"
    first = await refused(await opened(url, state=tmp_path))
    second = await refused(await opened(url, state=tmp_path))
    assert [(each.code, each.final) for each in (first, second)] == [("endpoint_gone", True)] * 2
    assert len(receiver.arrivals) == 1
    (known,) = ended(tmp_path)
    assert (known.destination, known.host) == ("hooks", "127.0.0.1")
    assert known.decision == receiver.arrivals[0]["fields"]["x-lockgate-decision-id"]
    assert "token" not in str(known)
    assert b"token" not in (tmp_path / "endpoints/hooks" / f"{known.endpoint}.json").read_bytes()
    enable(tmp_path, known)
    await refused(await opened(url, state=tmp_path))
    assert len(receiver.arrivals) == 2
    other = await opened(f"{receiver.url}/hook", state=tmp_path)
    assert (await whole(other, asked(b"{}")))[0] == 202
    await other.close()


async def test_an_endpoint_that_is_gone_is_remembered_where_nothing_can_be_written(receiver: Receiver) -> None:
    made = await opened(f"{receiver.url}/status/410", state=Path("/proc/no-state"))
    for _ in range(2):
        with pytest.raises(DestinationError, match="gone"):
            await made.send(asked(b"{}"))
    await made.close()
    assert len(receiver.arrivals) == 1


async def test_the_endpoints_answer_is_the_callers_where_that_is_wanted_and_is_bounded(receiver: Receiver) -> None:
    receiver.answer, receiver.answer_headers = b'{"flow":"done"}', {"content-type": "application/json"}
    made = await opened(f"{receiver.url}/hook", reply="answer", most_answer="15B")
    assert await whole(made, asked(b"{}")) == (200, b'{"flow":"done"}')
    receiver.answer += b" "
    assert (await refused(made)).code == "upstream_protocol"
    plain = await opened(f"{receiver.url}/hook", most_answer="15B")
    assert (await whole(plain, asked(b"{}")))[0] == 202
    await plain.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "[::]"])
async def test_no_way_of_writing_an_address_leads_inside(receiver: Receiver, host: str) -> None:
    error = await refused(await opened(f"http://{host}:{receiver.port}/hook", allow_networks=[]))
    assert error.code in ("endpoint_address_refused", "connect_failed")
    assert error.code == "endpoint_address_refused" or ":" in host  # where this machine has no IPv6 there is nobody to ask
    assert receiver.arrivals == []


class Rebinding(AbstractResolver):
    """Says a harmless address when it is asked first, and an inner one ever after."""

    def __init__(self, first: str, *, both: bool = False) -> None:
        self.answers, self.asked, self.both = [first, "127.0.0.1"], 0, both

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        found = self.answers if self.both else [self.answers[min(self.asked, 1)]]
        self.asked += 1
        return [ResolveResult(hostname=host, host=each, port=port, family=socket.AF_INET, proto=0, flags=0) for each in found]

    async def close(self) -> None:
        return None


async def test_a_name_that_changes_its_address_between_check_and_connection_leads_nowhere(receiver: Receiver) -> None:
    """It is asked once for a connection, and what it said then is connected to."""
    resolver = Rebinding("127.0.0.2")
    made = await opened(f"http://rebind.example:{receiver.port}/hook", allow_networks=["127.0.0.2/32"], resolver=resolver)
    assert (await refused(made)).code == "connect_failed"  # nobody listens at 127.0.0.2
    assert (resolver.asked, receiver.arrivals) == (1, [])
    again = await opened(f"http://rebind.example:{receiver.port}/hook", allow_networks=["127.0.0.2/32"], resolver=resolver)
    assert (await refused(again)).code == "endpoint_address_refused"
    assert receiver.arrivals == []


async def test_a_name_with_one_inner_address_among_others_is_refused(receiver: Receiver) -> None:
    made = await opened(f"http://mixed.example:{receiver.port}/hook", allow_networks=[], resolver=Rebinding("93.184.215.14", both=True))
    assert (await refused(made)).code == "endpoint_address_refused"


async def test_an_address_that_may_not_be_is_no_reason_to_try_at_once_again(receiver: Receiver) -> None:
    resolver = Rebinding("10.0.0.1")
    made = await opened("http://inner.example/", retries={"attempts": 5, "backoff": "1ms"}, allow_networks=[], resolver=resolver)
    error = await refused(made)
    assert (error.code, resolver.asked, error.sent) == ("endpoint_address_refused", 1, False)
    assert "10.0.0.1" not in str(error)


async def test_the_hosts_name_is_what_the_certificate_must_have(tmp_path: Path) -> None:
    """And mTLS shows ours."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("hooks.example", x509.DNSName("hooks.example"))
    mine = authority.issue("lockgate.example")
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca))
    secure.verify_mode = ssl.CERT_REQUIRED
    secure.load_cert_chain(certificate, key)
    tls = {"ca": str(authority.ca), "certificate": str(mine[0]), "key": str(mine[1])}
    resolver = Rebinding("127.0.0.1")
    async with receiving(Receiver(), ssl=secure) as receiver:
        made = await opened(f"https://hooks.example:{receiver.port}/hook", tls=tls, insecure=False, resolver=resolver)
        await made.ping()
        assert (await whole(made, asked(b"{}")))[0] == 202
        await made.close()
        other = await opened(f"https://other.example:{receiver.port}/hook", tls=tls, insecure=False, resolver=resolver)
        assert (await refused(other)).code == "tls_failed"
        stranger = await opened(f"https://hooks.example:{receiver.port}/hook", tls={"ca": str(authority.ca)}, resolver=resolver)
        assert (await refused(stranger)).code in ("tls_failed", "upstream_reset")
    assert len(receiver.arrivals) == 1


async def test_a_url_made_of_the_request_leads_to_the_hosts_that_may_be_and_nowhere_else(receiver: Receiver) -> None:
    made = await opened("{{ body.callback }}", hosts=["127.0.0.1"])
    for callback in (f"{receiver.url}/hook", f"{receiver.url}/hook/a?b=c"):
        assert (await whole(made, asked(orjson.dumps({"callback": callback}))))[0] == 202
    for callback in ("http://evil.example/", "http://127.0.0.1@evil.example/", "http://evil.example#@127.0.0.1/", "file:///etc/passwd"):
        with pytest.raises(DestinationError) as error:
            await made.send(asked(orjson.dumps({"callback": callback})))
        assert (error.value.code, error.value.status, error.value.final) == ("endpoint_refused", 422, True)
    await made.close()
    assert len(receiver.arrivals) == 2


async def test_a_value_within_a_url_stays_within_its_place(receiver: Receiver) -> None:
    made = await opened(receiver.url + "/hook/{{ body.id }}?to={{ body.to }}")
    assert (await whole(made, asked(b'{"id": "4711", "to": "x"}')))[0] == 202
    for values in ({"id": "../status", "to": "x"}, {"id": "..", "to": "x"}, {"id": "1?a", "to": "x"}, {"id": "1", "to": "x&admin=1"}):
        with pytest.raises(DestinationError) as error:
            await made.send(asked(orjson.dumps(values)))
        assert error.value.code == "endpoint_refused"
    for values in ({"id": "1#a", "to": "x"}, {"id": "a b", "to": "x"}, {"id": "%2e%2e", "to": "x"}, {"id": "ä", "to": "x"}):
        with pytest.raises(DestinationError) as error:
            await made.send(asked(orjson.dumps(values)))
        assert error.value.code == "endpoint_refused"
    await made.close()
    assert [each["path"] for each in receiver.arrivals] == ["/hook/4711?to=x"]


async def test_two_callers_with_one_key_are_two_messages(receiver: Receiver) -> None:
    """Else one could hide another's message behind a key that it guesses."""
    made = await opened(f"{receiver.url}/hook")
    for who in (b"anna", b"anna", b"eve"):
        await whole(made, asked(b'{"n":1}', [(b"x-lockgate-subject", who)], key="order.1"))
    await made.close()
    assert len({each["fields"]["webhook-id"] for each in receiver.arrivals}) == 2
    assert all("." not in each["fields"]["webhook-id"] for each in receiver.arrivals)


async def test_a_receiver_that_is_killed_and_comes_back_is_sent_to_again(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    process = Process([sys.executable, "-m", "tests.contract.webhook_receiver", str(port)], tmp_path / "receiver.log")
    made = await opened(f"http://127.0.0.1:{port}/hook", circuit={"failures": 100})
    try:
        with pytest.raises(DestinationError) as nobody:
            await made.send(asked(b"{}"))
        assert (nobody.value.code, nobody.value.sent) == ("connect_failed", False)
        with pytest.raises(DestinationError):
            await made.ping()
        for _ in range(2):
            process.start()
            until(lambda: listens(port), "the receiver listened")
            await made.ping()
            assert (await whole(made, asked(b"{}")))[0] == 202
            process.kill()
            with pytest.raises(DestinationError) as gone:
                await made.send(asked(b"{}"))
            assert gone.value.code in ("connect_failed", "upstream_reset")
    finally:
        process.kill()
        await made.close()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"url": "http://hooks.example/"}, "must be https"),
        *(({"url": f"https://{host}/"}, "a whole address") for host in ("0x7f.1", "2130706433", "127.1", "0177.0.0.1", "a.1", "[1.2.3.4]")),
        ({"url": "https://user@hooks.example/"}, "without a user"),
        ({"url": "https://{{ body.host }}/"}, "needs `hosts`"),
        ({"url": "https://hooks.example{{ body.x }}/"}, "needs `hosts`"),
        ({"url": "http://hooks.example/{{ body.x }}"}, "must be https"),
        ({"url": "https://a.example/", "hosts": ["b.example"]}, "one of the hosts"),
        ({"url": "https://hooks.example/", "secrets": []}, "needs 'secrets'"),
        ({"url": "https://hooks.example/", "unsigned": True}, "not both"),
        ({"url": "https://hooks.example/", "headers": {"webhook-id": "x"}}, "not one of Lockgate's own"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_when_they_are_read(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Config.model_validate({"secrets": [SECRET], **settings})
