"""Held requests in the control process, with destinations of their own to send them to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from adapters.kept_reviews import KeptReviews
from router.audit.records.record import system_entry
from router.control.services import Json, Page
from router.decision import Subject
from router.errors import LockgateError
from router.ports import Clock, Destination, Ledger, Notice
from router.review.attempting import Asked
from router.review.attempts import Kind
from router.review.changes import Changes
from router.review.dispatching import Dispatching, Way
from router.review.forgetting import forget_subject
from router.review.given import Given
from router.review.opinions import Opinions
from router.review.packing import unpack_held
from router.review.people import KeysById, People
from router.review.recording import Recording
from router.review.resuming import Resumer
from router.review.service import ReviewService
from router.review.standing import Standings
from router.review.state import Event
from router.stages.routing import RoutingTable
from router.system import SystemRandom
from router.wiring.destinations import Destinations, make_destinations
from router.wiring.nodes import Members, reviews_of
from router.wiring.notifying import Telling
from router.wiring.review_judge import Judges
from router.wiring.stages import routing_table
from router.workspace import Workspace

GRACE_S = 10.0
FORGET_EVERY_S = 600.0
NS = 1_000_000_000
log = logging.getLogger("lockgate.reviews")


class Evidence(Protocol):
    @property
    def ledger(self) -> Ledger: ...

    @property
    def keys(self) -> KeysById: ...


class Desk:
    """Implements the control API's port."""

    def __init__(self, service: ReviewService) -> None:
        self._service = service

    async def list(self, state: str | None, cursor: str | None, limit: int, tenant: str | None = None) -> Page:
        return Page(*await self._service.list(state, cursor, limit, tenant))

    async def get(self, review_id: str) -> Json | None:
        return await self._service.get(review_id)

    async def approve(self, review_id: str, reviewer: Subject, comment: str, content_digest: str, version: int | None = None) -> Json:
        return await self._service.approve(review_id, reviewer, comment, content_digest, version)

    async def reject(self, review_id: str, reviewer: Subject, comment: str, version: int | None = None) -> Json:
        return await self._service.reject(review_id, reviewer, comment, version)

    async def question(self, review_id: str, asker: Subject) -> Json:
        return await self._service.question(review_id, asker)

    async def values(self, review_id: str, reviewer: Subject) -> Json:
        return await self._service.values(review_id, reviewer)

    async def modified(self, review_id: str, reviewer: Subject, asked: Asked) -> Json:
        return await self._service.modified(review_id, reviewer, asked)

    async def attempt(self, review_id: str, reviewer: Subject, asked: Asked) -> Json:
        return await self._service.attempt(review_id, reviewer, asked)


class Ways:
    """Where the routes of the current configuration lead."""

    def __init__(self, workspace: Workspace, destinations: Destinations) -> None:
        self.workspace = workspace
        self.destinations = destinations

    def __call__(self, route: str, name: str) -> Way | None:
        """The one to the destination of that name where the route leads there, else to where it does."""
        settings = self.workspace.catalog.routes.get(route)
        destination = self.destinations.at(route, name)
        if settings is None or destination is None:
            return None
        leads = name if (route, name) in self.destinations.others else settings.destination
        return Way(leads, destination, settings.deduplicates, self.workspace.config.review.answer)

    def leads(self, route: str, name: str) -> bool:
        """Whether the route leads to the destination of that name."""
        way = self(route, name)
        return way is not None and way.name == name

    def intents(self) -> RoutingTable | None:
        """By which a reviewer's decision says something of the intent; None where nothing is learnt from reviews."""
        learning = self.workspace.config.learning
        wanted = learning is not None and learning.from_reviews
        return routing_table(self.workspace.catalog, self.workspace.config) if wanted else None

    def resuming(self, route: str, ahead: bool) -> Destination | None:
        """Where who waits for the end of a held request is told of it."""
        settings = self.workspace.catalog.routes.get(route)
        resume = settings.resume if settings is not None else None
        if resume is None:
            return None
        return self.destinations.alone.get(resume.destination if ahead or resume.refused is None else resume.refused)


class Reviews:
    """`store` is open."""

    def __init__(
        self,
        store: KeptReviews,
        service: ReviewService,
        dispatching: Dispatching,
        ways: Ways,
        clock: Clock,
        recording: Recording,
        judges: Judges,
        telling: Telling,
        standings: Standings,
    ) -> None:
        self.telling, self.standings, self.changes = telling, standings, Changes()
        store.changed = self._changed
        self._forgetting: asyncio.Task[None] | None = None
        self._store = self.store = store
        self._recording = recording
        self._service = service
        self._dispatching = dispatching
        self._ways = ways
        self._clock = clock
        self._judges = judges
        self._leaving: set[asyncio.Task[None]] = set()
        self.api = Desk(service)

    @property
    def pending(self) -> int:
        return self._service.pending

    @property
    def sending(self) -> int:
        """Released requests that are under way."""
        return len(self._dispatching.under_way)

    async def hold(self, payload: Any) -> None:
        """A worker's call. Durable when it answers. Raises ReviewError, AuditError."""
        await self._service.hold(unpack_held(payload))

    async def follow(self, workspace: Workspace) -> None:
        """Takes up a configuration; what is being sent goes on over the destination that it began with."""
        former = self._ways.destinations
        made = await make_destinations(workspace, self._clock, SystemRandom(), former)
        self._ways.workspace, self._ways.destinations = workspace, made
        await self._judges.follow(workspace)
        await self.telling.follow(workspace)
        self.telling.start()
        leaving = asyncio.create_task(_let_go(former, made, self._dispatching.under_way))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def drop_held(self, key_id: str) -> None:
        """Ends what was held for somebody whose key was destroyed. Raises ReviewError, AuditError."""
        await forget_subject(self._store, self._recording, self._clock, key_id)

    async def resume(self) -> None:
        await self._service.resume()
        self.telling.start()
        if self._forgetting is None:
            self._forgetting = asyncio.create_task(self._keep_forgetting())

    async def answer(self, given: Given) -> bool:
        """Raises ReviewError, AuditError."""
        asked = Asked(Kind.ANSWER, given.text, version=given.version, key=given.key)
        return await self._service.taken(given.review_id, given.subject, asked)

    async def versions(self, review_ids: Sequence[str]) -> Mapping[str, int]:
        """Raises ReviewError."""
        return await self._store.versions(review_ids)

    def _changed(self, review_id: str) -> None:
        self.telling.changed(review_id)
        self.changes.changed(review_id)

    async def _keep_forgetting(self) -> None:
        """Answers that were kept for long enough."""
        while True:
            try:
                keep_ns = int(self._ways.workspace.config.review.keep * NS)
                await self._store.forget_replies(Event.DONE, self._clock.now_ns() - keep_ns)
            except LockgateError as error:
                log.error("answers that need not be kept any more are still kept: %s", error)
            await asyncio.sleep(FORGET_EVERY_S)

    async def close(self) -> None:
        if self._forgetting is not None:
            self._forgetting.cancel()
            await asyncio.gather(self._forgetting, return_exceptions=True)
        await self._service.close(GRACE_S)
        await asyncio.gather(*self._leaving)
        await self._judges.close()
        await self._ways.destinations.close()
        await self.telling.close()
        await self._store.close()


async def open_reviews(workspace: Workspace, evidence: Evidence, clock: Clock, members: Members | None = None) -> Reviews:
    """`members`: this node among others. Raises ReviewError, and what opening a destination raises."""
    store = reviews_of(workspace, members)
    await store.open()
    try:
        destinations = await make_destinations(workspace, clock, SystemRandom())
    except BaseException:
        await store.close()
        raise
    people, recording, ways = People(evidence.keys), Recording(store, evidence.ledger), Ways(workspace, destinations)
    judges = Judges(workspace, clock, ways.leads)
    dispatching = Dispatching(store, recording, people, clock, ways, judges, lambda: ways.workspace.config.review.send)
    service = ReviewService(store, evidence.ledger, people, clock, recording, dispatching, judges, Opinions(ways.intents))
    standings = Standings(store, people)

    async def untold(notice: Notice, reason: str) -> None:
        told = {"case": notice.review, "notifier": notice.notifier, "reason": reason}
        await evidence.ledger.append(system_entry("break_glass_untold", clock.now_ns(), told))

    telling = Telling(store, clock, members, Resumer(standings, people, ways.resuming), untold)
    made = Reviews(store, service, dispatching, ways, clock, recording, judges, telling, standings)
    try:
        await telling.follow(workspace)
    except BaseException:
        await made.close()
        raise
    return made


async def _let_go(former: Destinations, following: Destinations, under_way: frozenset[asyncio.Task[None]]) -> None:
    if under_way:
        await asyncio.wait(under_way)
    await former.close(following)
