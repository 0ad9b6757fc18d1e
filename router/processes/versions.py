"""Which version of the policies is in force, kept and told apart: the workspace's own, or one that was put over them on purpose."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from router.bundle.archive import unpack
from router.bundle.content import content_digest, read_bundle
from router.bundle.standing import accepted, keep
from router.bundle.versions import Override, Version, Versions
from router.errors import BundleError, ConfigError, LockgateError
from router.policy_sources import archive_of, is_ours, kept_bundle, sources_digest, substituted
from router.ports import Clock
from router.processes.bundles import FOLDER, refuse_older
from router.rollout.records import OVERRIDE_ENDED
from router.rollout.state import OPEN
from router.rollout.store import RolloutFiles
from router.snapshot import Snapshot, read, settings_of
from router.workspace import Workspace, parse

log = logging.getLogger("lockgate.policy")


class Evidence(Protocol):
    async def system(self, event: str, details: Mapping[str, Any]) -> None: ...


class InForce:
    """`versions` are this node's."""

    def __init__(self, state: Path, evidence: Evidence, clock: Clock) -> None:
        self.versions = Versions(state)
        self._state = state
        self._evidence = evidence
        self._clock = clock
        self._ignored = ""

    def put(self, override: Override | None) -> None:
        """Raises StateError."""
        if override is None:
            self.versions.release()
        else:
            self.versions.put_in_force(override)

    @property
    def sequence(self) -> int | None:
        """The highest of a bundle that was ever in force."""
        before = accepted(self._state / FOLDER)
        return before.sequence if before is not None else None

    async def settle(self, path: Path, downloaded: bytes | None) -> None:
        """Ends an override that the workspace has caught up with, or whose source has a newer bundle than ever was in force. `downloaded`
        is what that source has just given; while the override lasts it is kept for afterwards. Raises ConfigError, AuditError,
        StateError."""
        override = self.versions.override()
        if override is None:
            return
        why = await asyncio.to_thread(self._why_ended, path, override, downloaded)
        if why is not None:
            details = {"archive": override.archive, "was": override.why, "record": override.record, "reason": why}
            await self._evidence.system(OVERRIDE_ENDED, details)
            if self.versions.override() == override:  # and not another one that somebody went back to meanwhile
                self.versions.release()
            log.info("the workspace's own policies decide again: %s", why)

    def _why_ended(self, path: Path, override: Override, downloaded: bytes | None) -> str | None:
        own = read(path, os.environ, downloaded, override=False)
        config = settings_of(own, os.environ)
        if not is_ours(config):
            return None
        same = substituted(own.own, config, self.versions.archive(override.archive)) == own.own
        try:
            workspace = parse(own, os.environ)
        except ConfigError as error:  # of what is there already that is said where it is taken up; what is in force stays
            if downloaded is not None and isinstance(error, BundleError):
                raise  # or whatever a server gives would confirm that it has nothing newer
            return None
        try:
            refuse_older(workspace)
        except BundleError:
            return None
        if workspace.bundle is not None:
            same = same or self._bundle_digest(override) == workspace.bundle.digest  # signed anew, or unpacked
            newest, sequence = override.sequence or 0, workspace.bundle.sequence or 0
            if sequence > newest or (same and sequence == newest):
                return "newer" if sequence > newest else "same"
            settings = workspace.config.policy.bundle
            if downloaded is not None and settings is not None:
                keep(workspace.path(kept_bundle(workspace.config.state, settings.source)), downloaded)
        elif same:
            return "same"
        self._tell_of(sources_digest(own.own, config), override)
        return None

    def _bundle_digest(self, override: Override) -> str:
        return read_bundle(unpack(self.versions.archive(override.archive), "The version in force")).digest

    def _tell_of(self, digest: str, override: Override) -> None:
        if digest not in (override.over, self._ignored):
            self._ignored = digest
            log.warning(
                "the workspace's policies have changed and are not used: version %s is in force over them; bring them to that version, or "
                "end that with `lockgate policy rollback --to workspace`",
                override.archive[:12],
            )

    async def note(self, snapshot: Snapshot, workspace: Workspace) -> None:
        """Keeps what is in force, so that one can go back to it. Never fails: what serves goes on."""
        try:
            await asyncio.to_thread(self._note, snapshot, workspace)
        except LockgateError as error:
            log.error("the policies in force are not kept, so nobody can go back to them: %s", error)

    def _note(self, snapshot: Snapshot, workspace: Workspace) -> None:
        config, override = settings_of(snapshot, os.environ), workspace.override
        if not is_ours(config):
            return
        content = archive_of(snapshot.own, config) if override is None else self.versions.archive(override.archive)
        archive, bundle = self.versions.keep_archive(content), workspace.bundle
        policy = content_digest(workspace.policies, workspace.policy_data)
        before = self.versions.listed()
        if before and (before[0].archive, before[0].policy) == (archive, policy):
            return
        revision = bundle.revision if bundle is not None else policy[:12]
        by = override.why if override is not None else "workspace"
        sequence = bundle.sequence if bundle is not None else None
        self.versions.came_into_force(Version(archive, policy, revision, sequence, self._clock.now_ns(), by), _wanted(self.versions))


def _wanted(versions: Versions) -> list[str]:
    """Archives that somebody may still need: of the override, and of rollouts that have not ended."""
    try:
        override = versions.override()
    except BundleError:
        override = None
    waiting = [each.archive for each in RolloutFiles(versions.folder).all() if each.state in OPEN]
    return [*waiting, *([override.archive] if override is not None else [])]
