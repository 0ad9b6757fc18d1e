"""Asking a server for bundles: at a first start for the one to begin with, then for whatever is newer."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from router.bundle.versions import OVERRIDE
from router.config.bundles import BundleConfig
from router.errors import BundleError, ConfigError, LockgateError
from router.policy_sources import DOWNLOADED
from router.processes.bundle_places import Place, make_place
from router.processes.bundles import refuse_older
from router.snapshot import Snapshot, read
from router.validation import validate
from router.wiring.policy import plan_policies
from router.workspace import Workspace
from router.workspace_secrets import parse_with_secrets
from router.yaml_source import read_yaml

if TYPE_CHECKING:
    from adapters.bundle_source import Given

log = logging.getLogger("lockgate.policy")
FIRST_PAUSE_S = 0.1
LEAST_PAUSE_S = 1.0  # between two answers, whatever a server that is said to wait makes of it
LOOK_S = 5.0
FIRST_TRIES = 5


class Taking(Protocol):
    workspace: Workspace

    async def reload(self, downloaded: bytes | None = None) -> str: ...


class Confirming(Protocol):
    def confirmed(self, workspace: Workspace) -> None: ...


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a start begins with. `given`: the policies' server has just given its bundle. `plan` is that of the policies, where it was made
    already."""

    snapshot: Snapshot
    workspace: Workspace
    given: bool = False
    plan: dict[str, Any] | None = None


async def begin_with(path: Path, environment: Mapping[str, str]) -> Beginning:
    """The workspace to start with; where its bundle is on a server and none was ever kept, with what the server gives now. What it gave
    before may not do any more, by other keys or for a release that asks for more or refuses more: then it is asked for another. Raises
    ConfigError."""
    snapshot = read(path, environment)
    if DOWNLOADED not in snapshot.files:
        snapshot = await _with_given(snapshot, path, environment)
        return await _checked(snapshot, environment, given=DOWNLOADED in snapshot.files)
    if OVERRIDE in snapshot.files:
        return await _checked(snapshot, environment)
    try:
        return await _checked(snapshot, environment, planned=True)
    except BundleError as error:
        log.warning("the bundle that was kept cannot be used, so its server is asked for another: %s", error)
    return await _checked(await _with_given(snapshot, path, environment), environment, given=True)


async def _checked(snapshot: Snapshot, environment: Mapping[str, str], *, given: bool = False, planned: bool = False) -> Beginning:
    """`planned`: what only the engine finds in the policies is found now, too. Raises ConfigError; BundleError for what the bundle has."""
    full, workspace = await asyncio.to_thread(_parsed, snapshot, environment)
    try:
        plan = await plan_policies(workspace) if planned else None
    except ConfigError as error:
        raise BundleError(str(error), "bundle_policy_refused") from error
    return Beginning(full, workspace, given, plan)


def _parsed(snapshot: Snapshot, environment: Mapping[str, str]) -> tuple[Snapshot, Workspace]:
    full, workspace = parse_with_secrets(snapshot, environment)
    refuse_older(workspace)
    return full, workspace


async def _with_given(snapshot: Snapshot, path: Path, environment: Mapping[str, str]) -> Snapshot:
    """The workspace with what its bundles' server gives now, where it names one."""
    settings = _settings(snapshot, environment)
    if settings is None or not settings.remote:
        return snapshot
    server = make_place(settings, snapshot.root, environment)
    try:
        return read(path, environment, await _first(server))
    finally:
        await server.close()


async def follow(taking: Taking, confirming: Confirming) -> None:
    """Asks for as long as the configuration names a server; never ends by itself."""
    while True:
        settings = taking.workspace.config.policy.bundle
        if settings is None or not settings.remote:
            await asyncio.sleep(LOOK_S)
            continue
        try:
            following = _Following(partial(make_place, settings, taking.workspace.root, os.environ), settings, taking, confirming)
        except LockgateError as error:
            log.error("the server of bundles cannot be asked: %s", error)
            await asyncio.sleep(LOOK_S)
            continue
        try:
            await following.run()
        finally:
            await following.close()


class _Following:
    """One server, under one configuration. `make` reads the files with its token, password and authorities."""

    def __init__(self, make: Callable[[], Place], settings: BundleConfig, taking: Taking, confirming: Confirming) -> None:
        self._make = make
        self._server = make()
        self._settings = settings
        self._taking = taking
        self._confirming = confirming
        self._etag: str | None = None
        self._taken = False  # what `_etag` names was taken up
        self._waits = settings.wait is not None
        self._failures = 0

    async def run(self) -> None:
        """Until the configuration has other settings, under which what was refused may be taken."""
        digest = self._taking.workspace.digests.config
        while self._taking.workspace.config.policy.bundle == self._settings:
            if self._taking.workspace.digests.config != digest and not self._taken:
                self._etag = None
            digest = self._taking.workspace.digests.config
            await asyncio.sleep(await self._once())

    async def close(self) -> None:
        await self._server.close()

    async def _renew(self) -> None:
        """A token, a password or authorities may be others by now, in files that somebody renews."""
        try:
            made = self._make()
        except LockgateError as error:
            log.debug("the server of bundles cannot be asked anew: %s", error)
            return
        await self._server.close()
        self._server = made

    async def _once(self) -> float:
        """Seconds until the next question."""
        began = time.monotonic()
        try:
            given = await self._server.ask(self._etag, self._settings.wait if self._waits and self._etag is not None else None)
        except LockgateError as error:
            self._failures += 1
            (log.error if self._failures == 1 else log.debug)("the last good policies serve on: %s", error)
            await self._renew()
            return min(self._settings.poll, FIRST_PAUSE_S * 2.0 ** min(self._failures, 30)) * random.uniform(0.5, 1.0)  # noqa: S311  # jitter
        self._failures = 0
        await self._take(given)
        if given.content is not None:
            self._waits = given.waits and self._settings.wait is not None
        if self._waits and self._etag is not None:
            return max(0.0, LEAST_PAUSE_S - (time.monotonic() - began)) if given.content is None else 0.0
        return self._settings.poll * random.uniform(0.5, 1.0)  # noqa: S311  # as above

    async def _take(self, given: Given) -> None:
        self._etag = given.etag
        if given.content is None:
            if self._taken:
                self._confirming.confirmed(self._taking.workspace)
            return
        try:
            await self._taking.reload(given.content)
            self._taken = True
        except BundleError:  # said in the log, on record, and in `last_reload_problem`
            self._taken = False
        except LockgateError:  # said there, too; nothing is wrong with the bundle, and the server would not give the same one again
            self._taken, self._etag = False, None
        except Exception:  # asking must go on
            self._taken, self._etag = False, None
            log.exception("a bundle was not taken up in a way that nobody foresaw; the last good policies serve on")


async def _first(server: Place) -> bytes:
    pause = FIRST_PAUSE_S
    for attempt in range(FIRST_TRIES):
        try:
            given = await server.ask(None, None)
            if given.content is not None:
                return given.content
        except BundleError:
            if attempt == FIRST_TRIES - 1:
                raise
        await asyncio.sleep(pause)
        pause *= 2
    raise BundleError("The server of bundles gave none.", "bundle_unavailable")


def _settings(snapshot: Snapshot, environment: Mapping[str, str]) -> BundleConfig | None:
    """Faults are told by whoever parses the whole."""
    document, _ = read_yaml(snapshot.config, snapshot.files[snapshot.config], environment)
    policy = document.value.get("policy") if document is not None and isinstance(document.value, dict) else None
    if document is None or not isinstance(policy, dict) or not isinstance(policy.get("bundle"), dict):
        return None
    return validate(BundleConfig, document, ("policy", "bundle"))[0]
