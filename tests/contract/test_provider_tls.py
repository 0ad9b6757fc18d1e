"""TLS towards Amazon's services, its token service and a collector: real servers behind a real handshake, by an authority of one's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from pydantic import ValidationError

from adapters import sqs_destination
from embeddings.errors import EmbeddingsError
from router.config.judgement import LlmConfig
from router.errors import AuditError, ClassifierError, DestinationError
from router.system import SystemClock, SystemRandom
from tests.conformance.collector import collector
from tests.conformance.test_otlp_projection import follow
from tests.contract.aws_server import REGION, Amazon, amazon, needed
from tests.contract.embeddings_server import EmbeddingsServer
from tests.contract.llm_server import LlmServer, serving
from tests.contract.message_promises import asked, whole
from tests.contract.sts_front import ROLE, sts
from tests.contract.test_language_models import chat, complete
from tests.contract.test_litellm_encoder import encoder
from tests.contract.test_llm_destination import opened as helpdesk
from tests.contract.tls_front import tls_front
from tests.e2e.authority import LOCAL, Authority
from tests.e2e.processes import until
from tests.unit.audit.ledgers import entries, written

needed()
COUNT = 5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Amazon]:
    with amazon(tmp_path_factory.mktemp("amazon")) as made:
        yield made


async def sent(**settings: object) -> int:
    config = sqs_destination.Config.model_validate({"region": REGION, **settings})
    made = sqs_destination.build(config, name="orders", clock=SystemClock(), random=SystemRandom())
    await made.open()
    try:
        status, _ = await whole(made, asked(b"{}"))
        return status
    finally:
        await made.close()


async def test_amazon_is_believed_by_the_authority_that_is_named(server: Amazon, tmp_path: Path) -> None:
    """With it a message arrives; without it, by another, or under another name nothing of it is said, and why has a name."""
    queue = await asyncio.to_thread(server.queue, "tls")
    other = Authority(tmp_path, "other")
    async with tls_front(tmp_path, server.port, *LOCAL) as front:
        place = {**server.account, "endpoint": f"https://127.0.0.1:{front.port}", "queue": queue}
        ca = str(tmp_path / "front.ca.pem")
        assert await sent(**place, ca=ca) in (200, 202)
        assert len(await asyncio.to_thread(server.read_all, queue)) == 1
        before = front.bytes_in
        for wrong in ({}, {"ca": str(other.ca)}):
            with pytest.raises(DestinationError) as refused:
                await sent(**{**place, **wrong})
            assert refused.value.code == "tls_failed"
        assert front.bytes_in == before
    async with tls_front(tmp_path, server.port, x509.DNSName("sqs.example")) as front:
        with pytest.raises(DestinationError) as refused:
            await sent(**{**place, "endpoint": f"https://127.0.0.1:{front.port}", "ca": ca})
        assert (refused.value.code, front.bytes_in) == ("tls_failed", 0)
    assert await asyncio.to_thread(server.read_all, queue) == []


async def test_the_token_service_is_believed_by_the_same_authority(server: Amazon, tmp_path: Path) -> None:
    """The token goes to nobody else."""
    queue = await asyncio.to_thread(server.queue, "tls-sts")
    (tmp_path / "token").write_text("hush-1")
    with sts(server.url) as behind:
        async with tls_front(tmp_path, behind.port, *LOCAL) as front:
            role = {"role": ROLE, "token_file": str(tmp_path / "token"), "endpoint": f"https://127.0.0.1:{front.port}"}
            place = {"endpoint": server.url, "queue": queue, "web_identity": role}
            assert await sent(**place, ca=str(tmp_path / "front.ca.pem")) in (200, 202)
            assert behind.tokens == ["hush-1"]
            with pytest.raises(DestinationError):
                await sent(**place)
            assert behind.tokens == ["hush-1"]


async def chosen(url: str, **more: str) -> object:
    return await complete(chat(LlmServer(url=url), **more))


async def told(url: str, **more: str) -> object:
    made = await helpdesk(url, **more)
    try:
        return await whole(made, asked(b'{"message": "why"}'))
    finally:
        await made.close()


Asking = Callable[..., Awaitable[object]]


@pytest.mark.parametrize("asking", [chosen, told], ids=["tier", "destination"])
async def test_a_language_model_is_believed_by_the_authority_that_is_named(asking: Asking, tmp_path: Path) -> None:
    """Without it, or under another name, neither a text nor the key leaves."""
    async with serving(LlmServer(content='{"choice": "1"}')) as server:
        port = urlsplit(server.url).port or 0
        async with tls_front(tmp_path, port, *LOCAL) as front:
            url, ca = f"https://127.0.0.1:{front.port}/v1", str(tmp_path / "front.ca.pem")
            await asking(url, ca=ca)
            assert len(server.asked) == 1
            before = front.bytes_in
            with pytest.raises((ClassifierError, DestinationError)):
                await asking(url)
            assert front.bytes_in == before
        async with tls_front(tmp_path, port, x509.DNSName("llm.example")) as front:
            with pytest.raises((ClassifierError, DestinationError)):
                await asking(f"https://127.0.0.1:{front.port}/v1", ca=ca)
            assert front.bytes_in == 0
    assert len(server.asked) == 1


async def test_an_encoders_server_is_believed_by_the_authority_that_is_named(tmp_path: Path) -> None:
    """Texts of examples go to nobody else."""
    async with serving(EmbeddingsServer()) as server, tls_front(tmp_path, urlsplit(server.url).port or 0, *LOCAL) as front:
        url = f"https://127.0.0.1:{front.port}/v1"
        made = await asyncio.to_thread(encoder, EmbeddingsServer(url=url), ca=str(tmp_path / "front.ca.pem"))
        assert (await asyncio.to_thread(made.encode_one, "stop it")).shape == (made.dimensions,)
        before = front.bytes_in
        with pytest.raises(EmbeddingsError):
            await asyncio.to_thread(encoder, EmbeddingsServer(url=url))
        assert front.bytes_in == before


@pytest.mark.parametrize("more", [{"url": "http://127.0.0.1:1/v1"}, {"url": "https://llm.example/v1", "provider": "anthropic"}])
def test_an_authority_that_nobody_would_ask_is_refused(more: dict[str, str]) -> None:
    """Where nothing is encrypted, or the provider's own library speaks."""
    with pytest.raises(ValidationError, match="'ca' is for"):
        LlmConfig.model_validate({"model": "small", "ca": "ca.pem", **more})


async def test_a_collector_is_believed_by_the_authority_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And sees Lockgate's certificate where it wants one; a stranger hears nothing, and the copy does not go on."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they would count instead, whatever else is set
        monkeypatch.delenv(name, raising=False)
    callers = Authority(tmp_path, "callers")
    certificate, key = map(str, callers.issue("lockgate"))
    await asyncio.to_thread(written, tmp_path, entries(COUNT))
    with collector(tmp_path) as arrived:
        port = int(arrived.url.rpartition(":")[2].rstrip("/"))
        async with tls_front(tmp_path, port, *LOCAL, wanted=callers.ca) as front:
            url = f"https://127.0.0.1:{front.port}"
            with monkeypatch.context() as patched:
                patched.setattr("adapters.otlp_projection.TIMEOUT_S", 1.0)  # it tries again for that long
                with pytest.raises(AuditError, match="does not take records"):
                    await asyncio.to_thread(follow, tmp_path, url)
            assert (front.bytes_in, arrived.logs) == (0, [])
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "front.ca.pem"))
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate)
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", key)
            await asyncio.to_thread(follow, tmp_path, url)
            await asyncio.to_thread(until, lambda: len(arrived.logs) == COUNT, "all records had arrived")
            assert set(front.came) == {"lockgate"}
