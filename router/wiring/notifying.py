"""The channels by which people hear of held requests, as the configuration has them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from pydantic import BaseModel

from adapters.kept_notices import KeptNotices
from adapters.kept_reviews import KeptReviews
from router.config.notify import Notify
from router.errors import ConfigError, ReviewError
from router.ports import Clock, Notice, Notifier
from router.registry import ADAPTERS
from router.review.notices import Filter, Wanted
from router.review.notifying import NS, Budget, Channels, Notifying, Untold
from router.review.resuming import Resumer
from router.system import SystemRandom, UuidV7
from router.telemetry.names import METRICS
from router.wiring.nodes import Members, notices_of
from router.workspace import Workspace


@dataclass(frozen=True, slots=True)
class _Running:
    settings: BaseModel
    notifier: Notifier


class Telling:
    """Nothing of it is there, no file and no task, before a configuration asks for it."""

    def __init__(self, reviews: KeptReviews, clock: Clock, members: Members | None, resumer: Resumer, untold: Untold) -> None:
        self._untold = untold
        self._resumer = resumer
        self._reviews, self._clock, self._members = reviews, clock, members
        self._store: KeptNotices | None = None
        self._notifying: Notifying | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._running: dict[str, _Running] = {}

    async def follow(self, workspace: Workspace) -> None:
        """Takes up a configuration. Raises ConfigError, ReviewError; what was taken up before goes on then."""
        if not (workspace.config.review.notify or resuming(workspace)) and self._notifying is None:
            return
        running = await self._opened(workspace)
        try:
            notifying = self._notifying or await self._begin(workspace)
        except BaseException:
            await self._let_go(running, keeping=self._running)
            raise
        former, self._running = self._running, running
        notifying.take_up(_channels(workspace, running))
        await self._let_go(former, keeping=running)

    async def rest(self, payload: Any) -> None:
        """A worker's call: by what an engine is resumed. Durable when it answers. Raises ReviewError."""
        if self._store is None:
            raise ReviewError("Nobody can be resumed here.", "resume_unavailable")
        await self._store.add([Notice(*payload)])

    async def alarm(self, mark: str, case: str, until_ns: int) -> list[str]:
        """As `Notifying.alarm`; nobody where nobody is told of anything."""
        return await self._notifying.alarm(mark, case, until_ns) if self._notifying is not None else []

    def changed(self, review_id: str) -> None:
        if self._notifying is not None:
            self._notifying.changed(review_id)

    def start(self) -> None:
        """From here on notices are told."""
        if self._notifying is not None and self._keeping is None:
            self._keeping = asyncio.create_task(self._notifying.keep())

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._notifying is not None:
            await self._notifying.close()
        await self._let_go(self._running, keeping={})
        if self._store is not None:
            await self._store.close()

    def figures(self) -> Iterator[Metric]:
        notifying = self._notifying
        standing = notifying.standing if notifying is not None else None
        name = "lockgate.notices"
        told = CounterMetricFamily(name.replace(".", "_"), METRICS[name], labels=["notifier", "result"])
        for notifier, result, count in notifying.figures() if notifying is not None else ():
            told.add_metric([notifier, result], count)
        yield told
        oldest_ns = standing.oldest_ns if standing is not None else 0
        age = max(0.0, (self._clock.now_ns() - oldest_ns) / NS) if oldest_ns else 0.0
        for name, value, unit in (
            ("lockgate.notices.pending", float(standing.waiting if standing is not None else 0), ""),
            ("lockgate.notices.age", age, "seconds"),
        ):
            yield GaugeMetricFamily(name.replace(".", "_"), METRICS[name], value, unit=unit)

    async def _begin(self, workspace: Workspace) -> Notifying:
        store = notices_of(workspace, self._members)
        await store.open()
        self._store = store
        shared = self._members is not None
        self._notifying = Notifying(store, self._reviews, self._clock, SystemRandom(), UuidV7().new(), shared=shared)
        self._notifying.resumer = self._resumer
        self._notifying.untold = self._untold
        return self._notifying

    async def _opened(self, workspace: Workspace) -> dict[str, _Running]:
        running: dict[str, _Running] = {}
        try:
            for name, settings in workspace.notifiers.items():
                former = self._running.get(name)
                running[name] = (
                    former if former is not None and former.settings == settings else await self._open(workspace, name, settings)
                )
        except BaseException:
            await self._let_go(running, keeping=self._running)
            raise
        return running

    async def _open(self, workspace: Workspace, name: str, settings: BaseModel) -> _Running:
        module = ADAPTERS.load("notifier", workspace.config.review.notify[name].through.adapter)
        notifier: Notifier = module.build(settings, clock=self._clock, root=workspace.root)
        try:
            await notifier.open()
        except ConfigError as error:
            await notifier.close()
            raise ConfigError(f"review.notify.{name}: {error}") from error
        return _Running(settings, notifier)

    async def _let_go(self, running: dict[str, _Running], keeping: dict[str, _Running]) -> None:
        kept = {id(each.notifier) for each in keeping.values()}
        for each in running.values():
            if id(each.notifier) not in kept:
                await each.notifier.close()


def resuming(workspace: Workspace) -> bool:
    return any(route.resume is not None for route in workspace.catalog.routes.values())


def _channels(workspace: Workspace, running: dict[str, _Running]) -> Channels:
    review = workspace.config.review
    return Channels(
        review.link or "",
        tuple(_wanted(name, notify) for name, notify in review.notify.items()),
        {name: each.notifier for name, each in running.items()},
        {name: Budget(notify.per_minute) for name, notify in review.notify.items()},
    )


def _wanted(name: str, notify: Notify) -> Wanted:
    passing = Filter(frozenset(notify.events), frozenset(notify.risks), notify.routes, frozenset(notify.roles))
    return Wanted(name, passing, notify.before, notify.patience)
