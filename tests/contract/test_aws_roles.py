"""A role that is assumed with a token instead of keys, at a server that speaks as Amazon's do."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters import eventbridge_destination, sns_destination, sqs_destination
from adapters.aws.config import SqsSource
from adapters.messaging.destination import MessageDestination
from adapters.sqs_consumer import build
from router.errors import ConfigError, DestinationError
from router.system import SystemClock, SystemRandom
from tests.contract.aws_server import REGION, Amazon, amazon, needed
from tests.contract.message_promises import asked, whole
from tests.contract.sts_front import ROLE, Sts, sts

needed()

HOUR_NS = 3600 * 10**9


class Later(SystemClock):
    """A clock that a test sets forward."""

    ahead_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.ahead_ns


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Amazon]:
    with amazon(tmp_path_factory.mktemp("amazon")) as made:
        yield made


@pytest.fixture
def front(server: Amazon) -> Iterator[Sts]:
    with sts(server.url) as made:
        yield made


@pytest.fixture
def token(tmp_path: Path) -> Path:
    return put(tmp_path / "token", "hush-1\n")


def put(token: Path, text: str) -> Path:
    token.write_text(text)
    return token


def account(server: Amazon, front: Sts, token: Path) -> dict[str, Any]:
    return {
        "region": REGION, "endpoint": server.url, "web_identity": {"role": ROLE, "token_file": str(token), "endpoint": front.url},
    }  # fmt: skip


async def opened(kind: Any, account: dict[str, Any], clock: SystemClock | None = None, **settings: Any) -> MessageDestination:
    config = kind.Config.model_validate({"retries": {"attempts": 1}, **account, **settings})
    made = kind.build(config, name="orders", clock=clock or SystemClock(), random=SystemRandom())
    await made.open()
    return made  # type: ignore[no-any-return]


async def refused(made: MessageDestination) -> DestinationError:
    with pytest.raises(DestinationError) as raised:
        await made.send(asked(b"{}"))
    return raised.value


async def test_queue_topic_and_bus_are_sent_to_as_the_role(server: Amazon, front: Sts, token: Path) -> None:
    name = f"n-{uuid.uuid4()}"
    queue = server.queue(name)
    topic = server.subscribed(name, queue, raw=True)
    server.bus(name, queue)
    for kind, settings in (
        (sqs_destination, {"queue": queue}),
        (sns_destination, {"topic": topic}),
        (eventbridge_destination, {"bus": name, "source": "lockgate", "detail_type": "x"}),
    ):
        made = await opened(kind, account(server, front, token), **settings)
        for _ in range(2):
            await whole(made, asked(b'{"amount":3}'))
        await made.close()
    assert front.tokens == ["hush-1"] * 3  # once for each: keys are kept
    assert len(await asyncio.to_thread(server.read_all, queue)) == 6


async def test_keys_are_renewed_before_they_end_with_the_token_that_is_there_then(server: Amazon, front: Sts, token: Path) -> None:
    clock = Later()
    made = await opened(sqs_destination, account(server, front, token), clock, queue=server.queue(f"n-{uuid.uuid4()}"))
    await asyncio.gather(*(whole(made, asked(b"{}")) for _ in range(5)))
    put(token, "hush-2")
    clock.ahead_ns = HOUR_NS - 400 * 10**9
    await whole(made, asked(b"{}"))
    assert front.tokens == ["hush-1"]
    clock.ahead_ns = HOUR_NS - 200 * 10**9
    await whole(made, asked(b"{}"))
    await made.close()
    assert front.tokens == ["hush-1", "hush-2"]


async def test_while_keys_cannot_be_renewed_those_that_are_good_are_used(server: Amazon, front: Sts, token: Path) -> None:
    """Not asking at every message; and when they are good no more, nothing is sent."""
    clock = Later()
    made = await opened(sqs_destination, account(server, front, token), clock, queue=server.queue(f"n-{uuid.uuid4()}"))
    await whole(made, asked(b"{}"))
    front.fails, clock.ahead_ns = 503, HOUR_NS - 200 * 10**9
    for _ in range(3):
        await whole(made, asked(b"{}"))
    assert len(front.tokens) == 2
    clock.ahead_ns = HOUR_NS + 10**9
    assert (await refused(made)).code == "upstream_unavailable"
    front.fails = 0
    clock.ahead_ns += 10**9
    await whole(made, asked(b"{}"))
    await made.close()


async def test_a_refused_or_missing_token_is_told_by_name_and_never_shown(server: Amazon, front: Sts, token: Path) -> None:
    front.fails = 400
    put(token, "hush-2")
    made = await opened(sqs_destination, account(server, front, token), queue=server.queue(f"n-{uuid.uuid4()}"))
    error = await refused(made)
    assert (error.code, error.sent, "InvalidIdentityToken" in str(error), "hush" in str(error)) == ("upstream_denied", False, True, False)
    os.unlink(token)
    assert (await refused(made)).code == "upstream_denied"
    await made.close()
    with pytest.raises(ConfigError, match=r"token of SQS at 127\.0\.0\.1 cannot be read"):
        await opened(sqs_destination, account(server, front, token), queue="q")
    put(token, "")
    with pytest.raises(ConfigError, match="is empty"):
        await opened(sqs_destination, account(server, front, token), queue="q")


async def test_a_queue_is_read_as_the_role(server: Amazon, front: Sts, token: Path) -> None:
    name = f"n-{uuid.uuid4()}"
    given = {"queue": server.queue(name), "dead_letter": {"queue": server.queue(f"{name}-dead")}, "wait": "1s"}
    settings = SqsSource.model_validate({**account(server, front, token), **given})
    made = build(settings, name="orders", clock=SystemClock(), random=SystemRandom())
    await made.open()
    server.client("sqs").send_message(QueueUrl=given["queue"], MessageBody="one")
    taken = await made.take(1)
    await made.acknowledge(taken)
    await made.close()
    assert ([each.content for each in taken], front.tokens) == ([b"one"], ["hush-1"])


KEYS = {"access_key": "a", "secret_key": "b"}
WEB = {"web_identity": {"role": ROLE, "token_file": "t"}}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "or 'web_identity' instead"),
        ({**KEYS, **WEB}, "or 'web_identity' instead"),
        ({"access_key": "a"}, "needs 'access_key' and 'secret_key'"),
        ({**WEB, "session_token": "t"}, "without keys"),
        ({"web_identity": {"role": "lockgate", "token_file": "t"}}, "role"),
        ({"web_identity": {"role": ROLE}}, "token_file"),
        ({"web_identity": {"role": ROLE, "token_file": "t", "endpoint": "http://sts.example"}}, "unencrypted at another machine"),
    ],
)
def test_settings_that_cannot_be_meant_are_one_sentence(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        sqs_destination.Config.model_validate({"region": REGION, "queue": "https://q", **settings})
