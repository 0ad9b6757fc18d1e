"""The event door over HTTP: `POST /events/NAME`. A sender is told 202 or 200 once the event is decided on record; anything else means
that it was not taken.

1 source   2 credential and limits, where no signature says who sends   3 body   4 signature   5 a place of the source
6 the events in it   7 each decided, once   8 answer

Nobody takes a place before it is known that he may send: strangers who send no body would keep those out who are meant to be heard.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol

import orjson

from router.caller import caller_key
from router.decision import ANONYMOUS, Subject
from router.doors.addresses import AddressList
from router.doors.body import BodyReader, ClientGoneError, Receive
from router.doors.events.arriving import Arriving
from router.doors.events.event import Event
from router.doors.events.plan import SourcePlan
from router.doors.events.reading import read_posted
from router.doors.events.signatures import by_name
from router.doors.events.taking import Taken, Taking
from router.doors.head import Head, read_head
from router.doors.responses import STATE_FAILED, Send, refuse, respond, respond_problem
from router.doors.runtime import Observer, Runtime
from router.errors import AuditError, RefusedError, StateError
from router.ports import Clock, Headers, Random

log = logging.getLogger("lockgate.events")
PREFIX = "/events/"
NANO = 1e-9
JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
MOST_AT_ONCE = 16


class EventObserver(Protocol):
    def event(self, source: str, result: str) -> None:
        """Quick, and never raises."""


class EventDoor:
    """An ASGI application. `plans` by name, of those that HTTP brings; `body`: the longest, in bytes; `full` says whether no more events
    may be taken now; `ready`, whether a balancer is to send any here. What is exchanged is so for who comes next."""

    plans: Mapping[str, SourcePlan]
    addresses: AddressList | None
    body: int

    def __init__(
        self,
        runtime: Callable[[], AbstractContextManager[Runtime]],
        taking: Taking,
        full: Callable[[], Awaitable[bool]],
        clock: Clock,
        random: Random,
        observer: Observer,
        counting: EventObserver,
        body: int,
    ) -> None:
        self.plans, self.addresses = {}, None
        self.ready = True
        self._runtime = runtime
        self._taking = taking
        self._full = full
        self._clock = clock
        self._random = random
        self._observer = observer
        self._counting = counting
        self.body = body
        self._places: dict[tuple[str, int], asyncio.Semaphore] = {}
        self._arriving = Arriving()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("the event door serves HTTP requests only")
        try:
            await self._handle(scope, receive, send)
        except RefusedError as error:
            self._observer.refused(error.code, error.status)
            await refuse(send, error)
        except ClientGoneError:
            self._observer.refused("client_gone", 499)
        except AuditError as error:
            self._observer.refused(error.code, 503)
            again = [(b"retry-after", b"1")]
            await respond_problem(send, 503, error.code, "The event could not be recorded, so it was not taken.", headers=again)
        except StateError as error:
            self._observer.refused(error.code, 503)
            log.error("an event could not be judged: %s", error)
            await respond_problem(send, 503, error.code, STATE_FAILED)
        except Exception:
            log.exception("an event failed in a way that nobody foresaw")
            self._observer.refused("internal", 500)
            await respond_problem(send, 500, "internal", "The event failed inside Lockgate; the log has the details.")

    async def _handle(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["path"] in ("/healthz", "/readyz"):
            ready = self.ready or scope["path"] == "/healthz"
            await respond(send, 200 if ready else 503, b"ok\n" if ready else b"not ready\n", [(b"content-type", b"text/plain")])
            return
        with self._runtime() as runtime:
            head = read_head(scope, runtime.options.trusted, sample=False)
            if self.addresses is not None:
                self.addresses.check(head.client)
            plan = self._plan(head)  # 1
            if await self._full():
                raise RefusedError("Too many deliveries wait already.", "events_pending", 503, 5)
            speaking = await self._caller(runtime, head) if plan.credential else None  # 2
            sender = caller_key("client" if speaking is None else "subject", speaking or ANONYMOUS, head.client)
            async with self._arriving.body(sender, receive, self.body) as arriving:
                body = await self._read(runtime, head, arriving)  # 3
                told = await self._verified(plan, head, body)  # 4
            if told is None:
                await respond(send, 200, b"", [])
                return
            body, headers = told
            if plan.answers_challenges and (challenge := _challenge(body)) is not None:
                await respond(send, 200, challenge, [(b"content-type", b"text/plain")])
                return
            async with self._place(plan):  # 5
                events = read_posted(headers, body, plan.names, plan.path)  # 6
                taken = await self._all(events, plan, speaking, head.client)  # 7
        for each in taken:
            self._counting.event(plan.name, "duplicate" if each.again else each.answer.outcome)
        await _answered(send, taken, batch=_is_batch(head))  # 8

    def _plan(self, head: Head) -> SourcePlan:
        plan = self.plans.get(head.path.removeprefix(PREFIX)) if head.path.startswith(PREFIX) else None
        if plan is None:
            raise RefusedError("There is no such source of events.", "not_found", 404)
        if head.method != "POST":
            raise RefusedError("Events are posted.", "method_not_allowed", 405, fields=(("allow", "POST"),))
        return plan

    def _place(self, plan: SourcePlan) -> asyncio.Semaphore:
        """A source's own share: one that sends much keeps no other from being heard."""
        share = plan.name, plan.settings.concurrency
        places = self._places.get(share)
        if places is None:
            places = self._places[share] = asyncio.Semaphore(plan.settings.concurrency)
        if places.locked():
            raise RefusedError("Too many events of this source are under way.", "overloaded", 503, 1)
        return places

    async def _read(self, runtime: Runtime, head: Head, receive: Receive) -> bytes:
        limits = replace(runtime.options.limits, body=self.body, view=self.body)
        reader = BodyReader(receive, limits, head.content_length, empty=not head.has_body)
        await reader.read_view()
        return reader.data

    async def _caller(self, runtime: Runtime, head: Head) -> Subject:
        subject = await runtime.authenticator.identify(head.headers, self._clock.now_ns(), head.certificate)
        wait = await runtime.limiter.admit(subject, head.client)
        if wait is not None:
            raise RefusedError("Too many requests.", "rate_limited", 429, math.ceil(wait))
        return subject

    async def _verified(self, plan: SourcePlan, head: Head, body: bytes) -> tuple[bytes, Headers] | None:
        """Content and fields of what its source sent; None for what is no event and was seen to."""
        now_s = self._clock.now_ns() * NANO
        if plan.notices is not None:
            told = await plan.notices.read(body, now_s)
            return None if told is None else (told[0], [(name.encode(), value.encode()) for name, value in told[1].items()])
        if plan.verifier is not None:
            plan.verifier.check(by_name(head.headers), body, now_s)
        return body, head.headers

    async def _all(self, events: list[Event], plan: SourcePlan, speaking: Subject | None, client: str) -> list[Taken]:
        """A batch is acknowledged when all of it is on record. What of it was recorded before a failure is known when it comes again."""
        for event in events:
            plan.check(event)
        subjects = [plan.speaker(event) or speaking for event in events]
        places = asyncio.Semaphore(MOST_AT_ONCE)

        async def take(event: Event, subject: Subject | None) -> Taken:
            if subject is None:
                raise RefusedError("The source does not say for whom its events speak.", "event_invalid", 422)
            async with places:
                return await self._taking.take(event, plan, subject, client=client)

        if len(events) == 1:
            return [await take(events[0], subjects[0])]
        taken = await asyncio.gather(*(take(*each) for each in zip(events, subjects, strict=True)), return_exceptions=True)
        found = list[Taken]()
        for each in taken:
            if isinstance(each, BaseException):
                raise each
            found.append(each)
        return found


async def _answered(send: Send, taken: list[Taken], *, batch: bool) -> None:
    status = max(each.answer.status for each in taken)
    told = [{**orjson.loads(each.answer.to_bytes()), **({"duplicate": True} if each.again else {})} for each in taken]
    headers: Headers = [JSON]
    if not batch:
        headers.append((b"x-lockgate-decision-id", taken[0].answer.decision_id.encode()))
    await respond(send, status, orjson.dumps(told if batch else told[0]), headers)


def _is_batch(head: Head) -> bool:
    return (head.text(b"content-type") or "").lower().startswith("application/cloudevents-batch")


def _challenge(body: bytes) -> bytes | None:
    """Slack asks, signed, whether somebody is there who can read."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    found = value.get("challenge") if isinstance(value, dict) and value.get("type") == "url_verification" else None
    return found.encode() if isinstance(found, str) and len(found) <= 1024 and found.isprintable() else None
