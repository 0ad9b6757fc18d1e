"""Taking up a changed workspace: checked beside the one that serves, swapped whole, the last good one kept."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import watchfiles

from router.bundle.versions import Override
from router.config import Config
from router.config.tls import MutualTls
from router.errors import BundleError, ConfigError, LockgateError, SecretError, UnpreparedError
from router.processes.bundles import Bundles, refuse_older
from router.processes.evidence import Evidence
from router.processes.supervisor import Assignment, Supervisor
from router.processes.training import Progress, prepare_model
from router.processes.versions import InForce
from router.settings import Address
from router.snapshot import with_policies, written_digest
from router.telemetry.logs import configure_logs
from router.wiring.control_policy import approval_policy
from router.wiring.policy import plan_policies
from router.workspace import Snapshot, Workspace, parse, read, same_but_policies, watched
from router.workspace_diff import differences
from router.workspace_secrets import parse_with_secrets

log = logging.getLogger("lockgate.reload")
SETTLE_MS = 200  # editors write a file in several steps
LOOK_S = 5.0


class Follower(Protocol):
    async def follow(self, workspace: Workspace) -> None:
        """Takes up a configuration that the workers have taken up."""


class Candidates(Protocol):
    async def beside(self, snapshot: Snapshot, workspace: Workspace) -> Mapping[str, Any] | None:
        """The candidate that goes on beside a configuration that is being taken up, as workers get it; None where there is none, or none
        that can."""


class Reloader:
    """`problem` is why the last attempt failed, None after a success; `taken_up_s` is when what serves was (monotonic clock). `snapshot`
    and `workspace` are what serves; `candidates` may roll out others over its policies."""

    def __init__(
        self,
        path: Path,
        snapshot: Snapshot,
        workspace: Workspace,
        evidence: Evidence,
        supervisor: Supervisor,
        follower: Follower,
        progress: Progress,
        bundles: Bundles,
        in_force: InForce,
    ) -> None:
        self._path = path
        self.snapshot = snapshot
        self.workspace = workspace
        self.candidates: Candidates | None = None
        self._in_force = in_force
        self._evidence = evidence
        self._supervisor = supervisor
        self._follower = follower
        self._progress = progress
        self._bundles = bundles
        self._tried: Snapshot | None = None
        self._refusal: str | None = None  # what `_seen` gave for it
        self._missed = False  # the vault was asked in vain: no look that does not ask again may say that all is well
        self._asked = False
        self._one_at_a_time = asyncio.Lock()
        self._changing = asyncio.Lock()  # what serves; never held while a model is trained
        self._woken = asyncio.Event()
        self._files = watched(snapshot)
        self.problem: str | None = None
        self.taken_up_s = time.monotonic()

    def wake(self) -> None:
        """Looks again, also at what was refused before: what is wrong with it may lie elsewhere."""
        self._asked = True
        self._woken.set()

    async def reload(self, downloaded: bytes | None = None, *, secrets: bool = True) -> str:
        """The digest that serves now. `downloaded` is a bundle of policies that a server has just given. `secrets`: a vault is asked also
        where no file has changed. Raises ConfigError; what served goes on serving."""
        async with self._one_at_a_time:
            self._tried = None
            try:
                await self._reload(downloaded, secrets)
            except LockgateError as error:
                self.problem = str(error)
                self._missed = isinstance(error, SecretError)
                self._refusal = None if isinstance(error, UnpreparedError) else self._tried.digest if self._tried else str(error)
                log.error("the changed workspace is not used; the last good one serves on:\n%s", error)
                if isinstance(error, BundleError):
                    await self._bundles.refused(error, self._tried)
                raise
            self.problem = self._refusal = None
            self._missed = False
            return self.workspace.digests.config

    async def pending(self) -> dict[str, Any]:
        """What a reload would change now, and why it would be refused; nothing is taken up."""
        serving, workspace = self.snapshot, self.workspace
        found: dict[str, Any] = {"before": workspace.digests.config, "after": None, "changes": [], "refused": []}
        try:
            snapshot = await asyncio.to_thread(read, self._path, os.environ)
            found["after"] = snapshot.digest
            snapshot, changed = await asyncio.to_thread(parse_with_secrets, snapshot)
            told = await asyncio.to_thread(differences, (serving, workspace), (snapshot, changed), os.environ)
            found["changes"] = [asdict(each) for each in told]
            refuse_what_needs_a_restart(workspace.config, changed.config)
            refuse_older(changed)
        except ConfigError as error:
            found["refused"] = list(error.faults)
        return found

    async def swap(self, make: Callable[[Snapshot], Awaitable[Mapping[str, Any]]] | None) -> None:
        """What serves goes on with the candidate beside it that is made for it, or with none. Raises ConfigError; nothing has changed
        then."""
        async with self._changing:
            current = self._supervisor.current
            if current is None or (make is None and current.candidate is None):
                return
            candidate = await make(self.snapshot) if make is not None else None
            await self._supervisor.change(replace(current, candidate=candidate))

    async def settled(self) -> None:
        """Returns when nothing is being taken up."""
        async with self._changing:
            return

    def check_own(self) -> None:
        """Whether the workspace could serve with its own policies, also after a restart. Raises ConfigError."""
        refuse_older(parse(read(self._path, os.environ, override=False), os.environ))

    async def put_in_force(self, override: Override) -> None:
        """A version of the policies over those of the workspace as it serves, whatever its files are by now. Raises ConfigError,
        StateError; what serves goes on serving. So it does where other policies serve by now than were rolled out over."""
        async with self._changing:
            if override.why == "promoted" and written_digest(self.snapshot, os.environ) != override.over:
                raise ConfigError("Other policies were taken up meanwhile; look at what is in force, and try again.")
            snapshot = with_policies(self.snapshot, os.environ, self._in_force.versions.archive(override.archive), override)
            workspace = await asyncio.to_thread(parse, snapshot, os.environ)
            model, plan = await self._model_for(self.snapshot, workspace), await self._planned(workspace)
            before = self._in_force.versions.override()
            self._in_force.put(override)  # a crash from here on: it is in force after the next start
            try:
                await self._take_up(snapshot, workspace, model, plan, fresh=False)
            except LockgateError as error:
                if self.snapshot is not snapshot:
                    self._in_force.put(before)
                    raise
                log.error("the version of the policies is in force, and something that follows has failed: %s", error)
            self._refusal = None

    async def _reload(self, downloaded: bytes | None, secrets: bool) -> None:
        """Again where a version of the policies came into force meanwhile, which does not wait for a model that is trained."""
        await self._in_force.settle(self._path, downloaded)
        settings = self.workspace.config.policy.bundle
        fresh = downloaded is not None or (settings is not None and not settings.remote)
        while True:
            before = self.snapshot
            snapshot = await asyncio.to_thread(read, self._path, os.environ, downloaded)  # the ledger's commits go on meanwhile
            self._tried = snapshot
            same = snapshot.digest == self.workspace.digests.config
            if not same or (before.secrets and (secrets or self._missed)):
                snapshot, workspace = await asyncio.to_thread(parse_with_secrets, snapshot)
                same = same and snapshot.secrets == before.secrets
            if same:
                if fresh:
                    self._bundles.confirmed(self.workspace)
                return
            refuse_what_needs_a_restart(self.workspace.config, workspace.config)
            refuse_older(workspace)
            if workspace.config.learning is not None:
                approval_policy(workspace)
            model, plan = await self._model_for(snapshot, workspace), await self._planned(workspace)
            async with self._changing:
                if self.snapshot is before:
                    await self._take_up(snapshot, workspace, model, plan, fresh=fresh)
                    return

    async def _take_up(
        self, snapshot: Snapshot, workspace: Workspace, model: str | None, plan: dict[str, Any] | None, *, fresh: bool
    ) -> None:
        digests = workspace.digests
        candidate = await self.candidates.beside(snapshot, workspace) if self.candidates is not None else None
        await self._change(workspace, Assignment(digests.config, snapshot.to_bytes(), model, plan, candidate))
        # It serves from here on, whatever else fails; a later reload must compare with it.
        self.snapshot, self.workspace, self.taken_up_s = snapshot, workspace, time.monotonic()
        self._files = watched(snapshot)
        told = {"config_digest": digests.config, "catalog_digest": digests.catalog, "policy_digest": digests.policy}
        try:
            await self._evidence.afterwards("config_changed", told)  # at once: what follows takes its time, and decisions come meanwhile
        finally:
            await self._follower.follow(workspace)
            await self._in_force.note(snapshot, workspace)
            await self._bundles.in_force(snapshot, workspace, fresh=fresh)
        configure_logs(workspace.config.telemetry.log)
        log.info("configuration %s is live", digests.config[:12])

    async def _planned(self, workspace: Workspace) -> dict[str, Any] | None:
        try:
            return await plan_policies(workspace)
        except ConfigError as error:
            raise self._refused(workspace, error) from error

    async def _model_for(self, snapshot: Snapshot, workspace: Workspace) -> str | None:
        """The one that serves, where only policies or their data are other ones: nothing is looked at that models depend on."""
        current = self._supervisor.current
        if current is not None and same_but_policies(self.workspace, workspace):
            return current.model
        return await prepare_model(snapshot, workspace, self._progress)

    async def _change(self, workspace: Workspace, assignment: Assignment) -> None:
        """Raises ConfigError."""
        try:
            await self._supervisor.change(assignment)
        except ConfigError as error:
            raise self._refused(workspace, error) from error

    def _refused(self, workspace: Workspace, error: ConfigError) -> ConfigError:
        """What only the engine finds in a new bundle is a refusal of that bundle; that no worker could look at it is none."""
        if isinstance(error, UnpreparedError):
            return error
        before = self._bundles.bundle
        if workspace.bundle is not None and (before is None or before.digest != workspace.bundle.digest):
            return BundleError(str(error), "bundle_policy_refused")
        return error

    async def watch(self) -> None:
        """Reloads when a file of the workspace changes, or when woken; once more for what changed while a reload ran."""
        while True:
            folders = self._folders()
            watching = asyncio.create_task(self._wake_on_change(folders))
            try:
                await asyncio.sleep(0)  # it watches now, so that what changed before is seen by the first reload
                self.wake()
                while folders == self._folders():
                    await self._woken.wait()
                    self._woken.clear()
                    await self._quietly()
            finally:
                watching.cancel()

    async def _quietly(self) -> None:
        """Not what was refused already: a log that is written beside the workspace would have it refused again for ever."""
        asked, self._asked = self._asked, False
        if not asked and self._refusal is not None and await asyncio.to_thread(self._seen) == self._refusal:
            return
        try:
            await self.reload(secrets=asked)
        except UnpreparedError:  # nothing is known to be wrong with it, and no file need change for it to be taken up
            asyncio.get_running_loop().call_later(LOOK_S, self.wake if asked else self._woken.set)
        except LockgateError:
            return  # said in the log and in `problem`
        except Exception:  # the watch must go on
            log.exception("reloading failed in a way that nobody foresaw; the last good configuration serves on")

    def _seen(self) -> str:
        """The digest of what is there, or why it cannot be read."""
        try:
            return read(self._path, os.environ).digest
        except ConfigError as error:
            return str(error)

    def _folders(self) -> list[Path]:
        return sorted({file.parent for file in self._files if file.parent.is_dir()})

    def _matters(self, path: Path) -> bool:
        """The folder around the workspace is watched in case all of it is put there anew; what else changes there is others'."""
        root = self.snapshot.root
        if path == root or path.parent != root.parent:
            return True
        return any(not Path(os.path.normpath(file)).is_relative_to(root) for file in self._files)

    async def _wake_on_change(self, folders: list[Path]) -> None:
        try:
            async for changes in watchfiles.awatch(*folders, debounce=SETTLE_MS, recursive=False):
                if any(self._matters(Path(path)) for _, path in changes):
                    self._woken.set()
        except (OSError, RuntimeError) as error:  # such as the system's limit on watches
            log.warning("the workspace cannot be watched, so it is looked at every %g seconds: %s", LOOK_S, error)
        while True:
            await asyncio.sleep(LOOK_S)
            self._woken.set()


def refuse_what_needs_a_restart(before: Config, after: Config) -> None:
    """Listeners, state and evidence belong to the process and not to a configuration."""
    names = ("state", "decide", "envoy", "control", "workers", "nodes")
    changed = [name for name in names if getattr(before, name) != getattr(after, name)]
    if before.audit.lasting != after.audit.lasting:
        changed.append("audit")
    if before.gateway.listen != after.gateway.listen or before.gateway.limits != after.gateway.limits:
        changed.append("gateway.listen and gateway.limits")
    if before.gateway.tls != after.gateway.tls:
        changed.append("gateway.tls")
    (listen, tls), (other_listen, other_tls) = _for_events(before), _for_events(after)
    if listen != other_listen:
        changed.append("events.listen")
    elif tls != other_tls:
        changed.append("events.tls")
    if (before.learning is None) != (after.learning is None):
        changed.append("learning")
    sources = {config.policy.bundle.source if config.policy.bundle is not None else "" for config in (before, after)}
    if len(sources) == 2 and any("://" in source for source in sources):
        changed.append("policy.bundle")
    if before.telemetry.otlp != after.telemetry.otlp:
        changed.append("telemetry.otlp")
    if changed:
        raise ConfigError(f"A change of {', '.join(changed)} needs a restart; nothing of the changed workspace is used until then.")


def _for_events(config: Config) -> tuple[Address | None, MutualTls | None]:
    """Where events are listened for, and how; brokers need no listener."""
    if config.events is None or config.events.listen is None:
        return None, None
    return config.events.listen, config.events.tls
