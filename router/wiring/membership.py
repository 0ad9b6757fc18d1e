"""This node among the others: it says every few seconds that it is there and what it runs, and tells who differs from whom, since when."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Protocol

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from router.audit.records.canonical import timestamp
from router.bundle.content import Bundle
from router.bundle.standing import Accepted, check_newer
from router.config.evidence import PostgresStoreSettings
from router.errors import AuditError
from router.telemetry.names import METRICS
from router.wiring.nodes import Member, Members, SharedPlace
from router.workspace import Workspace

log = logging.getLogger("lockgate.nodes")
BEAT_S = 2.0
LOST_S = 60.0
"""Nothing was heard of a node for so long: that is on record then, for one whose name never comes again can say nothing itself."""
REMEMBERED_S = 86_400.0
SECOND_NS = 1_000_000_000
LOST, BACK = "node_lost", "node_back"
NAME = "LOCKGATE_NODE"
COMPARED = ("version", "config_digest", "catalog_digest", "policy_digest", "model", "bundle_revision", "bundle_sequence", "override")
"""What nodes can differ in. What they all decide by is each decision's own record's business; this is to see it before."""
Json = Mapping[str, Any]
Facts = Mapping[str, str | int | None]


class Recording(Protocol):
    async def system(self, event: str, details: Json) -> None:
        """Raises AuditError where it is not on record, or may not be."""


def facts(workspace: Workspace, model: str | None) -> Facts:
    """What a node runs. `model` is the directory of the model that serves, whose name is the model's digest."""
    digests, bundle, override = workspace.digests, workspace.bundle, workspace.override
    return {
        "version": version("lockgate"),
        "config_digest": digests.config,
        "catalog_digest": digests.catalog,
        "policy_digest": digests.policy,
        "model": None if model is None else os.path.basename(model),
        "bundle_revision": None if bundle is None else bundle.revision,
        "bundle_sequence": None if bundle is None else bundle.sequence,
        "override": None if override is None else override.archive,
    }


def node_name() -> str:
    return (os.environ.get(NAME) or socket.gethostname())[:200]


def said_of_node(workspace: Workspace) -> dict[str, str]:
    """What the records of a start and of an end say of which node it was: nothing where no other can write to its ledger."""
    shares = workspace.config.nodes is not None or isinstance(workspace.ledger_store, PostgresStoreSettings)
    return {"name": node_name()} if shares else {}


class Membership:
    """`known` is what this node knew of all at its last beat. `evidence` has what happens to them on record."""

    def __init__(self, place: SharedPlace, evidence: Recording) -> None:
        self._name = node_name()
        self.members: Members = place.members(secrets.token_hex(8), self._name)
        self._evidence = evidence
        self.known: Sequence[Member] = ()
        self._facts: Callable[[], Facts] = dict
        self._since: dict[str, tuple[Any, float]] = {}
        self._beating: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._problem: str | None = None
        self._untold: str | None = None
        self._unmarked: list[str] = []  # ids of nodes that are on record as lost, and do not know it yet

    async def open(self, running: Callable[[], Facts]) -> None:
        """Raises AuditError."""
        self._facts = running
        await asyncio.to_thread(self.members.open, self._told())
        self._beating = asyncio.create_task(self._keep_beating())

    async def refuse_older(self, bundle: Bundle | None) -> None:
        """What a server has just given to a node that remembers nothing: others know what was in force, those that were lost in the last
        day among them. Not those that decide by what was put over their source's. Raises BundleError `bundle_rolled_back`, AuditError."""
        if bundle is None:
            return
        self.known = await asyncio.to_thread(self.members.all)
        since = max((each.seen for each in self.known), default=0.0) - REMEMBERED_S
        newest = max((number for each in self.known if each.seen >= since and (number := _sequence(each)) is not None), default=None)
        if newest is not None:
            check_newer(bundle, Accepted(newest, bundle.digest))

    def follow(self, running: Callable[[], Facts]) -> None:
        self._facts = running

    async def close(self) -> None:
        for task in (self._beating, self._telling):  # in this order: a beat may begin to tell
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(self.members.close)

    async def list(self) -> Json:
        """All nodes as they are now. Raises AuditError."""
        self.known = await asyncio.to_thread(self.members.all)
        return {"nodes": [_shown(each, own=each.node == self.members.node) for each in self.known], "skew": skew(self.known)}

    def figures(self) -> Iterator[Metric]:
        yield _gauge("lockgate.nodes", sum(each.alive for each in self.known))
        name = "lockgate.nodes.skew"
        family = GaugeMetricFamily(name.replace(".", "_"), METRICS[name], labels=["property"])
        differing = {each["property"]: len(each["values"]) for each in skew(self.known)}
        for each in COMPARED:
            family.add_metric([each], differing.get(each, 1) - 1)
        yield family

    async def _keep_beating(self) -> None:
        while True:
            try:
                await self._beat()
                self._problem = None
            except AuditError as error:
                if self._problem is None:
                    log.error("this node cannot say that it is there: %s", error)
                self._problem = str(error)
            except Exception:  # the beats must go on
                log.exception("saying that this node is there failed in a way that nobody foresaw")
            await asyncio.sleep(BEAT_S)

    async def _beat(self) -> None:
        """Beats wait for no ledger: one that takes its time would make a node look lost that lives, and others take its work over."""
        idle = self._telling is None or self._telling.done()  # before: what the beat comes to may be told of meanwhile
        said_to_be_lost = await asyncio.to_thread(self.members.beat, self._told())
        self.known = await asyncio.to_thread(self.members.all)
        if idle and (said_to_be_lost or self._unmarked or not all(each.alive for each in self.known)):
            self._telling = asyncio.create_task(self._tell(back=said_to_be_lost))

    async def _tell(self, *, back: bool) -> None:
        """What could not be told is told after the next beat."""
        try:
            if back:
                await self._tell_back()
            await self._tell_lost()
            self._untold = None
        except AuditError as error:
            if self._untold is None:
                log.error("that a node is lost, or is back, is not on record yet: %s", error)
            self._untold = str(error)
        except Exception:
            log.exception("telling of nodes failed in a way that nobody foresaw")

    async def _tell_back(self) -> None:
        """Until it is on record it is told again, also by a node whose ledger is away."""
        await self._evidence.system(BACK, {"node": self.members.node, "name": self._name})
        await asyncio.to_thread(self.members.told_back)

    async def _tell_lost(self) -> None:
        """On record before it is marked as such: a crash in between tells of it twice, or leaves one that went on meanwhile without knowing
        what is said of it."""
        await self._mark()
        for each in await asyncio.to_thread(self.members.lost, LOST_S):
            log.error("nothing was heard of the node %s (%s) since %s", each.name, each.node, _time(each.seen))
            times = {"started": each.started, "seen": each.seen}
            exactly = {name: timestamp(round(at * SECOND_NS)) for name, at in times.items()}
            await self._evidence.system(LOST, {"node": each.node, "name": each.name, **exactly})
            self._unmarked.append(each.node)
            await self._mark()

    async def _mark(self) -> None:
        """Also of one that went on since: it says then that it is back."""
        while self._unmarked:
            await asyncio.to_thread(self.members.told_lost, self._unmarked[0])
            self._unmarked.pop(0)

    def _told(self) -> dict[str, Any]:
        """With since when each is so, by this node's clock."""
        now = time.time()
        for name, value in self._facts().items():
            if name not in self._since or self._since[name][0] != value:
                self._since[name] = (value, now)
        return {name: {"is": value, "since": since} for name, (value, since) in self._since.items()} | {"clock": now}


def skew(members: Sequence[Member]) -> list[dict[str, Any]]:
    """What living nodes differ in: each value with its nodes, the newest value last, and since when they differ."""
    found = []
    for name in COMPARED:
        values: dict[Any, list[tuple[float, Member]]] = defaultdict(list)
        for each in members:
            if each.alive and name in each.told:
                values[each.told[name]["is"]].append((each.told[name]["since"], each))
        if len(values) > 1:
            by_age = sorted(values.items(), key=lambda item: min(since for since, _ in item[1]))
            since = min(since for since, _ in by_age[1][1])
            told = [
                {"value": value, "nodes": [each.name for _, each in nodes], "ids": [each.node for _, each in nodes]}
                for value, nodes in by_age
            ]
            found.append({"property": name, "since": _time(since), "values": told})
    return found


def _shown(each: Member, *, own: bool) -> dict[str, Any]:
    """`state`: serving, draining or drained, None where it has not said so. `clock_ahead`: seconds by which the node's clock was ahead of
    the database's, the way there included."""
    running = {name: each.told.get(name, {}).get("is") for name in COMPARED}
    ahead = round(each.told.get("clock", each.seen) - each.seen, 3)
    times = {"started": _time(each.started), "seen": _time(each.seen)}
    state = each.told.get("state", {}).get("is")
    return {"node": each.node, "name": each.name, "alive": each.alive, "state": state, "own": own, **times, "clock_ahead": ahead, **running}


def _sequence(member: Member) -> int | None:
    """Of the newest bundle that the node took from its source, where it says so."""
    number, override = (member.told.get(name, {}).get("is") for name in ("bundle_sequence", "override"))
    return number if type(number) is int and override is None else None


def _time(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).isoformat().replace("+00:00", "Z")


def _gauge(name: str, value: float) -> Metric:
    return GaugeMetricFamily(name.replace(".", "_"), METRICS[name], value)
