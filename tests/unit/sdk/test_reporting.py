"""What became of requests is reported afterwards, in the background, and what cannot be is lost loudly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from lockgate.asgi import AS_SERVICE, DecisionMiddleware, Reporter, Rule
from lockgate.client import AsyncClient, Event, EvidenceRefused, EvidenceUnavailable, Receipt
from lockgate.testing import Lockgate
from tests.unit.sdk.apps import app, ask
from tests.unit.sdk.peer import nobody


class Book:
    """Takes evidence, or says what it was told to say."""

    def __init__(self, *troubles: Exception) -> None:
        self.events: list[Event] = []
        self.batches: list[int] = []
        self.troubles = list(troubles)
        self.refused: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, events: Sequence[Event]) -> tuple[Receipt, ...]:
        await self.gate.wait()
        self.batches.append(len(events))
        if self.troubles:
            raise self.troubles.pop(0)
        if self.refused & {event.id for event in events}:
            raise EvidenceRefused("Another event was sent.", "evidence_conflict")
        self.events += events
        return ()


def event(number: int) -> Event:
    return Event("till", str(number), "t", None)


async def test_every_request_is_reported_under_its_decision(lockgate: Lockgate) -> None:
    """With its status; one that broke as failed; one that was refused not at all, for nothing was done."""
    reporter = Reporter(lockgate.client, "till")
    made = app(lockgate.client, reporter=reporter)
    for path in ("/items/7", "/echo/broken", "/secret/x"):
        await ask(made, "GET", path)
    await reporter.close()
    looked, broke, _ = lockgate.decisions
    assert [(each["lockgatedecision"], each["lockgatephase"], each["data"]) for each in lockgate.evidence] == [
        (looked.id, "completed", {"method": "GET", "status": 200}),
        (broke.id, "failed", {"method": "GET", "status": 500}),
    ]
    assert (reporter.sent, reporter.lost) == (2, 0)


async def test_what_nobody_decided_about_is_reported_as_such() -> None:
    """It has no decision, which reconciliation finds."""
    book = Book()
    reporter = Reporter(book, "till")
    async with AsyncClient(nobody(), attempts=1) as client:
        await ask(app(client, reporter=reporter, rules=[Rule("/*", when_unavailable="let_pass_undecided")]), "GET", "/items/7")
    await reporter.close()
    assert [(each.decision, each.phase, each.type) for each in book.events] == [(None, "completed", "io.lockgate.request.undecided")]


async def test_what_waits_goes_together() -> None:
    """At most as many as one request may hold."""
    book = Book()
    reporter = Reporter(book, "till")
    for number in range(250):
        reporter.offer(event(number))
    await reporter.close()
    assert (book.batches, [each.id for each in book.events]) == ([100, 100, 50], [str(number) for number in range(250)])


async def test_a_ledger_that_is_away_is_asked_again() -> None:
    """Also after a failure that nobody foresaw. Nothing is lost and nothing twice."""
    book = Book(EvidenceUnavailable("away"), ZeroDivisionError())
    reporter = Reporter(book, "till", pause=0.001)
    reporter.offer(event(1))
    await reporter.close()
    assert ([each.id for each in book.events], reporter.sent, reporter.lost) == (["1"], 1, 0)


async def test_a_queue_that_is_full_loses_loudly(caplog: pytest.LogCaptureFixture) -> None:
    """The newest, which is logged by its name and given to whoever wants to keep it; the request was answered all the same."""
    lost: list[tuple[str, str]] = []
    book = Book()
    book.gate.clear()
    reporter = Reporter(book, "till", capacity=2, lost=lambda each, why: lost.append((each.id, why)))
    with caplog.at_level(logging.ERROR):
        for number in range(4):
            reporter.offer(event(number))
    assert (lost, reporter.lost) == ([("2", "queue_full"), ("3", "queue_full")], 2)
    assert "evidence 3 of decision None is lost: queue_full" in caplog.text
    book.gate.set()
    await reporter.close()
    assert [each.id for each in book.events] == ["0", "1"]


async def test_what_is_refused_takes_no_other_with_it() -> None:
    """The rest of its batch is recorded."""
    lost: list[tuple[str, str]] = []
    book = Book()
    book.refused = {"1"}
    reporter = Reporter(book, "till", lost=lambda each, why: lost.append((each.id, why)))
    for number in range(3):
        reporter.offer(event(number))
    await reporter.close()
    assert ([each.id for each in book.events], lost) == (["0", "2"], [("1", "evidence_conflict")])


async def test_closing_waits_and_then_tells_what_is_left() -> None:
    """What comes later is lost, too, and said."""
    lost: list[tuple[str, str]] = []
    book = Book()
    book.gate.clear()
    reporter = Reporter(book, "till", grace=0.02, lost=lambda each, why: lost.append((each.id, why)))
    reporter.offer(event(1))
    await reporter.close()
    reporter.offer(event(2))
    assert lost == [("1", "shutdown"), ("2", "queue_closed")]


async def test_the_application_ends_only_when_it_is_reported() -> None:
    """Before it hears that it ends, for it may close then what evidence is sent by."""
    book, heard = Book(), []
    reporter = Reporter(book, "till")
    reporter.offer(event(1))
    messages = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))

    async def receive() -> Any:
        return next(messages)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        heard.extend([((await receive())["type"], len(book.events)) for _ in range(2)])

    await DecisionMiddleware(application, book, subject=AS_SERVICE, reporter=reporter)({"type": "lifespan"}, receive, book)
    assert heard == [("lifespan.startup", 0), ("lifespan.shutdown", 1)]
