"""What is put on record of bundles, and how old what decides may become."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from router.audit.keys.leasing import lease_clock
from router.bundle.content import read_bundle
from router.config import Config
from router.errors import AuditError, BundleError
from router.policy_sources import DOWNLOADED, kept_bundle
from router.processes.bundles import REFUSALS_EVERY_S, Bundles, _Refusals
from router.snapshot import Snapshot
from tests.unit.bundle.making import files

URL = "http://127.0.0.1:1/b.tar.gz"


class Recorded:
    """The evidence, as far as bundles are recorded in it."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Mapping[str, Any]]] = []
        self.broken = False

    async def afterwards(self, event: str, details: Mapping[str, Any]) -> None:
        await self.system(event, details)

    async def system(self, event: str, details: Mapping[str, Any]) -> None:
        if self.broken:
            raise AuditError("full")
        self.entries.append((event, details))


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
def told() -> list[float | None]:
    return []


@pytest.fixture
def bundles(recorded: Recorded, told: list[float | None]) -> Bundles:
    return Bundles(recorded, told.append)


@pytest.fixture
def workspace(tmp_path: Path) -> Callable[..., Any]:
    def workspace(source: str = "b.tar.gz", sequence: int = 7, **settings: Any) -> Any:
        config = Config(version=1, policy={"bundle": {"from": source, "unsigned": True, **settings}})
        digests = SimpleNamespace(config="c" * 64)
        return SimpleNamespace(
            config=config, bundle=read_bundle(files(sequence=sequence)), override=None, digests=digests, path=lambda name: tmp_path / name
        )

    return workspace


def snapshot(content: bytes = b"bundle") -> Snapshot:
    return Snapshot(Path(), "lockgate.yaml", {"lockgate.yaml": b"", DOWNLOADED: content})


async def test_each_bundle_is_recorded_once(bundles: Bundles, recorded: Recorded, workspace: Callable[..., Any]) -> None:
    """A change of something else in the workspace is no change of policies."""
    for sequence in (7, 7, 8):
        await bundles.in_force(snapshot(), workspace(sequence=sequence), fresh=True)
    assert [(event, details["sequence"]) for event, details in recorded.entries] == [("policy_activated", 7), ("policy_activated", 8)]


async def test_refusals_are_recorded_with_their_reason_and_bounded(bundles: Bundles, recorded: Recorded) -> None:
    """A server that gives another bad bundle every second does not fill the ledger."""
    for number in range(50):
        await bundles.refused(BundleError("no", "bundle_unsigned"), snapshot(b"%d" % number))
    ((event, details),) = recorded.entries
    assert (event, details["reason"], details["not_recorded"]) == ("policy_refused", "bundle_unsigned", 0)
    assert len(details["sha256"]) == 64
    assert bundles.problem == "no"


def test_those_left_out_are_counted_with_the_next() -> None:
    """The same one again is never recorded twice in a row."""
    refusals = _Refusals()
    assert refusals.due("a", "x", 0.0) == 0
    assert refusals.due("a", "y", 1.0) is None
    assert refusals.due("a", "x", REFUSALS_EVERY_S + 1) is None
    assert refusals.due("a", "y", REFUSALS_EVERY_S + 2) == 2
    assert refusals.due("b", "y", 2 * REFUSALS_EVERY_S + 3) == 0


async def test_a_ledger_that_is_full_keeps_no_refusal_from_being_one(bundles: Bundles, recorded: Recorded) -> None:
    """It is said in the log, and the last good bundle stays."""
    recorded.broken = True
    await bundles.refused(BundleError("no"), None)
    assert bundles.problem == "no"


async def test_a_file_is_as_good_as_new_until_another_is_refused(
    bundles: Bundles, told: list[float | None], workspace: Callable[..., Any]
) -> None:
    """It is looked at whenever it changes; from a refusal on its time runs, and ends that when it is put right."""
    await bundles.in_force(snapshot(), workspace(max_age="5s"), fresh=True)
    assert (bundles.age, told[-1]) == (0.0, None)
    await bundles.refused(BundleError("no"), None)
    assert told[-1] == pytest.approx(lease_clock() + 5, abs=1)
    bundles.confirmed(workspace(max_age="5s"))
    assert (bundles.age, told[-1], bundles.problem) == (0.0, None, None)


async def test_what_a_server_gave_is_kept_and_ages_across_restarts(
    bundles: Bundles, recorded: Recorded, workspace: Callable[..., Any], tmp_path: Path
) -> None:
    """By when its server last confirmed it: a restart makes nothing new of what is old."""
    made = workspace(URL, max_age="61s")
    await bundles.in_force(snapshot(b"kept"), made, fresh=True)
    kept = tmp_path / kept_bundle("state", URL)
    assert kept.read_bytes() == b"kept"
    assert not bundles.stale
    os.utime(kept, (1, kept.stat().st_mtime - 100))
    again = Bundles(recorded, [].append)
    assert again.is_kept(made)
    await again.in_force(snapshot(b"kept"), made, fresh=False)
    assert again.age == pytest.approx(100, abs=5)
    assert again.stale
    again.confirmed(made)
    assert not again.stale
    assert kept.stat().st_mtime > kept.stat().st_ctime - 5


async def test_without_a_bundle_there_is_no_age(bundles: Bundles, recorded: Recorded, told: list[float | None]) -> None:
    """Policies of a folder have none, and nothing is recorded of them beside the workspace's change."""
    await bundles.in_force(snapshot(), SimpleNamespace(config=Config(version=1), bundle=None), fresh=False)
    assert (bundles.age, bundles.stale, told, recorded.entries) == (None, False, [None], [])
