"""Proposals put in force and taken back, over a real workspace and stores in memory that fail where they are told to."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from router.adaptation.drafting import Example
from router.adaptation.proposals import Proposals
from router.adaptation.state import State, Type
from router.errors import ConfigError, LockgateError, RefusedError, StateError
from router.ports import Entry, Lesson
from router.snapshot import Snapshot
from router.system import UuidV7
from router.wiring.learned_versions import LearnedVersions
from router.wiring.proposal_material import Material
from router.wiring.proposals import ProposalDesk
from router.wiring.route_history import History
from router.wiring.route_suggestions import RouteDesk
from router.workspace import Workspace, parse, read
from tests.contract.small_workspace import small_workspace
from tests.unit.adaptation.approvals import Office as Approving
from tests.unit.adaptation.parts import ANNA, RITA, RUBEN, Learning


class Serving:
    """Takes up what is on disk, as a reload does; `refuses` is what training would refuse."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.refuses, self.reloads = folder, "", 0
        self.snapshot: Snapshot = read(folder, {})
        self.workspace: Workspace = parse(self.snapshot, {})

    async def reload(self) -> str:
        self.reloads += 1
        snapshot = read(self.folder, {})
        if self.refuses and self.refuses.encode() in b"".join(snapshot.files.values()):
            raise ConfigError("It cannot be trained.")
        self.snapshot, self.workspace = snapshot, parse(snapshot, {})
        return self.workspace.digests.config


@dataclass
class NoTrail:
    async def opened(self, decision_ids: Sequence[str]) -> Mapping[str, tuple[str, str | None]]:
        return {}

    async def recent(self, most: int, besides: object) -> Sequence[str]:
        return []

    async def routed(self, intents: object, ruled: object, window: object, most: int) -> History:
        return History({}, {}, False)

    async def policy_inputs(self, intent: str, window: object, most: int) -> Mapping[str, Mapping[str, Any]]:
        return {}


@dataclass
class Office:
    folder: Path
    learning: Learning
    serving: Serving = field(init=False)

    def __post_init__(self) -> None:
        small_workspace(self.folder, "{min_confidence: 0.7}")
        catalog = self.folder / "catalog.yaml"
        catalog.write_text(f"{catalog.read_text()}learned: learned.yaml\n")
        self.serving = Serving(self.folder)
        self.start()

    def start(self) -> None:
        """As after a crash: nothing but what is stored is known."""
        one = self.learning
        self.approving = Approving(one)
        self.proposals = Proposals(
            one.keeping, one.keys, one.clock, UuidV7(), lambda: self.serving.workspace.digests.catalog, self.approving.approvals
        )
        versions = LearnedVersions(one.keeping, one.clock, lambda: self.serving)
        material = Material(one.keeping, self.proposals, NoTrail(), one.keys, one.clock, lambda: self.serving.workspace)
        routes = RouteDesk(one.keeping, self.proposals, NoTrail(), one.keys, one.clock, lambda: self.serving.workspace)
        self.desk = ProposalDesk(self.proposals, one.keeping, material, routes, versions, lambda: self.serving)

    @property
    def file(self) -> Path:
        return self.folder / "learned.yaml"

    @property
    def examples(self) -> tuple[str, ...]:
        return self.serving.workspace.catalog.intents["cancel"].examples

    async def approved(self, *texts: str, threshold: str = "") -> str:
        key_id, _ = await self.learning.keys.key_for("anna")
        found = [Example(f"d_{text}", "cancel", key_id, text) for text in texts]
        kind = Type.THRESHOLD if threshold else Type.NEW_EXAMPLES
        about = {"cancel": {"min_confidence": threshold}} if threshold else {}
        drafted = await self.proposals.draft(kind, found, about, {}, ANNA, "")
        measured = await self.proposals.measured(drafted, self.serving.workspace.digests.catalog, {}, (), ANNA)
        return (await self.proposals.approve(measured.id, RITA, measured.terms["evaluation"]["binding"], "", "")).id

    async def state(self, proposal: str) -> str:
        return (await self.proposals.found(proposal)).state


@pytest.fixture
async def office(tmp_path: Path) -> Office:
    learning = Learning()
    await learning.open()
    return Office(tmp_path, learning)


async def refused(work: object, code: str) -> None:
    with pytest.raises(LockgateError) as told:
        await work  # type: ignore[misc]
    assert told.value.code == code


async def test_what_is_rolled_out_serves_and_goes_again(office: Office) -> None:
    """The second stands on the first, and is taken back before it."""
    first = await office.approved("call it off")
    await office.desk.roll_out(first, RUBEN, "")
    assert office.examples[-1] == "call it off"
    one = office.file.read_bytes()
    second = await office.approved(threshold="0.900000")
    await office.desk.roll_out(second, RUBEN, "")
    assert office.serving.workspace.catalog.intents["cancel"].min_confidence == 0.9
    await refused(office.desk.revert(first, RUBEN, ""), "proposal_not_latest")
    await office.desk.revert(second, RUBEN, "")
    assert office.file.read_bytes() == one
    await office.desk.revert(first, RUBEN, "")
    assert not office.file.exists()
    assert "call it off" not in office.examples


async def test_rolling_out_one_voids_what_was_measured_of_the_others(office: Office) -> None:
    """They were measured over another catalog."""
    first, second = await office.approved("call it off"), await office.approved("drop it")
    await office.desk.roll_out(first, RUBEN, "")
    await refused(office.desk.roll_out(second, RUBEN, ""), "proposal_stale")
    assert await office.state(second) == State.DRAFT


async def test_a_later_threshold_supersedes_the_one_before(office: Office) -> None:
    """Of the same intent."""
    first = await office.approved(threshold="0.800000")
    await office.desk.roll_out(first, RUBEN, "")
    await office.desk.roll_out(await office.approved(threshold="0.900000"), RUBEN, "")
    assert await office.state(first) == State.SUPERSEDED


async def test_what_cannot_serve_is_taken_back_by_itself(office: Office) -> None:
    """The file, what serves, and the proposal are as before."""
    office.serving.refuses = "call it off"
    proposal = await office.approved("call it off")
    await refused(office.desk.roll_out(proposal, RUBEN, ""), "proposal_unfit")
    assert await office.state(proposal) == State.REVERTED
    assert not office.file.exists()
    assert "call it off" not in office.examples


async def test_what_does_not_fit_the_catalog_is_refused_before_anything_happens(office: Office) -> None:
    """Here an example of another intent."""
    proposal = await office.approved("book 0 days of leave")
    await refused(office.desk.roll_out(proposal, RUBEN, ""), "proposal_unfit")
    assert await office.state(proposal) == State.APPROVED
    assert office.serving.reloads == 0


async def test_a_file_that_was_changed_by_hand_is_left_alone(office: Office) -> None:
    """Nothing is rolled out over it, and no round writes it."""
    await office.desk.roll_out(await office.approved("call it off"), RUBEN, "")
    second = await office.approved("drop it")
    office.file.write_text("version: 1\n")
    await refused(office.desk.roll_out(second, RUBEN, ""), "learned_edited")
    await office.desk.reconcile()
    assert office.file.read_text() == "version: 1\n"


async def test_without_a_file_in_the_catalog_nothing_is_rolled_out(office: Office) -> None:
    """The sentence says what to write where."""
    proposal = await office.approved("call it off")
    office.serving.workspace = small_workspace(office.folder / "other", "{min_confidence: 0.7}")
    with pytest.raises(RefusedError, match="names no file for what is learnt"):
        await office.desk.export(proposal, RUBEN)


async def test_another_node_writes_its_own_file(office: Office, tmp_path: Path) -> None:
    """From what all nodes share; and takes it back when it is reverted elsewhere."""
    (tmp_path / "b").mkdir()
    other = Office(tmp_path / "b", office.learning)
    proposal = await office.approved("call it off")
    await office.desk.roll_out(proposal, RUBEN, "")
    await other.desk.reconcile()
    assert other.file.read_bytes() == office.file.read_bytes()
    assert other.examples == office.examples
    await office.desk.revert(proposal, RUBEN, "")
    await other.desk.reconcile()
    assert not other.file.exists()


@pytest.mark.parametrize("reverting", [False, True])
@pytest.mark.parametrize("number", range(8))
async def test_a_crash_at_any_step_leaves_the_one_or_the_other(
    office: Office, monkeypatch: pytest.MonkeyPatch, number: int, reverting: bool
) -> None:
    """What a round then finds is what the proposal's state says: in force, in the file and in what serves, or in none of them."""
    proposal = await office.approved("call it off")
    if reverting:
        await office.desk.roll_out(proposal, RUBEN, "")
    putting, appending, reloading = office.learning.store.put, office.learning.ledger.append_many, office.serving.reload
    left = number

    def crash() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise StateError("crashed", "learning_store_unavailable")

    async def put(lesson: Lesson, entries: Sequence[Entry], owner: str, until_ns: int) -> bool:
        crash()
        return await putting(lesson, entries, owner, until_ns)

    async def append(entries: Sequence[Entry]) -> list[int]:
        crash()
        return await appending(entries)

    async def reload() -> str:
        crash()
        return await reloading()

    with monkeypatch.context() as patch:
        patch.setattr(office.learning.store, "put", put)
        patch.setattr(office.learning.ledger, "append_many", append)
        patch.setattr(office.serving, "reload", reload)
        with contextlib.suppress(StateError):
            await (office.desk.revert if reverting else office.desk.roll_out)(proposal, RUBEN, "")
    office.serving = Serving(office.folder)
    office.start()
    await office.learning.keeping.record()
    await office.desk.reconcile()
    in_force = await office.state(proposal) == State.ROLLED_OUT
    assert ("call it off" in office.examples, office.file.exists()) == (in_force, in_force)
    assert office.learning.leaves[-1]["event"] in ("learned_in_force", "proposal_approved")
    await office.desk.reconcile()
    assert office.serving.reloads <= 1
