"""Asks engines how the work ended that requests set in motion, and records it as evidence under their decisions.

What is open follows from the ledger: outcomes that say where work is, without evidence of its end. So a restart loses nothing, and a crash
between asking and recording means that it is asked once more; the same evidence is recorded once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import orjson
from pydantic import BaseModel

from adapters.sqlite.following import OpenWork, SqliteFollowing
from adapters.sqlite.index import INDEX_FILE, SqliteIndex
from router.audit.copies.reconcile import ENDS
from router.audit.questions.columns import nanoseconds
from router.audit.questions.index import catch_up
from router.audit.questions.reader import LedgerReader, Stored
from router.audit.records.record import EVIDENCE, OUTCOME, open_personal
from router.audit.records.sealing import as_text
from router.control.cloud_events import CloudEvent
from router.control.services import Json
from router.errors import ConfigError, DestinationError, LockgateError, RefusedError
from router.ports import Clock, Ended, Entry, Follower, Random
from router.registry import ADAPTERS, Registry
from router.workspace import Workspace

log = logging.getLogger("lockgate.following")
T = TypeVar("T")
FOLLOWING_FILE = "following.sqlite"
SENDER = "lockgate.follower"
UNKNOWN = "unknown"  # a state: the engine has forgotten the work
BATCH = 5000
AT_ONCE = 8
EVERY_S = 1.0
SOON_S, LATE_S = 1.0, 60.0  # between two questions about the same work: a tenth of its age, within these
ASK_S = 15.0
_OUTCOME, _EVIDENCE = f'"schema":"{OUTCOME}"'.encode(), f'"schema":"{EVIDENCE}"'.encode()


class Keys(Protocol):
    async def key(self, key_id: str) -> bytes | None: ...


class Intake(Protocol):
    async def take(self, events: Sequence[CloudEvent], sender: str, key_id: str) -> Sequence[Json]: ...


@dataclass(slots=True)
class _Files:
    reader: LedgerReader
    index: SqliteIndex
    open: SqliteFollowing


@dataclass(slots=True)
class _Asking:
    settings: BaseModel
    follower: Follower
    problem: bool = False


class Following:
    def __init__(
        self,
        open_reader: Callable[[], LedgerReader],
        state: Path,
        keys: Keys,
        intake: Intake,
        workspace: Callable[[], Workspace],
        clock: Clock,
        random: Random,
        registry: Registry = ADAPTERS,
    ) -> None:
        self._open_reader = open_reader
        self._state = state
        self._keys = keys
        self._intake = intake
        self._workspace = workspace
        self._clock = clock
        self._random = random
        self._registry = registry
        self._thread = ThreadPoolExecutor(1, "following")
        self._files: _Files | None = None
        self._asking: dict[str, _Asking] = {}
        self._silent = set[str]()  # destinations that did not answer in this round: the others need not wait for them again and again
        self.count = 0

    async def keep(self) -> None:
        """For as long as it runs. What fails is tried again the next time."""
        while True:
            try:
                if self._files is not None or followed(self._workspace()):
                    await self.round()
            except LockgateError as error:
                log.error("work cannot be followed: %s", error)
            except Exception:  # the next round may get through
                log.exception("following work failed in a way that nobody foresaw")
            await asyncio.sleep(EVERY_S)

    async def round(self) -> None:
        """Takes up what the ledger has, and asks about what is due."""
        files = await self._run(self._opened)
        await self._run(lambda: self._catch_up(files))
        self._silent.clear()
        due = await self._run(lambda: files.open.due(self._clock.now_ns(), BATCH))
        for start in range(0, len(due), AT_ONCE):
            await asyncio.gather(*(self._ask(files, work) for work in due[start : start + AT_ONCE]))
        self.count = await self._run(files.open.count)

    async def close(self) -> None:
        for asking in self._asking.values():
            await asking.follower.close()
        await self._run(self._close)
        self._thread.shutdown()

    async def _ask(self, files: _Files, work: OpenWork) -> None:
        asking = None if work.destination in self._silent else await self._asked(work.destination)
        place = None if asking is None else await self._place(files, work)
        ended = None if asking is None or place is None else await self._ended(asking, place, work)
        if asking is not None and place is None:
            await self._run(lambda: files.open.drop(work.index))  # that person was erased, or the record's sealed part was pruned
        elif ended is None:
            await self._later(files, work)
        else:
            if ended.state != UNKNOWN:
                await self._record(work, ended)
            await self._run(lambda: files.open.drop(work.index))

    async def _record(self, work: OpenWork, ended: Ended) -> None:
        """Another end that a node recorded before stays the end."""
        try:
            await self._intake.take([evidence(work, ended)], SENDER, SENDER)
        except RefusedError as error:
            log.warning("how the work of decision %s ended is recorded already, in another way: %s", work.decision, error.code)

    async def _ended(self, asking: _Asking, place: str, work: OpenWork) -> Ended | None:
        try:
            async with asyncio.timeout(ASK_S):
                ended = await asking.follower.ended(place)
        except (DestinationError, TimeoutError) as error:
            if not asking.problem:
                log.warning("%s does not say how work ended: %s", work.destination, error)
            asking.problem = True
            self._silent.add(work.destination)
            return None
        asking.problem = False
        if ended is not None and ended.state == UNKNOWN:
            log.warning("%s knows nothing (any more) of the work of decision %s", work.destination, work.decision)
        return ended

    async def _later(self, files: _Files, work: OpenWork) -> None:
        now = self._clock.now_ns()
        wait = min(LATE_S, max(SOON_S, (now - work.since_ns) * 1e-10)) * (0.75 + self._random.random() / 2)
        await self._run(lambda: files.open.postpone(work.index, now + int(wait * 1e9)))

    async def _asked(self, name: str) -> _Asking | None:
        """Who asks the destination as it is configured now; None where nobody can."""
        workspace = self._workspace()
        settings, asking = workspace.destinations.get(name), self._asking.get(name)
        if asking is not None and asking.settings == settings:
            return asking
        if asking is not None:
            await self._asking.pop(name).follower.close()
        module = None if settings is None else self._registry.load("destination", workspace.catalog.destinations[name].adapter)
        if settings is None or module is None or not hasattr(module, "follower"):
            return None
        made: Follower = module.follower(settings, name=name)
        try:
            await made.open()
        except ConfigError as error:
            log.error("%s cannot be asked how work ended: %s", name, error)
            self._silent.add(name)
            return None
        return self._asking.setdefault(name, _Asking(settings, made))

    async def _place(self, files: _Files, work: OpenWork) -> str | None:
        stored = await self._run(lambda: next(files.reader.records(work.index, work.index + 1), None))
        key = None if stored is None else await self._keys.key(stored.key_id)
        if stored is None or key is None:
            return None
        return open_personal(Entry(stored.leaf, stored.sealed, stored.key_id), key).get("work")

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _opened(self) -> _Files:
        if self._files is None:
            reader, index = self._open_reader(), SqliteIndex(self._state / INDEX_FILE)
            self._files = _Files(reader, index, SqliteFollowing(self._state / FOLLOWING_FILE))
        return self._files

    def _catch_up(self, files: _Files) -> None:
        routes = followed(self._workspace())
        size = files.reader.size()
        start, last_hash = files.open.complete()
        if start > size or (start and files.reader.nodes(0, start - 1, start) != [last_hash]):
            files.open.reset()
            start = 0
        while start < size:
            end = min(size, start + BATCH)
            found = list(_found(files, start, end, routes))
            files.open.extend(found, end, files.reader.nodes(0, end - 1, end)[0])
            start = end

    def _close(self) -> None:
        if self._files is not None:
            for file in (self._files.reader, self._files.index, self._files.open):
                file.close()


def followed(workspace: Workspace) -> frozenset[str]:
    """Routes whose work is asked about."""
    return frozenset(name for name, route in workspace.catalog.routes.items() if route.evidence is not None and route.evidence.follow)


def evidence(work: OpenWork, ended: Ended) -> CloudEvent:
    """The same for every asking, so that it is recorded once."""
    told: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"{work.decision}/{work.index}",
        "source": work.destination,
        "type": f"lockgate.work.{ended.state}",
        "lockgatedecision": work.decision,
        "lockgatephase": "completed" if ended.well else "failed",
        "data": {"state": ended.state},
    }
    return CloudEvent(work.destination, told["id"], told["type"], work.decision, told["lockgatephase"], as_text(told))


def _found(files: _Files, start: int, end: int, routes: frozenset[str]) -> Iterator[OpenWork | str]:
    for stored in files.reader.records(start, end):
        if _EVIDENCE in stored.leaf:
            leaf = _leaf(stored)
            if leaf.get("evidence", {}).get("phase") in ENDS:
                yield str(leaf.get("id"))
        elif routes and _OUTCOME in stored.leaf and b'"work":' in stored.leaf:
            leaf = _leaf(stored)
            decision = None if "work" not in leaf.get("commitments", {}) else _decision(files, str(leaf.get("id")))
            if decision is not None and decision["route"] in routes:
                at = nanoseconds(leaf["time"])
                yield OpenWork(stored.index, leaf["id"], decision["route"], decision["destination"], at, at)


def _decision(files: _Files, decision_id: str) -> Mapping[str, Any] | None:
    catch_up(files.reader, files.index)
    found = files.index.find([("decision_id", "=", decision_id), ("kind", "=", "decision")], None, False, 1, ("route", "destination"))
    return found[0] if found else None


def _leaf(stored: Stored) -> dict[str, Any]:
    try:
        leaf = orjson.loads(stored.leaf)
    except orjson.JSONDecodeError:  # for `verify` to report
        return {}
    return leaf if isinstance(leaf, dict) else {}
