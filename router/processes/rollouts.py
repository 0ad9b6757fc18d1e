"""Rollouts over what this process serves: candidates are looked at, handed to the workers, and what these counted is asked for."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Any

import orjson

from router.bundle.archive import pack, unpack
from router.bundle.content import TESTS, content_digest
from router.bundle.documents import DATA
from router.bundle.versions import OVERRIDE, Override
from router.errors import ConfigError, LockgateError, RefusedError
from router.policy_sources import archive_of, data_document, is_ours
from router.processes import messages
from router.processes.bundles import refuse_older
from router.processes.reload import Reloader
from router.processes.supervisor import Supervisor
from router.processes.versions import InForce
from router.rollout.examined import Examined
from router.rollout.figures import Figures
from router.rollout.service import RolloutService
from router.rollout.stage import Stage
from router.rollout.state import Event, Rollout
from router.snapshot import Snapshot, settings_of, with_policies, written_digest
from router.wiring.candidate import Candidate
from router.wiring.policy import plan_policies
from router.wiring.policy_trials import Trials
from router.workspace import Workspace, parse

log = logging.getLogger("lockgate.policy")
ROUND_S = 1.0


class Live:
    """Implements the service's port over the workers."""

    def __init__(self, reloader: Reloader, supervisor: Supervisor, in_force: InForce) -> None:
        self._reloader = reloader
        self._supervisor = supervisor
        self._in_force = in_force

    async def begin(self, rollout: Rollout) -> None:
        await self._reloader.swap(lambda snapshot: self.payload(rollout, snapshot))

    async def payload(self, rollout: Rollout, snapshot: Snapshot) -> Mapping[str, Any]:
        """The candidate over that workspace, as workers get it. Raises ConfigError."""
        archive = self._in_force.versions.archive(rollout.archive)
        other = await asyncio.to_thread(with_policies, snapshot, os.environ, archive)
        theirs = await asyncio.to_thread(parse, other, os.environ)
        plan, revision = await plan_policies(theirs), theirs.bundle.revision if theirs.bundle is not None else ""
        digest, compare = theirs.digests.config, rollout.plan.compare
        made = Candidate(rollout.id, theirs.policies, theirs.policy_data, plan, revision, digest, compare, rollout.stage)
        return made.to_payload()

    async def step(self, rollout_id: str, stage: Stage) -> None:
        await self._supervisor.step(rollout_id, stage.to_json())

    async def end(self) -> None:
        await self._reloader.swap(None)

    async def figures(self, rollout_id: str) -> list[Figures]:
        told = await self._supervisor.ask(messages.ROLLOUT_FIGURES, rollout_id)
        return [Figures.from_json(each) for _, each in told if isinstance(each, dict)]

    async def put_in_force(self, override: Override) -> None:
        await self._reloader.put_in_force(override)

    @property
    def over(self) -> tuple[str, str]:
        return over(self._reloader.snapshot, self._reloader.workspace)

    @property
    def sequence(self) -> int | None:
        return self._in_force.sequence


def over(snapshot: Snapshot, workspace: Workspace) -> tuple[str, str]:
    """Digests of the policies that decide: as they are written, and as verdicts bear them."""
    return written_digest(snapshot, os.environ), content_digest(workspace.policies, workspace.policy_data)


def _without_override(snapshot: Snapshot) -> dict[str, bytes]:
    return {name: content for name, content in snapshot.own.items() if name != OVERRIDE}


class Beside:
    """Implements what taking up a changed workspace asks of rollouts."""

    def __init__(self, service: RolloutService, live: Live) -> None:
        self._service = service
        self._live = live

    async def beside(self, snapshot: Snapshot, workspace: Workspace) -> Mapping[str, Any] | None:
        rollout = self._service.running
        if rollout is None:
            return None
        if over(snapshot, workspace)[0] != rollout.over:
            self._service.cannot_go_on(Event.SUPERSEDED, reason="rollout_superseded")
            return None
        try:
            return await self._live.payload(rollout, snapshot)
        except ConfigError as error:
            log.error("the rollout %s cannot go on with the changed workspace: %s", rollout.id, error)
            self._service.cannot_go_on(Event.ROLLED_BACK, reason="candidate_refused")
            return None


class Examining:
    """Looks at what somebody proposes, in processes of their own wherever anything of it is run."""

    def __init__(self, reloader: Reloader, trials: Trials) -> None:
        self._reloader = reloader
        self._trials = trials

    async def examine(self, archive: bytes) -> Examined:
        """Raises RefusedError, ConfigError: it cannot be used here, or its tests fail."""
        snapshot, workspace = self._reloader.snapshot, self._reloader.workspace
        config = settings_of(snapshot, os.environ)
        if not is_ours(config):
            raise RefusedError("An OPA server has the policies; roll them out there.", "rollout_elsewhere", 409)
        archive = _with_data(archive, snapshot, config)
        other = await asyncio.to_thread(with_policies, snapshot, os.environ, archive)
        theirs = await asyncio.to_thread(parse, other, os.environ)
        refuse_older(theirs)
        await self._tried(theirs, archive)
        bundle, policy = theirs.bundle, content_digest(theirs.policies, theirs.policy_data)
        return Examined(
            archive,
            policy,
            theirs.digests.config,
            bundle.revision if bundle is not None else policy[:12],
            bundle.sequence if bundle is not None else None,
            *over(snapshot, workspace),
        )

    async def _tried(self, theirs: Workspace, archive: bytes) -> None:
        """With what the workspace adopts, as it would decide."""
        files = {"bundle": _whole(theirs, archive)}
        for command in ("check", "test"):
            with self._trials.slot():
                ran = await self._trials.run(command, [], files)
            if ran.faults:
                raise ConfigError(*ran.faults)
            if ran.status:
                raise ConfigError(*_faults(command, orjson.loads(ran.answer)))


def _whole(theirs: Workspace, archive: bytes) -> bytes:
    """The candidate with its tests, and with all that it would decide by."""
    tests = {name: text for name, text in unpack(archive, "The candidate").items() if name.endswith(TESTS)}
    folder = f"{os.path.normpath(theirs.config.policy.path)}/" if theirs.bundle is None else ""
    policies = {name.removeprefix(folder): text.encode() for name, text in theirs.policies.items()}
    return pack({**policies, **tests, "data.yaml": data_document(theirs.policy_data)})


def _faults(command: str, answer: Any) -> list[str]:
    if command == "check":
        return [f"{each['file']}:{each['line']}: {each['sentence']}" for each in answer["faults"]]
    failed = [each for each in answer["tests"] if each["outcome"] == "failed"]
    told = [f"{each['file']}:{each['line']}: {each['name']}: {each['reason']}" for each in failed]
    return told or ["The candidate has no test, so nothing says that it does what it should."]


def _with_data(archive: bytes, snapshot: Snapshot, config: Mapping[str, Any]) -> bytes:
    """For a folder's workspace a candidate without data is one with today's: after a restart it must be the same."""
    policy = config.get("policy")
    if isinstance(policy, dict) and (policy.get("bundle") or policy.get("data")):
        return archive
    held = unpack(archive, "The candidate")
    if any(name.rpartition("/")[2] in DATA for name in held):
        return archive
    today = unpack(archive_of(_without_override(snapshot), config), "The policies in force")
    return pack({**held, **{name: content for name, content in today.items() if name == "data.yaml"}})


async def keep_rolling(service: RolloutService) -> None:
    """For as long as it runs: goes on where a start ended, and from then on does so in rounds. What keeps it from that is said once."""
    act, said = service.resume, ""
    while True:
        try:
            await act()
            act, said = service.round, ""
        except LockgateError as error:
            if str(error) != said:
                said = str(error)
                log.error("a rollout is left as it is for now: %s", error)
        except Exception:  # the rounds must go on
            log.exception("a round over the rollouts failed in a way that nobody foresaw")
        await asyncio.sleep(ROUND_S)
