"""Every channel by which people are told, against a peer that takes it as theirs do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from adapters import email_notifier, slack_notifier, teams_notifier, webhook_notifier
from router.errors import ConfigError, DestinationError
from router.ports import Notice, Notifier
from router.system import SystemClock
from tests.contract.mail_relay import Relay, relaying
from tests.contract.webhook_receiver import OTHER, SECRET, Receiver, receiving
from tests.e2e.authority import Authority

LINK = "https://lockgate.example.com/console/reviews/0198"
NOTICE = Notice("ntc_1", "0198", "held", "duty", "cancel_payment", "high", "payments.ask", 1_800_000_000_000_000_000, 10, 10, 20, 30)
LOOPBACK = {"insecure": True, "allow_networks": ["127.0.0.0/8"]}
POSTED: dict[str, Any] = {"slack": slack_notifier, "teams": teams_notifier, "webhook": webhook_notifier}


def posting(kind: str, url: str, resolver: AbstractResolver | None = None, **settings: Any) -> Notifier:
    signing = {"secrets": [SECRET]} if kind == "webhook" else {}
    config = POSTED[kind].Config.model_validate({**LOOPBACK, **signing, "url": url, **settings})
    made: Notifier = POSTED[kind].build(config, clock=SystemClock(), resolver=resolver)
    return made


async def told(notifier: Notifier, notice: Notice = NOTICE) -> None:
    try:
        await notifier.open()
        await notifier.tell(notice, LINK)
    finally:
        await notifier.close()


async def refused(notifier: Notifier) -> str:
    with pytest.raises(DestinationError) as error:
        await told(notifier)
    return error.value.code


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving(Receiver()) as made:
        yield made


async def test_a_webhook_verifies_as_standard_webhooks_has_it(receiver: Receiver) -> None:
    """The specification's own library takes it; its id is the notice's, also when it is sent again."""
    for _ in range(2):
        await told(posting("webhook", f"{receiver.url}/hook"))
    assert list(receiver.taken) == ["ntc_1"]
    assert len(receiver.arrivals) == 2
    assert orjson.loads(receiver.taken["ntc_1"]) == {
        "type": "lockgate.review.held",
        "timestamp": "1970-01-01T00:00:00Z",
        "data": {
            "review": "0198",
            "intent": "cancel_payment",
            "risk": "high",
            "route": "payments.ask",
            "expires": "2027-01-15T08:00:00Z",
            "link": LINK,
        },
    }


async def test_a_webhook_with_another_secret_is_not_taken(receiver: Receiver) -> None:
    """The receiver above does verify."""
    assert await refused(posting("webhook", f"{receiver.url}/hook", secrets=[OTHER])) == "upstream_denied"
    assert receiver.taken == {}


async def test_slack_gets_a_text_with_a_link(receiver: Receiver) -> None:
    """One `text`, which other chats know too; nothing in it is markup of somebody else."""
    notice = replace(NOTICE, intent="<!channel> *x* & y")
    await told(posting("slack", f"{receiver.url}/status/200"), notice)
    (arrived,) = receiver.arrivals
    assert arrived["fields"]["content-type"] == "application/json"
    told_text = orjson.loads(arrived["body"].encode("latin-1"))
    assert list(told_text) == ["text"]
    assert f"<{LINK}|Look at it>" in told_text["text"]
    assert "Intent: ??channel? ?x? ? y\n" in told_text["text"]
    assert "Expires: 2027-01-15 08:00 UTC" in told_text["text"]


async def test_teams_gets_an_adaptive_card_whose_only_action_opens_a_link(receiver: Receiver) -> None:
    """As "Post to a channel when a webhook request is received" takes it, which answers 202."""
    await told(posting("teams", f"{receiver.url}/status/202"))
    (attachment,) = orjson.loads(receiver.arrivals[0]["body"])["attachments"]
    card = attachment["content"]
    assert (attachment["contentType"], card["type"]) == ("application/vnd.microsoft.card.adaptive", "AdaptiveCard")
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Look at it", "url": LINK}]
    assert {"title": "Route", "value": "payments.ask"} in card["body"][1]["facts"]


@pytest.mark.parametrize(("status", "code"), [(404, "upstream_refused"), (403, "upstream_denied"), (302, "upstream_refused")])
async def test_what_is_not_taken_is_told(receiver: Receiver, status: int, code: str) -> None:
    """No redirect is followed."""
    assert await refused(posting("slack", f"{receiver.url}/status/{status}")) == code
    assert len(receiver.arrivals) == 1


async def test_a_chat_may_ask_to_wait(receiver: Receiver) -> None:
    """429 with Retry-After, as Slack answers who posts too much."""
    receiver.answer_headers = {"retry-after": "30"}
    with pytest.raises(DestinationError) as error:
        await told(posting("slack", f"{receiver.url}/status/429"))
    assert (error.value.code, error.value.wait) == ("upstream_throttled", 30.0)


class _Names(AbstractResolver):
    """A name that leads to this machine."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("kind", POSTED)
@pytest.mark.parametrize("host", ["127.0.0.1", "hooks.example.com"])
async def test_an_address_of_the_inside_is_not_connected_to(receiver: Receiver, kind: str, host: str) -> None:
    """Written out or by a name that leads there."""
    notifier = posting(kind, f"http://{host}:{receiver.port}/status/200", _Names(), allow_networks=[])
    assert await refused(notifier) == "endpoint_address_refused"
    assert receiver.arrivals == []


@pytest.mark.parametrize("kind", POSTED)
async def test_a_url_that_is_not_encrypted_is_refused_before_anything_is_sent(kind: str, tmp_path: Path) -> None:
    """Known at load where it stands in the configuration, and when it starts where it comes from a file."""
    (tmp_path / "url").write_text("http://hooks.example.com/x\n")
    signing = {"secrets": [SECRET]} if kind == "webhook" else {}
    module = POSTED[kind]
    here = module.Config.model_validate({"url": "http://hooks.example.com/x", **signing})
    assert list(here.unusable(tmp_path)) == ["The notifier's 'url' must be https, unless `insecure` is set."]
    notifier = module.build(module.Config.model_validate({"url": {"file": "url"}, **signing}), clock=SystemClock(), root=tmp_path)
    with pytest.raises(ConfigError, match="must be https"):
        await notifier.open()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("relay")


def mailing(relay: Relay, authority: Authority, **settings: Any) -> Notifier:
    given = {"host": "localhost", "port": relay.port, "sender": "lockgate@example.com", "to": ["duty@example.com", "lead@example.com"]}
    more = {"allow_networks": ["127.0.0.0/8", "::1/128"], "tls": {"ca": str(authority.ca)}, **settings}
    config = email_notifier.Config.model_validate(given | more)
    return email_notifier.build(config, clock=SystemClock())


@pytest.fixture(params=[True, False], ids=["tls", "starttls"])
async def relay(request: pytest.FixtureRequest, pair: tuple[Path, Path]) -> AsyncIterator[tuple[Relay, str]]:
    async with relaying(pair, implicit=request.param, login=True) as made:
        yield made, "tls" if request.param else "starttls"


async def test_mail_goes_encrypted_with_a_login(relay: tuple[Relay, str], authority: Authority) -> None:
    """A plain text of our sentences with the link, to each address, under an id that is the notice's."""
    server, security = relay
    await told(mailing(server, authority, security=security, user="lockgate", password="let me in"))
    ((recipients, mail),) = server.mails
    assert (recipients, server.encrypted) == (["duty@example.com", "lead@example.com"], [True])
    assert mail["Subject"] == "A request waits for a decision (risk: high)"
    assert (mail["Message-ID"], mail["Auto-Submitted"]) == ("<ntc_1@example.com>", "auto-generated")
    text = mail.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert text.decode().splitlines() == [
        "A request waits for a decision.",
        "",
        "Intent: cancel_payment",
        "Risk: high",
        "Route: payments.ask",
        "Expires: 2027-01-15 08:00 UTC",
        "",
        f"Look at it: {LINK}",
    ]


async def test_a_wrong_password_is_told_as_such(relay: tuple[Relay, str], authority: Authority) -> None:
    """And nothing of it is in the sentence."""
    server, security = relay
    notifier = mailing(server, authority, security=security, user="lockgate", password="let me out")
    with pytest.raises(DestinationError) as error:
        await told(notifier)
    assert (error.value.code, str(error.value)) == ("upstream_denied", "the relay does not accept our name and password")
    assert server.mails == []


async def test_a_relay_that_nobody_vouches_for_gets_nothing(relay: tuple[Relay, str], tmp_path: Path) -> None:
    """Its certificate is another authority's."""
    server, security = relay
    assert await refused(mailing(server, Authority(tmp_path), security=security, user="lockgate", password="let me in")) == "tls_failed"
    assert server.mails == []


async def test_a_relay_without_starttls_gets_nothing(authority: Authority) -> None:
    """Whoever sits between may have taken the offer away; only who says `none` and `insecure` sends unencrypted."""
    async with relaying(None) as server:
        assert await refused(mailing(server, authority)) == "tls_failed"
        assert server.mails == []
        await told(mailing(server, authority, security="none", insecure=True))
        assert server.encrypted == [False]


@pytest.mark.parametrize(("answer", "code"), [("550 no such user", "upstream_refused"), ("451 later", "upstream_unavailable")])
async def test_a_refused_recipient_is_told_without_its_address(
    pair: tuple[Path, Path], authority: Authority, answer: str, code: str
) -> None:
    """What a relay says may name people."""
    async with relaying(pair) as server:
        server.refusing = answer
        with pytest.raises(DestinationError) as error:
            await told(mailing(server, authority))
    assert error.value.code == code
    assert "example.com" not in str(error.value)


async def test_a_relay_on_the_inside_must_be_allowed(pair: tuple[Path, Path], authority: Authority) -> None:
    """As webhooks have it."""
    async with relaying(pair) as server:
        assert await refused(mailing(server, authority, allow_networks=[])) == "endpoint_address_refused"


async def test_a_relay_that_says_nothing_is_left(authority: Authority) -> None:
    """The thread that waits for it ends with it."""
    left = asyncio.Event()

    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        left.set()

    silent = await asyncio.start_server(waits, "127.0.0.1", 0)
    async with silent:
        relay = Relay(port=silent.sockets[0].getsockname()[1])
        notifier = mailing(relay, authority, timeout="300ms", host="127.0.0.1")
        assert await refused(notifier) in ("upstream_timeout", "upstream_reset", "connect_failed")
        await left.wait()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"to": ["a@example.com\r\nBcc: b@example.com"]}, "mail address"),
        ({"user": "x"}, "together"),
        ({"security": "none"}, "insecure"),
        ({"insecure": True}, "insecure"),
        ({"host": "https://mail"}, "host"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_load(settings: dict[str, Any], sentence: str) -> None:
    """In one sentence."""
    given = {"host": "mail.example.com", "sender": "lockgate@example.com", "to": ["a@example.com"]}
    with pytest.raises(ValueError, match=sentence):
        email_notifier.Config.model_validate(given | settings)
