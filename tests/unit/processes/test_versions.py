"""When a version that was put in force over a workspace gives way to the workspace's own policies, and what is kept to go back to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from router.bundle.archive import pack
from router.bundle.standing import FILE, Accepted, accepted
from router.bundle.versions import ARCHIVES, IN_FORCE, LISTED, Override
from router.errors import AuditError, BundleError
from router.policy_sources import archive_of, kept_bundle
from router.processes.bundles import FOLDER
from router.processes.versions import InForce, _wanted
from router.snapshot import Snapshot, read, settings_of
from router.system import SystemClock
from router.workspace import parse
from tests.unit.bundle.making import ADMISSION, POLICY, PUBLIC, files, pair, signing, sources

URL = "https://bundles.test/b.tar.gz"
CATALOG = {
    "version": 1,
    "destinations": {"desk": {"adapter": "http", "upstreams": [{"url": "http://127.0.0.1:9000"}]}},
    "routes": {"ask": {"destination": "desk", "path": "/ask", "method": "POST"}},
    "intents": {
        "status": {"description": "Where it is.", "route": "ask", "examples": ["where is it", "how far is it"]},
        "stop": {"description": "Stop it.", "route": "ask", "examples": ["stop", "call it off"]},
    },
}
OTHER = POLICY.replace(b"deny", b"allow")
KEYS = {"release": {"file": "k.pub"}}


class Recorded:
    """The evidence, as far as overrides are recorded in it."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Mapping[str, Any]]] = []
        self.broken = False

    async def system(self, event: str, details: Mapping[str, Any]) -> None:
        if self.broken:
            raise AuditError("full")
        self.entries.append((event, details))


class Place:
    """A workspace on a disk, and what is in force over it."""

    def __init__(self, folder: Path, policy: Mapping[str, Any]) -> None:
        self.folder = folder
        self.evidence = Recorded()
        self.in_force = InForce(folder / "state", self.evidence, SystemClock())
        self.versions = self.in_force.versions
        self.write("lockgate.yaml", yaml.safe_dump({"version": 1, "policy": dict(policy)}).encode())
        self.write("catalog.yaml", yaml.safe_dump(CATALOG).encode())
        self.write("k.pub", PUBLIC)

    def write(self, name: str, content: bytes) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(content)

    def accepted(self, sequence: int, digest: str = "a") -> None:
        self.write(f"state/{FOLDER}/{FILE}", orjson.dumps({"sequence": sequence, "digest": digest}))

    def put(self, archive: bytes, why: str = "promoted", sequence: int | None = None) -> Override:
        override = Override(self.versions.keep_archive(archive), why, "r1", 1, "0" * 64, sequence)
        self.in_force.put(override)
        return override

    async def settled(self, downloaded: bytes | None = None) -> str | None:
        """Why the override has ended, if it has."""
        await self.in_force.settle(self.folder, downloaded)
        if self.versions.override() is not None:
            assert self.evidence.entries == []
            return None
        ((event, details),) = self.evidence.entries
        assert event == "policy_override_ended"
        return str(details["reason"])

    def snapshot(self) -> Snapshot:
        return read(self.folder, {})

    async def noted(self) -> None:
        snapshot = self.snapshot()
        await self.in_force.note(snapshot, parse(snapshot, {}))


Make = Callable[..., Place]


@pytest.fixture
def folder(tmp_path: Path) -> Place:
    place = Place(tmp_path, {})
    place.write("policies/lockgate/decision.rego", POLICY)
    return place


@pytest.fixture
def bundled(tmp_path: Path) -> Make:
    def bundled(sequence: int = 5, source: str = "b.tar.gz") -> Place:
        place = Place(tmp_path, {"bundle": {"from": source, "keys": KEYS, "attested": "optional"}})
        place.write(source if "://" not in source else kept_bundle("state", source), bundle(sequence))
        return place

    return bundled


def bundle(sequence: int, policy: bytes = POLICY, **more: Any) -> bytes:
    texts = {"lockgate/decision.rego": policy, "lockgate/admission.rego": ADMISSION}
    return pack(files(sources(texts), sequence, f"r{sequence}", attested=False, **more))


FORGED = bundle(9, by=signing(pair()[0]))


async def test_nothing_ends_where_nothing_is_in_force_over_a_workspace(folder: Place) -> None:
    """And nothing is recorded."""
    await folder.in_force.settle(folder.folder, None)
    assert folder.evidence.entries == []


async def test_a_folder_that_has_caught_up_decides_by_itself(folder: Place) -> None:
    """Somebody brought it to what was promoted."""
    folder.put(pack({"lockgate/decision.rego": OTHER}))
    assert await folder.settled() is None
    folder.write("policies/lockgate/decision.rego", OTHER)
    assert await folder.settled() == "same"


async def test_a_folder_with_other_changes_is_not_used(folder: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Said once for each state that it is in, not at each look."""
    folder.put(pack({"lockgate/decision.rego": OTHER}))
    for text in (b"# 1\n", b"# 1\n", b"# 2\n"):
        folder.write("policies/lockgate/decision.rego", POLICY + text)
        assert await folder.settled() is None
    assert sum("are not used" in record.message for record in caplog.records) == 2


async def test_a_folder_that_cannot_serve_ends_nothing(folder: Place) -> None:
    """Even where its policies are those in force."""
    folder.put(pack({"lockgate/decision.rego": OTHER}))
    folder.write("policies/lockgate/decision.rego", OTHER)
    folder.write("catalog.yaml", b"version: 2\n")
    assert await folder.settled() is None


async def test_what_cannot_be_recorded_does_not_end(folder: Place) -> None:
    """Another decides only once the ledger says so."""
    folder.put(pack({"lockgate/decision.rego": POLICY}))
    folder.evidence.broken = True
    with pytest.raises(AuditError):
        await folder.in_force.settle(folder.folder, None)
    assert folder.versions.override() is not None
    folder.evidence.broken = False
    assert await folder.settled() == "same"


async def test_an_override_whose_archive_is_gone_is_no_end_of_it(folder: Place) -> None:
    """Nobody knows whether the workspace has caught up."""
    override = folder.put(pack({"lockgate/decision.rego": POLICY}))
    (folder.versions.folder / ARCHIVES / f"{override.archive}.tar.gz").unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        await folder.in_force.settle(folder.folder, None)
    assert (folder.versions.folder / IN_FORCE).exists()


@pytest.mark.parametrize(("sequence", "newest", "why"), [(5, 6, None), (6, 6, None), (7, 6, "newer"), (5, None, "newer")])
async def test_a_bundle_that_is_newer_than_all_before_ends_it(bundled: Make, sequence: int, newest: int | None, why: str | None) -> None:
    """One that only lies there since before does not: it was gone back from."""
    place = bundled(sequence)
    place.put(bundle(4, OTHER), "rolled_back", newest)
    assert await place.settled() == why


async def test_the_promoted_bundle_at_its_source_ends_it(bundled: Make) -> None:
    """The very same, once somebody has brought it there."""
    place, promoted = bundled(5), bundle(6, OTHER)
    place.put(promoted, sequence=6)
    assert await place.settled() is None
    place.write("b.tar.gz", promoted)
    assert await place.settled() == "same"


async def test_the_promoted_bundle_signed_anew_or_unpacked_is_the_same(bundled: Make) -> None:
    """It says the same; that its bytes are others is nobody's concern."""
    place, promoted = bundled(5), bundle(6, OTHER)
    place.put(promoted, sequence=6)
    anew = bundle(6, OTHER)
    assert anew != promoted
    place.write("b.tar.gz", anew)
    assert await place.settled() == "same"


async def test_an_older_bundle_than_was_accepted_ends_nothing(bundled: Make) -> None:
    """Without the override it would be refused, and so would the next start."""
    place = bundled(5)
    place.accepted(6)
    place.put(bundle(4, OTHER), sequence=None)
    assert await place.settled() is None


async def test_what_a_server_gives_meanwhile_is_kept_for_afterwards(bundled: Make) -> None:
    """It was looked at, and waits."""
    place = bundled(5, URL)
    place.put(bundle(4, OTHER), "rolled_back", 7)
    given = bundle(7)
    assert await place.settled(given) is None
    assert (place.folder / kept_bundle("state", URL)).read_bytes() == given


@pytest.mark.parametrize("given", [b"rubbish", bundle(9, signed=False), FORGED], ids=["rubbish", "bare", "forged"])
async def test_what_a_server_must_not_give_confirms_nothing(bundled: Make, given: bytes) -> None:
    """Who holds a node back from newer policies could otherwise do it for ever, whatever `max_age` says."""
    place = bundled(5, URL)
    place.put(bundle(4, OTHER), "rolled_back", 7)
    with pytest.raises(BundleError):
        await place.in_force.settle(place.folder, given)
    assert place.versions.override() is not None
    assert (place.folder / kept_bundle("state", URL)).read_bytes() != given


async def test_policies_of_an_opa_server_leave_an_override_as_it_is(folder: Place) -> None:
    """It decides nothing meanwhile, and does again with the former engine."""
    folder.put(pack({"lockgate/decision.rego": POLICY}))
    policy = {"engine": {"adapter": "opa", "url": "http://127.0.0.1:8181"}}
    folder.write("lockgate.yaml", yaml.safe_dump({"version": 1, "policy": policy}).encode())
    assert await folder.settled() is None


async def test_what_comes_into_force_is_listed_once_and_can_be_had_again(folder: Place) -> None:
    """A change of something else is no change of policies."""
    await folder.noted()
    await folder.noted()
    folder.write("policies/lockgate/decision.rego", OTHER)
    await folder.noted()
    newest, oldest = folder.versions.listed()
    assert (newest.by, oldest.by) == ("workspace", "workspace")
    snapshot = folder.snapshot()
    assert folder.versions.archive(newest.archive) == archive_of(snapshot.own, settings_of(snapshot, {}))
    folder.in_force.put(Override(oldest.archive, "rolled_back", "r1", 1, "0" * 64))
    assert folder.snapshot().files["policies/lockgate/decision.rego"] == POLICY
    await folder.noted()
    assert [each.by for each in folder.versions.listed()] == ["rolled_back", "workspace", "workspace"]
    assert folder.versions.listed()[0] == replace(oldest, by="rolled_back", since_ns=folder.versions.listed()[0].since_ns)


async def test_the_archive_in_force_outlives_those_that_are_forgotten(folder: Place) -> None:
    """Also where the list does not have it: without it nothing could start."""
    override = folder.put(pack({"lockgate/decision.rego": OTHER}))
    await folder.noted()
    (folder.versions.folder / LISTED).write_bytes(b"[]")
    await folder.noted()
    dropped = folder.versions.keep_archive(b"nobody wants it")
    folder.versions.came_into_force(replace(folder.versions.listed()[0], archive="1" * 64), _wanted(folder.versions))
    folder.versions.came_into_force(replace(folder.versions.listed()[0], archive="2" * 64), _wanted(folder.versions))
    assert folder.versions.archive(override.archive)
    with pytest.raises(BundleError):
        folder.versions.archive(dropped)


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"other")], ids=["gone", "altered"])
async def test_a_version_that_is_not_what_it_was_is_not_used(folder: Place, damage: Callable[[Path], None]) -> None:
    """Nothing starts with it, so that nothing else decides."""
    override = folder.put(pack({"lockgate/decision.rego": OTHER}))
    damage(folder.versions._place(override.archive))
    with pytest.raises(BundleError) as refused:
        folder.versions.archive(override.archive)
    assert refused.value.code == "policy_version_unreadable"


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"archive": 1}'])
def test_an_override_that_cannot_be_read_is_none(content: bytes) -> None:
    """Nor is it read as that there is none: which policies decide would be a guess."""
    with pytest.raises(BundleError) as refused:
        Override.from_json(content)
    assert refused.value.code == "policy_version_unreadable"


async def test_what_cannot_be_kept_stops_nobody(folder: Place, caplog: pytest.LogCaptureFixture) -> None:
    """What serves goes on; it is said that nobody can go back to it."""
    folder.write(f"state/policies/{LISTED}", b"{")
    await folder.noted()
    assert "nobody can go back to them" in caplog.text


async def test_the_highest_sequence_is_the_one_that_was_accepted(bundled: Make) -> None:
    """Whatever is gone back to."""
    place = bundled(5)
    assert place.in_force.sequence is None
    place.accepted(6)
    assert place.in_force.sequence == 6
    assert accepted(place.folder / "state" / FOLDER) == Accepted(6, "a")
