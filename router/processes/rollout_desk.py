"""Rollouts and versions of the policies, as the control API asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.acting import actors
from router.bundle.versions import Version
from router.config.rollouts import RolloutConfig
from router.decision import Subject
from router.errors import RefusedError
from router.ports import Clock
from router.processes.evidence import Evidence
from router.processes.reload import Reloader
from router.processes.rollouts import Beside, Examining, Live
from router.processes.supervisor import Supervisor
from router.processes.versions import InForce
from router.review.people import People
from router.rollout import views
from router.rollout.records import counts
from router.rollout.service import RolloutService
from router.rollout.state import Rollout
from router.rollout.store import RolloutFiles
from router.system import UuidV7
from router.wiring.policy_trials import Trials

Json = Mapping[str, Any]
WORKSPACE = "workspace"
LEAST_NAMED = 4


class RolloutDesk:
    """Implements the control API's port, and tells its status what runs."""

    def __init__(
        self,
        service: RolloutService,
        files: RolloutFiles,
        examining: Examining,
        people: views.People,
        in_force: InForce,
        reloader: Reloader,
    ) -> None:
        self._service = service
        self._files = files
        self._examining = examining
        self._people = people
        self._in_force = in_force
        self._reloader = reloader

    async def list(self, limit: int) -> Sequence[Json]:
        return [views.summary(each) for each in self._files.newest(limit)]

    async def show(self, rollout_id: str) -> Json:
        return await self._shown(self._service.found(rollout_id))

    async def propose(self, archive: bytes, plan: RolloutConfig | None, by: Subject, comment: str) -> Json:
        wanted = plan if plan is not None else self._reloader.workspace.config.policy.rollout
        return await self._shown(await self._service.propose(await self._examining.examine(archive), wanted, by, comment))

    async def approve(self, rollout_id: str, by: Subject, digest: str, comment: str) -> Json:
        return await self._shown(await self._service.approve(rollout_id, by, digest, comment))

    async def reject(self, rollout_id: str, by: Subject, comment: str) -> Json:
        return await self._shown(await self._service.reject(rollout_id, by, comment))

    async def withdraw(self, rollout_id: str, by: Subject, comment: str) -> Json:
        return await self._shown(await self._service.withdraw(rollout_id, by, comment))

    async def advance(self, rollout_id: str, by: Subject, comment: str) -> Json:
        return await self._shown(await self._service.advance(rollout_id, by, comment))

    async def roll_back(self, rollout_id: str, by: Subject, comment: str) -> Json:
        return await self._shown(await self._service.roll_back(rollout_id, by, comment))

    async def versions(self) -> Json:
        listed = self._in_force.versions.listed()
        shown = [views.version(each, in_force=place == 0) for place, each in enumerate(listed)]
        return {"versions": shown, "override": views.override(self._in_force.versions.override())}

    async def go_back(self, to: str, by: Subject, comment: str) -> Json:
        if to == WORKSPACE:
            await asyncio.to_thread(self._reloader.check_own)
            await self._service.release(by, comment)
            await self._reloader.reload()
        else:
            await self._reloader.settled()  # what is being taken up is listed at its end
            found = named(self._in_force.versions.listed(), to)
            await self._service.go_back(found.archive, found.policy, by, comment)
        return await self.versions()

    def described(self) -> Json | None:
        running = self._service.running
        return views.summary(running) if running is not None else None

    def override(self) -> Json | None:
        return views.override(self._reloader.workspace.override)

    def figures(self) -> tuple[int, Mapping[str, int]]:
        running = self._service.running
        return (running.step + 1, counts(self._service.seen)) if running is not None else (0, {})

    async def _shown(self, rollout: Rollout) -> Json:
        running = self._service.running
        seen = self._service.seen if running is not None and running.id == rollout.id else None
        return await views.whole(rollout, self._people, seen)


@dataclass(frozen=True, slots=True)
class Rollouts:
    service: RolloutService
    desk: RolloutDesk


def make_rollouts(
    reloader: Reloader, supervisor: Supervisor, in_force: InForce, evidence: Evidence, clock: Clock, trials: Trials
) -> Rollouts:
    live, files = Live(reloader, supervisor, in_force), RolloutFiles(in_force.versions.folder)
    service = RolloutService(files, in_force.versions, evidence.ledger, evidence.keys, live, clock, UuidV7(), actors)
    reloader.candidates = Beside(service, live)
    return Rollouts(service, RolloutDesk(service, files, Examining(reloader, trials), People(evidence.keys), in_force, reloader))


def named(listed: Sequence[Version], to: str) -> Version:
    """The newest version before the one in force with that revision, or whose digests begin so. Raises RefusedError."""
    long = len(to) >= LEAST_NAMED
    found = [each for each in listed if to == each.revision or (long and (each.archive.startswith(to) or each.policy.startswith(to)))]
    if not found:
        raise RefusedError("No such version was in force here; see `lockgate policy versions`.", "policy_version_unknown", 404)
    if len({each.archive for each in found}) > 1:
        raise RefusedError("Several versions are called so; say more of the digest.", "policy_version_ambiguous", 409)
    if listed[0].archive == found[0].archive and listed[0].policy == found[0].policy:
        raise RefusedError("That version is in force.", "policy_version_in_force", 409)
    return found[0]
