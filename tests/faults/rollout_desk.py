"""Rollouts over real files, a real ledger and real keys, in which any call may fail before or after its effect, or end the process."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.subject_keys import KeyFile
from router.acting import actors
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.caching import CachedSubjectKeys
from router.audit.ledger import AuditLedger
from router.bundle.versions import Override, Versions
from router.config.rollouts import RolloutConfig
from router.decision import Subject
from router.errors import AuditError, ConfigError, LockgateError, RefusedError, StateError
from router.ports import Entry
from router.rollout.examined import Examined
from router.rollout.figures import Figures
from router.rollout.service import RolloutService
from router.rollout.stage import NOBODY, Stage
from router.rollout.state import Rollout, State
from router.rollout.store import RolloutFiles
from router.system import UuidV7
from tests.unit.audit.ledgers import SIGNER, records_of

ADA, PAT = Subject("ada", "user", ("policy_author",)), Subject("pat", "user", ("policy_approver",))
OWN = "0" * 64
CANDIDATE = b"the candidate"
DIGEST = hashlib.sha256(CANDIDATE).hexdigest()
PLAN = RolloutConfig.model_validate(
    {"steps": [{"for": "10s"}, {"share": "10%", "for": "10s"}, {"share": "100%", "for": "10s"}], "least": 1, "guards": {"flips": "50%"}}
)
BEFORE, AFTER, DEATH = "before", "after", "death"


class Died(BaseException):
    """The process ends here."""


@dataclass
class Faults:
    """`point` is a call by its name and its number, `kind` whether it fails before or after its effect; `lasting` that all after it fail,
    too. `death` in place of an error."""

    point: tuple[str, int] | None = None
    kind: str = BEFORE
    death: bool = False
    lasting: bool = False
    calls: Counter[str] = field(default_factory=Counter)

    async def around(self, name: str, error: LockgateError, effect: Callable[[], Awaitable[Any]]) -> Any:
        self.calls[name] += 1
        due = self._is_due(name, self.calls[name])
        if due and self.kind == BEFORE:
            raise Died() if self.death else error
        result = await effect()
        if due:
            raise Died() if self.death else error
        return result

    def around_now(self, name: str, error: LockgateError, effect: Callable[[], Any]) -> Any:
        self.calls[name] += 1
        due = self._is_due(name, self.calls[name])
        if due and self.kind == BEFORE:
            raise Died() if self.death else error
        result = effect()
        if due:
            raise Died() if self.death else error
        return result

    def _is_due(self, name: str, number: int) -> bool:
        if self.point is None or self.point[0] != name:
            return False
        return number >= self.point[1] if self.lasting else number == self.point[1]


class Ledger:
    def __init__(self, ledger: AuditLedger, faults: Faults) -> None:
        self._ledger = ledger
        self._faults = faults

    async def append(self, entry: Entry) -> int:
        index: int = await self._faults.around("append", AuditError("full"), lambda: self._ledger.append(entry))
        return index

    async def ping(self) -> None:
        await self._ledger.ping()


class Files(RolloutFiles):
    def __init__(self, folder: Path, faults: Faults) -> None:
        super().__init__(folder)
        self._faults = faults

    def put(self, rollout: Rollout) -> None:
        self._faults.around_now("put", StateError("full"), lambda: super(Files, self).put(rollout))


class Workers:
    """What decides in all workers. `unapproved` counts whatever had its effect without its record."""

    def __init__(self, folder: Path, versions: Versions, faults: Faults) -> None:
        self._folder = folder
        self._versions = versions
        self._faults = faults
        override = versions.override()  # of a start
        self.in_force = override.archive if override is not None else OWN
        self.candidate: str | None = None
        self.stage = NOBODY
        self.unapproved = 0
        self.reloading: str | None = None  # what a changed workspace brings just after a candidate has begun
        self.counted: list[Figures] = []

    @property
    def over(self) -> tuple[str, str]:
        return self.in_force, f"policy {self.in_force}"

    @property
    def sequence(self) -> int | None:
        return None

    async def begin(self, rollout: Rollout) -> None:
        await self._faults.around("begin", ConfigError("no"), lambda: self._begin(rollout))

    async def _begin(self, rollout: Rollout) -> None:
        self._must_be_recorded(rollout.id, "rollout_approved")
        self.candidate, self.stage = rollout.id, rollout.stage
        self.in_force = self.reloading or self.in_force

    async def step(self, rollout_id: str, stage: Stage) -> None:
        await self._faults.around("step", ConfigError("silent"), lambda: self._step(rollout_id, stage))

    async def _step(self, rollout_id: str, stage: Stage) -> None:
        if self.candidate == rollout_id:
            if stage != NOBODY:
                self._must_be_recorded(rollout_id, "rollout_stepped")
            self.stage = stage

    async def end(self) -> None:
        await self._faults.around("end", ConfigError("silent"), self._end)

    async def _end(self) -> None:
        self.candidate, self.stage = None, NOBODY

    async def figures(self, rollout_id: str) -> list[Figures]:
        counted = self.counted if self.candidate == rollout_id else []
        found: list[Figures] = await self._faults.around("figures", ConfigError("silent"), lambda: _given(counted))
        return found

    async def put_in_force(self, override: Override) -> None:
        """As the reloader: durable, then in the workers; taken back where no worker takes it up."""
        if override.why == "promoted" and override.over != self.in_force:
            raise ConfigError("changed")
        before = self._versions.override()
        self._faults.around_now("override", StateError("full"), lambda: self._versions.put_in_force(override))
        try:
            await self._faults.around("put_in_force", ConfigError("no"), lambda: self._put_in_force(override))
        except ConfigError:
            if self.in_force != override.archive:
                self._versions.release() if before is None else self._versions.put_in_force(before)
                raise

    async def _put_in_force(self, override: Override) -> None:
        self._must_be_recorded(override.record, "rollout_promoted" if override.why == "promoted" else "policy_rolled_back")
        self.in_force, self.candidate, self.stage = override.archive, None, NOBODY

    def _must_be_recorded(self, record: str, event: str) -> None:
        self.unapproved += not any((leaf.get("event"), leaf.get("id")) == (event, record) for leaf in leaves(self._folder))


async def _given(counted: list[Figures]) -> list[Figures]:
    return counted


class Clock:
    def __init__(self) -> None:
        self.ns = 1_790_000_000_000_000_000

    def now_ns(self) -> int:
        self.ns += 1_000
        return self.ns

    def monotonic_ns(self) -> int:
        return self.ns


class Desk:
    """Of one process."""

    def __init__(self, folder: Path, ledger: AuditLedger, keys: CachedSubjectKeys, faults: Faults, clock: Clock) -> None:
        self.versions = Versions(folder / "state")
        self.files = Files(self.versions.folder, faults)
        self.workers = Workers(folder, self.versions, faults)
        self.clock = clock
        self.service = RolloutService(self.files, self.versions, Ledger(ledger, faults), keys, self.workers, clock, UuidV7(), actors)
        self.workers.counted = [compared(5)]

    async def proposed(self, plan: RolloutConfig = PLAN, by: Subject = ADA) -> Rollout:
        found = Examined(CANDIDATE, f"policy {DIGEST}", "c" * 64, "r2", None, *self.workers.over)
        return await self.service.propose(found, plan, by, "please")

    async def approved(self, plan: RolloutConfig = PLAN) -> Rollout:
        rollout = await self.proposed(plan)
        return await self.service.approve(rollout.id, PAT, rollout.digest, "yes")

    async def rounds(self, count: int, seconds: float = 11.0) -> None:
        """As `keep_rolling` has them."""
        for _ in range(count):
            self.clock.ns += int(seconds * 1e9)
            try:
                await self.service.round()
            except LockgateError:
                continue

    def newest(self) -> Rollout | None:
        return next(iter(self.files.newest(1)), None)


async def tried(attempt: Callable[[], Awaitable[Any]], times: int = 3) -> Any:
    """As people do: again after a failure, and not again after a refusal."""
    for _ in range(times):
        try:
            return await attempt()
        except RefusedError:
            return None
        except LockgateError:
            continue
    return None


def compared(count: int, flips: int = 0) -> Figures:
    seen = Figures()
    seen.compared, seen.flips = count, flips
    return seen


@asynccontextmanager
async def running(folder: Path, faults: Faults, clock: Clock | None = None) -> AsyncIterator[Desk]:
    ledger = AuditLedger(Journal(SqliteStore(folder / "ledger.sqlite"), Checkpointing(SIGNER, folder / "checkpoints")))
    keys = CachedSubjectKeys(KeyFile(folder / "keys.sqlite", bytes(32)))
    await ledger.open()
    await keys.open()
    try:
        yield Desk(folder, ledger, keys, faults, clock or Clock())
    finally:
        await keys.close()
        await ledger.close()


def leaves(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(leaf) for leaf, _, _ in records_of(folder)]


def story(folder: Path, rollout: str) -> list[str]:
    """What the ledger says of a rollout, each move once however often it is there."""
    told = [f"{leaf['event']} {leaf['details']['step']}" for leaf in leaves(folder) if leaf.get("id") == rollout]
    return list(dict.fromkeys(told))


def is_over(state: State) -> bool:
    return state not in (State.PROPOSED, State.RUNNING)
