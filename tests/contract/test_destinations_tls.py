"""TLS towards tools, agents and retrieval services: whom they believe, by which name, and who Lockgate is. Real servers behind a real
handshake."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509

from adapters.jwks_http import JwksUrl
from adapters.messaging.destination import MessageDestination
from adapters.oidc_http import OidcHttp
from adapters.workflows.client import Answer, Call, Client
from adapters.workflows.config import EngineTls
from router.errors import DestinationError, StateError
from tests.contract import test_a2a_destination, test_mcp_destination, test_retrieval_destination
from tests.contract.agent_server import Agent
from tests.contract.agent_server import serving as serving_agent
from tests.contract.message_promises import asked, whole
from tests.contract.retrieval_server import Retrieval
from tests.contract.retrieval_server import serving as serving_retrieval
from tests.contract.tls_front import Front, tls_front
from tests.contract.tool_server import Tools
from tests.contract.tool_server import serving as serving_tools
from tests.e2e.authority import LOCAL, Authority
from tests.e2e.running import free_ports

Place = tuple[Front, Callable[..., MessageDestination]]
Making = Callable[..., AbstractAsyncContextManager[Place]]
ELSEWHERE = x509.DNSName("tools.example")


@asynccontextmanager
async def tools(folder: Path, *names: x509.GeneralName, wanted: Path | None = None) -> AsyncIterator[Place]:
    async with serving_tools(Tools()) as made, tls_front(folder, urlsplit(made.url).port or 0, *names, wanted=wanted) as front:
        url = f"https://127.0.0.1:{front.port}/mcp"
        yield front, lambda **more: test_mcp_destination.destination(url, input={"question": "{{ body.q }}"}, **more)


@asynccontextmanager
async def agent(folder: Path, *names: x509.GeneralName, wanted: Path | None = None) -> AsyncIterator[Place]:
    (behind,) = free_ports(1)
    async with tls_front(folder, behind, *names, wanted=wanted) as front:
        url = f"https://127.0.0.1:{front.port}"
        async with serving_agent(Agent(), behind, url):
            yield front, lambda **more: test_a2a_destination.destination(url, **more)


@asynccontextmanager
async def retrieval(folder: Path, *names: x509.GeneralName, wanted: Path | None = None) -> AsyncIterator[Place]:
    async with serving_retrieval(Retrieval()) as made, tls_front(folder, made.port, *names, wanted=wanted) as front:
        url = f"https://127.0.0.1:{front.port}/v1/search"
        yield front, lambda **more: test_retrieval_destination.destination(url, input="{{ body.q }}", **more)


KINDS: dict[str, Making] = {"mcp": tools, "a2a": agent, "retrieval": retrieval}


@pytest.fixture(params=list(KINDS))
def making(request: pytest.FixtureRequest) -> Making:
    return KINDS[request.param]


async def delivered(made: MessageDestination) -> int:
    try:
        await made.open()
        status, _ = await whole(made, asked(b'{"q": "why"}'))
        return status
    finally:
        await made.close()


async def refusal(made: MessageDestination) -> str:
    with pytest.raises(DestinationError) as refused:
        await delivered(made)
    return refused.value.code


async def test_it_is_asked_by_an_authority_that_is_named_and_by_its_name(making: Making, tmp_path: Path) -> None:
    """The one that is configured vouches for it; `server_name` is the name that counts where it is not the host's."""
    async with making(tmp_path, *LOCAL) as (_, build):
        assert await delivered(build(tls={"ca": str(tmp_path / "front.ca.pem")})) == 200
    (tmp_path / "named").mkdir()
    async with making(tmp_path / "named", ELSEWHERE) as (front, build):
        ca = {"ca": str(tmp_path / "named" / "front.ca.pem")}
        assert await delivered(build(tls={**ca, "server_name": "tools.example"})) == 200
        before = front.bytes_in
        assert await refusal(build(tls=ca)) == "tls_failed"
        assert await refusal(build(tls={**ca, "server_name": "other.example"})) == "tls_failed"
        assert front.bytes_in == before


async def test_a_stranger_hears_nothing(making: Making, tmp_path: Path) -> None:
    """Whose certificate is of an authority that nobody named."""
    async with making(tmp_path, *LOCAL) as (front, build):
        assert await refusal(build(headers={"authorization": "Bearer secret"})) == "tls_failed"
        assert front.bytes_in == 0


async def test_lockgate_shows_its_certificate(making: Making, tmp_path: Path) -> None:
    """Where one is wanted; and without one nothing is delivered."""
    callers = Authority(tmp_path, "callers")
    certificate, key = map(str, callers.issue("lockgate"))
    async with making(tmp_path, *LOCAL, wanted=callers.ca) as (front, build):
        ca: dict[str, Any] = {"ca": str(tmp_path / "front.ca.pem")}
        assert await delivered(build(tls={**ca, "certificate": certificate, "key": key})) == 200
        assert set(front.came) == {"lockgate"}
        before = front.bytes_in
        with pytest.raises(DestinationError):
            await delivered(build(tls=ca))
        assert front.bytes_in == before


async def test_workflow_engines_are_asked_the_same_way(tmp_path: Path) -> None:
    """By the client that all of them share: whom it believes, and what it shows."""
    callers = Authority(tmp_path, "callers")
    certificate, key = map(str, callers.issue("lockgate"))
    async with serving_retrieval(Retrieval()) as made, tls_front(tmp_path, made.port, *LOCAL, wanted=callers.ca) as front:
        ca, shown = {"ca": str(tmp_path / "front.ca.pem")}, {"certificate": certificate, "key": key}
        url = f"https://127.0.0.1:{front.port}/_arrivals"
        assert (await answered(url, EngineTls(**ca, **shown))).status == 200
        assert front.came == ["lockgate"]
        before = front.bytes_in
        for wrong in ({}, shown, ca):
            with pytest.raises(DestinationError):
                await answered(url, EngineTls(**wrong))
        assert front.bytes_in == before
    async with tls_front(tmp_path, 1, ELSEWHERE) as front:
        with pytest.raises(DestinationError) as refused:
            await answered(f"https://127.0.0.1:{front.port}/_arrivals", EngineTls(**ca))
    assert refused.value.code == "tls_failed"


async def answered(url: str, tls: EngineTls) -> Answer:
    client = Client("flow", tls)
    await client.open()
    try:
        return await client.ask(Call("GET", url, b"", {}))
    finally:
        await client.close()


@pytest.mark.parametrize("who", ["keys of an issuer", "sign-in provider"])
async def test_a_stranger_who_claims_to_be_an_issuer_hears_nothing(tmp_path: Path, who: str) -> None:
    """These know the system's authorities alone."""
    async with tls_front(tmp_path, 1, *LOCAL) as front:
        url = f"https://127.0.0.1:{front.port}/keys"
        source: Any = JwksUrl(url) if who == "keys of an issuer" else OidcHttp(trust_env=False)
        try:
            with pytest.raises(StateError, match="CERTIFICATE_VERIFY_FAILED"):
                await (source.fetch() if isinstance(source, JwksUrl) else source.get(url))
        finally:
            await source.close()
        assert front.bytes_in == 0
