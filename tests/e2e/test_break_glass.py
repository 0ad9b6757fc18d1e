"""Who breaks the glass is told of over the channels of held requests, by the real process and a real mail relay."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.contract.mail_relay import Relay, relaying
from tests.e2e.authority import Authority
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli, free_ports
from tests.e2e.wire import Answer, ask

Start = Callable[..., Lockgate]
FORM = {"content_type": "application/x-www-form-urlencoded"}


@contextmanager
def relay(pair: tuple[Path, Path]) -> Iterator[Relay]:
    """On a thread with a loop of its own."""
    made: list[Relay] = []
    ready, done = threading.Event(), threading.Event()

    async def run() -> None:
        async with relaying(pair) as running:
            made.append(running)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert ready.wait(20)
        yield made[0]
    finally:
        done.set()
        thread.join()


def channels(port: int, ca: Path, nobody: int) -> dict[str, Any]:
    """Mail to those on duty; a chat that is not there any more, for which nobody waits long; one that wants to hear of requests alone."""
    mail = {"adapter": "email", "host": "localhost", "port": port, "sender": "lockgate@example.com", "to": ["duty@example.com"]}
    mail |= {"allow_networks": ["127.0.0.0/8", "::1/128"], "tls": {"ca": str(ca)}}
    chat = {"adapter": "slack", "url": f"http://127.0.0.1:{nobody}/x", "insecure": True, "allow_networks": ["127.0.0.0/8"]}
    notify = {
        "duty": {"through": mail, "risks": ["low"], "routes": ["plain"], "roles": ["manager"]},
        "chat": {"through": chat, "patience": "1s"},
        "desk": {"through": chat, "events": ["held"]},
    }
    return {"link": "https://lockgate.example.com/console/reviews/{review}", "notify": notify}


def broken(lockgate: Lockgate, case: str = "INC-1042") -> Answer:
    """As a person does it: the command's link, and the page's button."""
    printed = cli("console", "break-glass", "--case", case, "--minutes", "5", "--config", str(lockgate.yard.config))
    assert printed.returncode == 0, printed.stderr
    (token,) = parse_qs(urlsplit(printed.stdout.split()[-1]).query)["token"]
    return ask(lockgate.ports["control"], "POST", "/console/sign-in/break-glass", None, f"token={token}".encode(), **FORM)


def works(lockgate: Lockgate, answer: Answer) -> bool:
    cookie = answer.fields["set-cookie"].partition(";")[0]
    return bool(ask(lockgate.ports["control"], "GET", "/v1/identity", cookie=cookie).json["subject"] == "break-glass")


def text_of(mail: Message) -> str:
    content = mail.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode()


def test_breaking_the_glass_is_told_and_what_could_not_be_told_is_on_record(start: Start, tmp_path: Path) -> None:
    """At once a session, whatever becomes of telling; tried again until it is told or patience is over. Requests' filters do not count."""
    authority, (nobody,) = Authority(tmp_path), free_ports(1)
    with relay(authority.issue("relay")) as mails:
        mails.refusing = "451 later"
        lockgate = start(review=channels(mails.port, authority.ca, nobody))
        answer = broken(lockgate)
        assert (answer.status, works(lockgate, answer)) == (303, True)
        assert lockgate.system("break_glass") == [{"case": "INC-1042", "minutes": 5, "notified": ["duty", "chat"]}]
        untold = until(lambda: lockgate.system("break_glass_untold"), "the chat was given up")
        assert untold == [{"case": "INC-1042", "notifier": "chat", "reason": "connect_failed"}]
        assert mails.mails == []
        mails.refusing = ""
        ((to, mail),) = until(lambda: mails.mails, "the mail came")
    assert (to, mails.encrypted) == (["duty@example.com"], [True])
    assert mail["Subject"].startswith("Somebody broke the glass: an administrator's session")
    assert "Incident: INC-1042" in text_of(mail)
    assert "Look at it: https://lockgate.example.com/console/" in text_of(mail)


@pytest.mark.slow
def test_it_is_told_after_a_kill(start: Start, tmp_path: Path) -> None:
    """That it is to be told was durable before the session was there."""
    authority, (nobody,) = Authority(tmp_path), free_ports(1)
    with relay(authority.issue("relay")) as mails:
        mails.refusing = "451 later"
        lockgate = start(review=channels(mails.port, authority.ca, nobody))
        assert broken(lockgate, "INC-7").status == 303
        lockgate.process.kill()
        mails.refusing = ""
        lockgate.start()
        ((_, mail),) = until(lambda: mails.mails, "the mail came, at the latest when the dead process's lease had ended", 150)
    assert "Incident: INC-7" in text_of(mail)
