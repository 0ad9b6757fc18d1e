"""Who is heard at the event door, and who has to wait for whom."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from router.config.events import EventSource
from router.decision import ANONYMOUS, Subject
from router.doors.events.http import EventDoor
from router.doors.events.plan import SourcePlan
from router.doors.events.signatures import GITHUB
from router.doors.events.taking import Answer, Taken
from router.doors.runtime import DoorOptions
from router.errors import IdentityError
from router.system import SystemClock, SystemRandom
from tests.unit.doors.parts import scope

BODY = b'{"a":1}'
SIGNED = {"signature": {"scheme": "github", "secrets": ["s"]}, "speaks_for": {"subject": "shop"}}
SIGNATURE = "sha256=" + hmac.new(b"s", BODY, hashlib.sha256).hexdigest()
GITHUBS = (("x-hub-signature-256", SIGNATURE), ("x-github-delivery", "d1"), ("x-github-event", "push"))
EVENT = (("ce-specversion", "1.0"), ("ce-id", "e1"), ("ce-source", "/s"), ("ce-type", "t"))
KNOWN = ("x-api-key", "known")


class Taker:
    """Takes events as long as it is free to."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()

    async def take(self, *_: Any, **__: Any) -> Taken:
        await self.free.wait()
        return Taken(Answer("d", "accepted"))


class Callers:
    """Knows who says `known`, and nobody else."""

    async def identify(self, headers: Any, *_: Any) -> Subject:
        if (b"x-api-key", b"known") not in list(headers):
            raise IdentityError("Nobody.", "credential_missing")
        return ANONYMOUS

    async def admit(self, *_: Any) -> None:
        return None


class Door:
    """The door with a source that signs and one whose callers have credentials, both of two places."""

    def __init__(self) -> None:
        self.taker = Taker()
        self._observer = SimpleNamespace(refused=lambda *_: None, event=lambda *_: None)
        callers = Callers()

        @contextmanager
        def runtime() -> Iterator[Any]:
            yield SimpleNamespace(options=DoorOptions(), authenticator=callers, limiter=callers)

        async def full() -> bool:
            return False

        self.app = EventDoor(runtime, self.taker, full, SystemClock(), SystemRandom(), self._observer, self._observer, 1 << 20)  # type: ignore[arg-type]
        signed, partner = (EventSource.model_validate({**each, "concurrency": 2}) for each in (SIGNED, {}))
        self.app.plans = {"shop": SourcePlan("shop", signed, GITHUB.verifier(["s"])), "partner": SourcePlan("partner", partner)}

    async def ask(self, source: str, *headers: tuple[str, str], body: bytes | None = BODY) -> tuple[int, str]:
        """Status and code, or outcome; with None as the body it never comes."""
        sent = list[Any]()

        async def receive() -> Any:
            if body is None:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        length = ("content-length", str(len(body or BODY)))
        path = f"/events/{source}"
        await self.app({**scope(path, ("content-type", "application/json"), length, *headers), "path": path}, receive, send)
        told = orjson.loads(sent[1]["body"])
        return sent[0]["status"], told.get("code") or told["outcome"]

    async def shop(self) -> tuple[int, str]:
        return await self.ask("shop", *GITHUBS)


@pytest.mark.parametrize("headers", [(), GITHUBS])
async def test_strangers_who_send_no_body_keep_nobody_from_being_heard(headers: Any) -> None:
    """Also not from the same address, and whatever they say of a signature."""
    door = Door()
    strangers = [asyncio.create_task(door.ask("shop", *headers, body=None)) for _ in range(200)]
    await asyncio.sleep(0)
    assert await door.shop() == (202, "accepted")
    for each in strangers:
        each.cancel()
    await asyncio.wait(strangers)
    assert await door.shop() == (202, "accepted")


async def test_who_has_no_credential_is_refused_before_a_body_is_waited_for() -> None:
    """Where callers say by one who they are."""
    asking = asyncio.create_task(Door().ask("partner", body=None))
    await asyncio.sleep(0)
    assert asking.done()
    assert asking.result() == (401, "credential_missing")


async def test_callers_who_send_no_body_keep_no_other_from_being_heard() -> None:
    """Known ones do not either."""
    door = Door()
    slow = [asyncio.create_task(door.ask("partner", KNOWN, body=None)) for _ in range(200)]
    await asyncio.sleep(0)
    assert await door.ask("partner", KNOWN, *EVENT) == (202, "accepted")
    for each in slow:
        each.cancel()
    await asyncio.wait(slow)


async def test_a_source_has_as_many_events_under_way_as_it_may() -> None:
    """What comes beyond is sent again later; an unsigned one is told that it is unsigned, whether or not there is a place."""
    door = Door()
    door.taker.free.clear()
    first = [asyncio.create_task(door.shop()) for _ in range(2)]
    await asyncio.sleep(0)
    assert await door.shop() == (503, "overloaded")
    assert await door.ask("shop") == (401, "event_unsigned")
    door.taker.free.set()
    assert await asyncio.gather(*first) == [(202, "accepted")] * 2
    assert await door.shop() == (202, "accepted")


async def test_what_is_exchanged_is_so_for_who_comes_next() -> None:
    """How many events of a source may be under way, and how long one may be; without a restart."""
    door = Door()
    door.taker.free.clear()
    first = [asyncio.create_task(door.shop()) for _ in range(2)]
    await asyncio.sleep(0)
    assert await door.shop() == (503, "overloaded")
    plan = door.app.plans["shop"]
    door.app.plans = {**door.app.plans, "shop": replace(plan, settings=plan.settings.model_copy(update={"concurrency": 3}))}
    more = [asyncio.create_task(door.shop()) for _ in range(3)]
    await asyncio.sleep(0)
    assert await door.shop() == (503, "overloaded")
    door.taker.free.set()
    assert await asyncio.gather(*first, *more) == [(202, "accepted")] * 5
    door.app.body = len(BODY) - 1
    assert await door.shop() == (413, "body_too_large")
    door.app.body = len(BODY)
    assert await door.shop() == (202, "accepted")
