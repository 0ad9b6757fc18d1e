"""`lockgate serve` that dies with `kill -9`, workers and all, at one durable step of a held request or of a notice about it.

Run as `python -m tests.faults.mortal_serve FILE OTHERS serve --config …`. As long as FILE is not there it is the product. Once a moment is
written there, it dies the first time that it comes by; whoever starts it again removes FILE. As long as OTHERS, another node's FILE, is
there, its rounds learn nothing: what was said is that node's to take, until it died of it.

Moments are `before …` or `after …` one of `step EVENT` (durable in the store), `record EVENT` (durable in the ledger), `mark EVENT` (the
store knows that it is recorded), `send` (to the upstream), `notice add|lease|hasten|end`, and of what is learnt `lesson KIND` (kept),
`lessons appended` (in the ledger), `lessons recorded` (the store knows it). Only the control process is changed so:
it alone takes these steps.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import router.adaptation.keeping
import router.review.notifying
import router.review.service
import router.wiring.learning
from adapters.kept_lessons import KeptLessons
from adapters.kept_notices import KeptNotices
from adapters.kept_reviews import KeptReviews
from router.adaptation.keeping import Keeping
from router.adaptation.overrides import Overrides
from router.audit.ledger import AuditLedger
from router.cli.main import main
from router.ports import Outbound, Reply
from router.wiring.reviews import Ways
from tests.unit.review.parts import told

LEASE_S, ROUND_S = 4.0, 0.5
Method = Callable[..., Awaitable[Any]]
Called = Callable[..., str]


class Moments:
    def __init__(self, file: Path) -> None:
        self._file = file

    def here(self, moment: str) -> None:
        try:
            wanted = self._file.read_text()
        except FileNotFoundError:
            return
        if moment == wanted:
            os.killpg(0, signal.SIGKILL)

    @property
    def awaited(self) -> bool:
        return self._file.exists()

    def around(self, kind: type[Any], name: str, called: Called) -> None:
        """`called` makes the moment's name of the method's arguments."""
        method: Method = getattr(kind, name)

        async def mortal(own: Any, *args: Any, **named: Any) -> Any:
            moment = called(*args, **named)
            self.here(f"before {moment}")
            result = await method(own, *args, **named)
            self.here(f"after {moment}")
            return result

        setattr(kind, name, mortal)

    def around_marks(self) -> None:
        method = KeptReviews.recorded

        async def recorded(own: KeptReviews, decision_id: str, number: int) -> None:
            review = await own.get(decision_id)
            event = review.history[number].event if review is not None else ""
            await method(own, decision_id, number)
            self.here(f"after mark {event}")

        KeptReviews.recorded = recorded  # type: ignore[method-assign,assignment]

    def around_sending(self) -> None:
        leads = Ways.__call__

        def found(own: Ways, route: str, name: str) -> Any:
            way = leads(own, route, name)
            return None if way is None else replace(way, destination=MortalDestination(way.destination, self))  # type: ignore[arg-type]

        Ways.__call__ = found  # type: ignore[method-assign,assignment]


class MortalDestination:
    def __init__(self, destination: Any, moments: Moments) -> None:
        self._destination, self._moments = destination, moments

    async def send(self, outbound: Outbound) -> Reply:
        self._moments.here("before send")
        reply: Reply = await self._destination.send(outbound)
        self._moments.here("after send")
        return reply


def behind(others: Moments, kind: type[Any], name: str) -> None:
    method: Method = getattr(kind, name)

    async def after_the_other(own: Any) -> None:
        if not others.awaited:
            await method(own)

    setattr(kind, name, after_the_other)


def mortal(moments: Moments) -> None:
    moments.around(KeptReviews, "add", lambda held, change, **_: f"step {change.event}")
    moments.around(KeptReviews, "change", lambda review, version, change, **_: f"step {change.event}")
    moments.around(AuditLedger, "append", lambda entry: f"record {_told(entry)}")
    moments.around(KeptLessons, "put", lambda lesson, *_: f"lesson {lesson.kind}")
    moments.around(KeptLessons, "recorded", lambda *_: "lessons recorded")
    moments.around(AuditLedger, "append_many", lambda entries: "lessons appended" if any(map(_learnt, entries)) else "others")
    for name in ("add", "hasten", "end"):
        moments.around(KeptNotices, name, lambda *_, name=name: f"notice {name}")
    lease: Method = KeptNotices.lease

    async def leased(own: KeptNotices, *args: Any) -> Any:
        found = await lease(own, *args)
        if found:
            moments.here("after notice lease")
        return found

    KeptNotices.lease = leased  # type: ignore[method-assign,assignment]
    moments.around_marks()
    moments.around_sending()
    router.review.notifying.LEASE_S = LEASE_S  # what another start leased is waited for, and a minute is long for a test
    router.adaptation.keeping.LEASE_NS = int(LEASE_S * 1_000_000_000)
    router.wiring.learning.ROUND_S = ROUND_S  # type: ignore[attr-defined]
    router.review.service.ROUND_S = ROUND_S  # so that each deadline is found by itself, and not the gravest of several


def _told(entry: Any) -> str:
    try:
        return told([entry])[0]
    except (KeyError, TypeError):  # neither of a review nor an outcome
        return "other"


def _learnt(entry: Any) -> bool:
    return b'"event":"feedback"' in entry.leaf


if __name__ == "__main__":
    own, others = Moments(Path(sys.argv.pop(1))), Moments(Path(sys.argv.pop(1)))
    mortal(own)
    behind(others, Overrides, "round")
    behind(others, Keeping, "record")
    main()
