"""What is durable and what serves are the same version of the policies, whatever fails on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router.bundle.archive import pack
from router.bundle.versions import Override
from router.errors import AuditError, ConfigError, LockgateError
from router.processes.reload import Reloader
from router.snapshot import Snapshot, written_digest
from router.workspace import Workspace, parse
from tests.unit.bundle.making import POLICY
from tests.unit.processes.test_versions import OTHER, Place


class Failing(Reloader):
    """Takes up what it is given, and fails before or after that."""

    def __init__(self, place: Place, error: LockgateError | None, *, after: bool) -> None:
        snapshot = place.snapshot()
        nothing: Any = None
        workspace = parse(snapshot, {})
        super().__init__(place.folder, snapshot, workspace, nothing, nothing, nothing, lambda *_: None, nothing, place.in_force)
        self._error = error
        self._after = after

    async def _planned(self, workspace: Workspace) -> None:
        return None

    async def _model_for(self, snapshot: Snapshot, workspace: Workspace) -> None:
        return None

    async def _take_up(
        self, snapshot: Snapshot, workspace: Workspace, model: str | None, plan: dict[str, Any] | None, *, fresh: bool
    ) -> None:
        if self._error is not None and not self._after:
            raise self._error
        self.snapshot, self.workspace = snapshot, workspace
        if self._error is not None:
            raise self._error


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path, {})
    made.write("policies/lockgate/decision.rego", POLICY)
    return made


def wanted(place: Place, over: str | None = None, why: str = "promoted") -> Override:
    archive = place.versions.keep_archive(pack({"lockgate/decision.rego": OTHER}))
    return Override(archive, why, "r1", 1, over or written_digest(place.snapshot(), {}))


async def test_what_no_worker_takes_up_is_not_in_force_after_a_restart(place: Place) -> None:
    """What was in force before is again."""
    reloader, override = Failing(place, ConfigError("no"), after=False), wanted(place)
    with pytest.raises(ConfigError):
        await reloader.put_in_force(override)
    assert place.versions.override() is None
    assert place.snapshot() == reloader.snapshot


async def test_what_workers_took_up_is_in_force_though_something_that_follows_fails(place: Place) -> None:
    """Such as the record of the configuration: else a restart would silently decide otherwise."""
    reloader, override = Failing(place, AuditError("full"), after=True), wanted(place)
    await reloader.put_in_force(override)
    assert place.versions.override() == override
    assert place.snapshot().files["policies/lockgate/decision.rego"] == OTHER
    assert place.snapshot() == reloader.snapshot


async def test_a_candidate_comes_into_force_only_over_what_it_was_compared_with(place: Place) -> None:
    """A changed workspace may have been taken up a moment before."""
    reloader, override = Failing(place, None, after=False), wanted(place, over="1" * 64)
    with pytest.raises(ConfigError, match="Other policies were taken up meanwhile"):
        await reloader.put_in_force(override)
    assert place.versions.override() is None


async def test_going_back_is_to_a_version_whatever_is_in_force_by_then(place: Place) -> None:
    """Who goes back does not care what comes in between."""
    reloader, override = Failing(place, None, after=False), wanted(place, over="1" * 64, why="rolled_back")
    await reloader.put_in_force(override)
    assert place.versions.override() == override
