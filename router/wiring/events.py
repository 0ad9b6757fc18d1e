"""The event door of a worker: what its sources are, who consumes them, and what takes their events."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Protocol

from pydantic import BaseModel

from router.audit.beside import Pending
from router.audit.records.record import system_entry
from router.config.events import EventSource, Signature
from router.doors.addresses import address_list
from router.doors.events.consuming import Consuming
from router.doors.events.http import EventDoor, EventObserver
from router.doors.events.plan import Notices, SourcePlan, constant
from router.doors.events.signatures import GITHUB, PlainScheme, Verifier, slack, standard_webhooks, stripe
from router.doors.events.taking import Taking
from router.doors.onward import Onward
from router.doors.runtime import Observer, Runtime
from router.errors import ConfigError
from router.ports import Arrivals, Consumer, Incoming
from router.registry import ADAPTERS
from router.wiring.runtime import Services
from router.workspace import Workspace

log = logging.getLogger("lockgate.events")
FULL_S = 1.0
GRACE_S = 5.0


class Waiting(Arrivals, Protocol):
    async def pending(self) -> Pending:
        """Raises AuditError."""


@dataclass(frozen=True, slots=True)
class _Running:
    settings: tuple[EventSource, BaseModel, frozenset[str]]
    consuming: Consuming
    task: asyncio.Task[None]


class Events:
    """Outlives configurations: `serve` takes up the one that serves from now on. A consumer whose settings stay the same goes on."""

    def __init__(
        self,
        runtime: Callable[[], AbstractContextManager[Runtime]],
        onward: Onward,
        outbox: Waiting,
        services: Services,
        observer: Observer,
        counting: EventObserver,
        body: int,
    ) -> None:
        self._services = services
        self._counting = counting
        self._full = _Full(outbox)
        self._taking = Taking(runtime, onward, outbox, services.clock, services.ids, services.random, observer)
        self._wanted: Callable[[], None] = lambda: None  # begins what is not running, as of the configuration that serves
        self._running: dict[str, _Running] = {}
        self._finishing: list[_Running] = []  # of a node that is drained
        self._out = False
        self._changing = asyncio.Lock()
        self.door = EventDoor(runtime, self._taking, self._full.now, services.clock, services.random, observer, counting, body)

    async def serve(self, workspace: Workspace) -> None:
        """Raises ConfigError."""
        async with self._changing:
            config = workspace.config.events
            plans = event_plans(workspace)
            self.door.addresses = address_list(config.allow, config.deny) if config is not None else None
            self.door.body = config.body if config is not None else 0
            self.door.plans = {name: plan for name, plan in plans.items() if plan.settings.consume is None}
            self._full.most = config.most_pending if config is not None else 0
            wanted = {name: plan for name, plan in plans.items() if plan.settings.consume is not None}
            for name in [name for name, each in self._running.items() if not _same(each, wanted.get(name), workspace)]:
                await _ended(self._running.pop(name))
            self._wanted = partial(self._begin, workspace, wanted)
            if not self._out:
                self._wanted()

    async def close(self, most_s: float = math.inf) -> None:
        """What was taken may end, for so long at the most; what does not is given back."""
        async with self._changing:
            self._out = True
            running, self._running = [*self._running.values(), *self._finishing], {}
            await asyncio.gather(*(_ended(each, most_s) for each in running))

    def drain(self, out: bool) -> None:
        """Whether nothing more is taken from brokers: what was taken is decided and acknowledged, the rest is left to others."""
        self._out, self.door.ready = out, not out
        if not out:
            self._wanted()
            return
        for each in self._running.values():
            each.task.cancel()
            self._finishing.append(replace(each, task=asyncio.create_task(each.consuming.finish(each.task))))
        self._running.clear()

    @property
    def under_way(self) -> int:
        return sum(each.consuming.under_way for each in (*self._running.values(), *self._finishing))

    @property
    def deciding(self) -> int:
        """How many of them count among the requests that are under way."""
        return sum(each.consuming.deciding for each in (*self._running.values(), *self._finishing))

    def _begin(self, workspace: Workspace, wanted: Mapping[str, SourcePlan]) -> None:
        self._finishing = [each for each in self._finishing if not each.task.done()]
        for name, plan in wanted.items():
            if name not in self._running:
                self._running[name] = self._begun(workspace, plan)

    def _begun(self, workspace: Workspace, plan: SourcePlan) -> _Running:
        settings = workspace.consumers[plan.name]
        consumer = make_consumer(workspace, plan.name, self._services)
        count = partial(self._counting.event, plan.name)
        consuming = Consuming(consumer, plan, self._taking, self._full.room, self._buried, count)
        before = [each.task for each in self._finishing if each.settings[0] == plan.settings]
        return _Running((plan.settings, settings, plan.taken), consuming, asyncio.create_task(_after(before, consuming)))

    async def _buried(self, plan: SourcePlan, message: Incoming, reason: str) -> None:
        """A message that nobody could read may hold anything: its digest is sealed under the key of whom the source speaks for."""
        owner = constant(plan.settings.speaks_for.subject) if plan.settings.speaks_for is not None else None
        key_id, key = await self._services.keys.key_for(owner or plan.path)
        details = {"source": plan.name, "reason": reason, "tries": message.tries, "bytes": len(message.content)}
        personal = {"content_digest": hashlib.sha256(message.content).hexdigest(), "place": message.place}
        now = self._services.clock.now_ns()
        await self._services.ledger.append(system_entry("event_buried", now, details, self._services.ids.new(), personal, key_id, key))


class _Full:
    """Asks how many deliveries wait at most every second; in between the last answer holds."""

    def __init__(self, outbox: Waiting) -> None:
        self.most = 0
        self._outbox = outbox
        self._answer = False
        self._until = 0.0

    async def now(self) -> bool:
        """Raises AuditError."""
        now = asyncio.get_running_loop().time()
        if now >= self._until:
            self._until = now + FULL_S
            self._answer = (await self._outbox.pending()).count >= self.most
        return self._answer

    async def room(self) -> None:
        while await self.now():  # noqa: ASYNC110  # nobody tells us: other processes deliver, too
            await asyncio.sleep(FULL_S)


def event_plans(workspace: Workspace) -> dict[str, SourcePlan]:
    """By name. Raises ConfigError where a secret cannot be read or used."""
    config = workspace.config.events
    sources = config.sources if config is not None else {}
    plans = {
        name: SourcePlan(name, source, _verifier(workspace, name, source.signature), _notices(workspace, source.signature))
        for name, source in sources.items()
    }
    return {name: replace(each, taken=_claimed(plans, each)) for name, each in plans.items()}


def _claimed(plans: Mapping[str, SourcePlan], of: SourcePlan) -> frozenset[str]:
    """By others than this one."""
    return frozenset().union(*(each.claims for each in plans.values() if each is not of)) - of.claims


def _notices(workspace: Workspace, settings: Signature | None) -> Notices | None:
    """Nothing older is taken than an event is known for: what is replayed is the same event, or too old."""
    if settings is None or settings.scheme != "sns" or workspace.config.events is None:
        return None
    from adapters.aws.notices import Notices as Verified  # only who takes them loads its client

    oldest_s = workspace.config.events.remember
    return Verified(settings.topics, oldest_s, workspace.root, settings.certificates, settings.ca)


def make_consumer(workspace: Workspace, name: str, services: Services) -> Consumer:
    """A kind that asks for it is told where the workspace lies (`root`, of its files). Raises ConfigError."""
    settings = workspace.consumers[name]
    block = workspace.config.events.sources[name].consume if workspace.config.events is not None else None
    if block is None:
        raise ConfigError(f"The source '{name}' consumes nothing.")
    module = ADAPTERS.load("event source", block.adapter)
    more = {"root": workspace.root} if "root" in signature(module.build).parameters else {}
    made: Consumer = module.build(settings, name=name, clock=services.clock, random=services.random, **more)
    return made


def _verifier(workspace: Workspace, name: str, settings: Signature | None) -> Verifier | None:
    if settings is None or settings.scheme == "sns":
        return None
    secrets = [each.reveal(workspace.root) for each in settings.secrets]
    try:
        return _scheme(settings, secrets)
    except ValueError as error:
        raise ConfigError(f"A secret of the events' source '{name}' {error}.") from None


def _scheme(settings: Signature, secrets: list[str]) -> Verifier:
    if settings.scheme == "standard-webhooks":
        return standard_webhooks(secrets, settings.tolerance)
    if settings.scheme == "stripe":
        return stripe(secrets, settings.tolerance)
    if settings.scheme == "slack":
        return slack(secrets, settings.tolerance)
    if settings.scheme == "github":
        return GITHUB.verifier(secrets)
    header = (settings.header or "").encode()
    return PlainScheme(header, settings.prefix.encode(), settings.encoding == "base64").verifier(secrets)


def _same(running: _Running, plan: SourcePlan | None, workspace: Workspace) -> bool:
    return plan is not None and running.settings == (plan.settings, workspace.consumers.get(plan.name), plan.taken)


async def _after(before: list[asyncio.Task[None]], consuming: Consuming) -> None:
    """Two of one source at once could overtake each other."""
    if before:
        await asyncio.wait(before)
    await consuming.run()


async def _ended(running: _Running, most_s: float = math.inf) -> None:
    running.task.cancel()
    await asyncio.gather(running.task, return_exceptions=True)
    await running.consuming.close(min(GRACE_S, most_s))


def make_events(
    workspace: Workspace,
    services: Services,
    observer: Observer,
    counting: EventObserver,
    runtime: Callable[[], AbstractContextManager[Runtime]],
    onward: Onward,
) -> Events:
    if services.outbox is None:
        raise ConfigError("There is nowhere to remember events.")
    body = workspace.config.events.body if workspace.config.events is not None else 0
    return Events(runtime, onward, services.outbox, services, observer, counting, body)
