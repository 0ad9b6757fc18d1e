"""RabbitMQ over TLS: who is believed, and a certificate as the login."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.needs import needs

needs("aiormq", "pip install 'lockgate[rabbitmq]'")

from adapters.messaging.destination import MessageDestination
from adapters.rabbitmq_destination import Config, build
from examples.halden.demo.company import free_ports
from router.errors import ConfigError, DestinationError
from router.system import SystemClock, SystemRandom
from tests.contract.message_promises import asked
from tests.contract.rabbit_by_hand import make_queue
from tests.e2e.authority import Authority
from tests.rabbitmq_server import PASSWORD, USER, running

Secure = tuple[int, Path]


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder)
    certificate, key = authority.issue("server")
    authority.issue("client")
    authority.issue("nobody")
    Authority(folder, "stranger")
    (port,) = free_ports(1)
    settings = {
        "listeners__ssl__1": f"127.0.0.1:{port}",
        "ssl_options__cacertfile": str(authority.ca),
        "ssl_options__certfile": str(certificate),
        "ssl_options__keyfile": str(key),
        "ssl_options__verify": "verify_peer",
        "ssl_options__fail_if_no_peer_cert": "false",
        "ssl_cert_login_from": "common_name",
        "auth_mechanisms__1": "PLAIN",
        "auth_mechanisms__2": "EXTERNAL",
    }
    with running(("rabbitmq_auth_mechanism_ssl",), **settings) as server:
        asyncio.run(make_queue(server, "q"))
        yield port, folder


async def opened(secure: Secure, host: str = "127.0.0.1", **settings: Any) -> MessageDestination:
    port, folder = secure
    given = {"servers": [f"{host}:{port}"], "routing_key": "q", **settings}
    made = build(Config.model_validate(given), name="orders", clock=SystemClock(), random=SystemRandom(), root=folder)
    await made.open()
    return made


CA = {"ca": "authority.ca.pem"}
CLIENT = {**CA, "certificate": "client.pem", "key": "client.key"}
NOBODY = {**CA, "certificate": "nobody.pem", "key": "nobody.key"}
LOGIN = {"username": USER, "password": PASSWORD}


@pytest.mark.parametrize("settings", [{**LOGIN, "tls": CA}, {"tls": CLIENT}, {**LOGIN, "tls": {**CA, "server_name": "localhost"}}])
async def test_a_message_arrives_over_tls(secure: Secure, settings: dict[str, Any]) -> None:
    made = await opened(secure, **settings)
    assert (await made.send(asked(b"{}"))).status == 202
    await made.close()


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({**LOGIN, "tls": {}}, "tls_failed"),
        ({**LOGIN, "tls": {"ca": "stranger.ca.pem"}}, "tls_failed"),
        ({**LOGIN, "tls": {**CA, "server_name": "other.example"}}, "tls_failed"),
        ({"tls": NOBODY}, "upstream_denied"),
        ({**LOGIN, "password": "wrong", "tls": CA}, "upstream_denied"),
    ],
)
async def test_who_is_not_believed_gets_nothing(secure: Secure, settings: dict[str, Any], code: str) -> None:
    made = await opened(secure, **settings)
    with pytest.raises(DestinationError) as refused:
        await made.send(asked(b"{}"))
    assert (refused.value.code, refused.value.sent) == (code, False)
    await made.close()


async def test_a_password_in_a_file_is_read_for_each_connection(secure: Secure) -> None:
    file = secure[1] / "password"
    file.write_text("wrong")
    made = await opened(secure, username=USER, password={"file": "password"}, tls=CA)
    with pytest.raises(DestinationError):
        await made.send(asked(b"{}"))
    file.write_text(PASSWORD)
    assert (await made.send(asked(b"{}"))).status == 202
    await made.close()


async def test_files_that_cannot_be_used_are_found_when_it_opens(secure: Secure) -> None:
    with pytest.raises(ConfigError):
        await opened(secure, **LOGIN, tls={"ca": "missing.pem"})
    with pytest.raises(ConfigError):
        await opened(secure, username=USER, password={"file": "missing"}, tls=CA)


def test_unencrypted_to_another_machine_needs_a_word() -> None:
    with pytest.raises(ValueError, match=r"unencrypted at rabbit\.example:5672"):
        Config.model_validate({"servers": ["rabbit.example:5672"], "routing_key": "q", **LOGIN})
