"""The bundle that is in force: no older one after it, each change and each refusal on record, and how long ago its source last confirmed
that it is the newest."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from router.audit.keys.leasing import lease_clock
from router.bundle.content import Bundle
from router.bundle.standing import accept, accepted, check_newer, keep
from router.errors import AuditError, BundleError, StateError
from router.policy_sources import DOWNLOADED, kept_bundle
from router.processes.evidence import Evidence
from router.snapshot import Snapshot
from router.workspace import Workspace

log = logging.getLogger("lockgate.policy")
FOLDER = "bundles"
REFUSALS_EVERY_S = 60.0


class Bundles:
    """`told` is given each new end, on the lease's clock, of the time for which the policies in force may decide; None for no end."""

    def __init__(self, evidence: Evidence, told: Callable[[float | None], None]) -> None:
        self._evidence = evidence
        self._told = told
        self._doubted: float | None = None  # since when the newest is one that was refused, or nobody knows it
        self._refusals = _Refusals()
        self._max_age: float | None = None
        self.bundle: Bundle | None = None
        self.problem: str | None = None

    def is_kept(self, workspace: Workspace) -> bool:
        """Whether the bundle is one that a server gave before, which may have a newer one by now."""
        kept = _kept(workspace)
        return kept is not None and kept.exists()

    def begin(self, workspace: Workspace, *, fresh: bool) -> None:
        """Says for how long it may decide, before it does. `fresh`: its source has just given it, and did not only keep it."""
        settings, kept = workspace.config.policy.bundle, _kept(workspace)
        self._max_age = settings.max_age if settings is not None else None
        self._doubted = None if kept is None else lease_clock() - (0.0 if fresh else _age_of(kept))
        self.problem = None
        self._tell()

    async def in_force(self, snapshot: Snapshot, workspace: Workspace, *, fresh: bool) -> None:
        """What serves from here on; on record where it is another one."""
        self.begin(workspace, fresh=fresh)
        bundle, before = workspace.bundle, self.bundle
        self.bundle = bundle
        kept = _kept(workspace)
        if bundle is None:
            return
        if before is None or (before.digest, before.sequence, before.revision) != (bundle.digest, bundle.sequence, bundle.revision):
            await asyncio.to_thread(_remember, workspace, bundle, kept if fresh else None, snapshot.files.get(DOWNLOADED))
            await self._evidence.afterwards("policy_activated", {**bundle.described(), "config_digest": workspace.digests.config})
            log.info("policies %s (sequence %s, %s) are in force", bundle.revision, bundle.sequence, bundle.digest[:12])

    async def refused(self, error: BundleError, snapshot: Snapshot | None) -> None:
        """The last good one stays. On record, but for the same one again, and for more than one in a minute: those are counted."""
        self.problem = str(error)
        if self._doubted is None:
            self._doubted = lease_clock()
            self._tell()
        found = snapshot.files.get(DOWNLOADED) if snapshot is not None else None
        which = hashlib.sha256(found).hexdigest() if found is not None else snapshot.digest if snapshot is not None else ""
        counted = self._refusals.due(error.code, which, lease_clock())
        if counted is None:
            return
        try:
            await self._evidence.system("policy_refused", {"reason": error.code, "sha256": which, "not_recorded": counted})
        except AuditError as failed:
            log.error("the refusal of a bundle is not recorded: %s", failed)

    def confirmed(self, workspace: Workspace) -> None:
        """The source says that there is nothing newer than what is in force."""
        kept = _kept(workspace)
        self.begin(workspace, fresh=True)
        if kept is not None:
            with suppress(OSError):  # after a restart it would only seem older than it is
                os.utime(kept)

    @property
    def age(self) -> float | None:
        """Seconds since the source last confirmed what is in force; of a file, since another one was refused. None without a bundle."""
        if self.bundle is None:
            return None
        return 0.0 if self._doubted is None else max(0.0, lease_clock() - self._doubted)

    @property
    def stale(self) -> bool:
        age = self.age
        return age is not None and self._max_age is not None and age > self._max_age

    def _tell(self) -> None:
        limited = self._doubted is not None and self._max_age is not None
        self._told((self._doubted or 0.0) + (self._max_age or 0.0) if limited else None)


class _Refusals:
    """Which refusals are put on record."""

    def __init__(self) -> None:
        self._last: tuple[str, str] | None = None
        self._recorded_s = float("-inf")
        self._counted = 0

    def due(self, code: str, which: str, now_s: float) -> int | None:
        """How many were left out since the last that was recorded; None where this one is left out, too."""
        if (code, which) == self._last or now_s - self._recorded_s < REFUSALS_EVERY_S:
            self._counted += 1
            return None
        self._last, self._recorded_s = (code, which), now_s
        counted, self._counted = self._counted, 0
        return counted


def _remember(workspace: Workspace, bundle: Bundle, kept: Path | None, downloaded: bytes | None) -> None:
    """What was downloaded is kept first: after a crash in between, the former number lets it in again. What is in force over the source's
    is not the source's, and an older one than that must not let older ones in."""
    try:
        if workspace.override is not None:
            before = accepted(_folder(workspace))
            if before is not None and (bundle.sequence is None or bundle.sequence < before.sequence):
                return
            kept = None
        if kept is not None and downloaded is not None:
            keep(kept, downloaded)
        accept(_folder(workspace), bundle)
    except StateError as error:
        log.error("an older bundle could come back after a restart: %s", error)


def refuse_older(workspace: Workspace) -> None:
    """Raises BundleError where the bundle is older than what was in force, unless somebody went back to it on purpose."""
    if workspace.bundle is not None and workspace.override is None:
        check_newer(workspace.bundle, accepted(_folder(workspace)))


def _kept(workspace: Workspace) -> Path | None:
    """Where what a server gave is kept; None where the source is none."""
    settings = workspace.config.policy.bundle
    return workspace.path(kept_bundle(workspace.config.state, settings.source)) if settings is not None and settings.remote else None


def _folder(workspace: Workspace) -> Path:
    return workspace.path(workspace.config.state) / FOLDER


def _age_of(kept: Path) -> float:
    """By the time of day, which is all that outlives a machine."""
    try:
        return max(0.0, time.time() - kept.stat().st_mtime)
    except OSError:
        return 0.0
