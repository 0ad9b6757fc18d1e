"""Whatever fails in a rollout: nobody is decided for without a record, a roll back takes effect, and nothing is stuck."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from router.decision import Subject
from router.errors import AuditError, LockgateError, RefusedError, StateError
from router.rollout.stage import NOBODY
from router.rollout.state import AFTER as AFTERWARDS
from router.rollout.state import Event, Rollout, State
from tests.faults.rollout_desk import (
    ADA,
    AFTER,
    BEFORE,
    CANDIDATE,
    DIGEST,
    OWN,
    PAT,
    Clock,
    Desk,
    Died,
    Faults,
    compared,
    is_over,
    leaves,
    running,
    story,
    tried,
)
from tests.unit.audit.ledgers import verified

# The calls that a rollout makes on its way into force: proposed, approved, stepped twice, promoted.
ON_ITS_WAY = [
    *(("append", number) for number in range(1, 6)),
    *(("put", number) for number in range(1, 6)),
    ("begin", 1),
    *(("step", number) for number in range(1, 3)),
    *(("figures", number) for number in range(1, 4)),
    ("override", 1),
    ("put_in_force", 1),
]
DURABLE = [each for each in ON_ITS_WAY if each[0] in ("append", "put", "override")]
# When it is taken back at its second step.
TAKING_BACK = [("append", 4), ("put", 4), ("step", 2), ("end", 1), ("put", 5)]


async def driven(desk: Desk) -> None:
    """People and rounds do what there is to do, until nothing is."""
    newest = desk.newest()
    if newest is None or is_over(newest.state):
        await tried(desk.proposed)
    newest = desk.newest()
    if newest is not None and newest.state is State.PROPOSED:
        await tried(lambda: desk.service.approve(newest.id, PAT, newest.digest, "yes"))
    await desk.rounds(12)


async def settled(desk: Desk, folder: Path) -> None:
    """What has to hold whatever happened, once all faults are gone."""
    await desk.rounds(3)
    newest = desk.newest()
    assert newest is not None
    assert is_over(newest.state), newest.state
    assert (desk.workers.candidate, desk.workers.stage) == (None, NOBODY)
    assert desk.workers.unapproved == 0
    assert desk.workers.in_force == (DIGEST if newest.state is State.PROMOTED else OWN)
    override = desk.versions.override()
    assert (override.archive if override is not None else OWN) == desk.workers.in_force
    assert all(change.recorded for rollout in desk.files.all() for change in rollout.history)
    for rollout in desk.files.all():
        moves = [f"{change.event} {change.step + 1}" for change in rollout.history]
        told = story(folder, rollout.id)
        assert [each for each in told if each in moves] == moves
    if newest.state is not State.PROMOTED:
        await desk.proposed()


def checked(folder: Path) -> None:
    report = verified(folder)
    assert not report.faults, report.faults


@pytest.mark.parametrize("kind", [BEFORE, AFTER])
@pytest.mark.parametrize("point", ON_ITS_WAY, ids=lambda each: f"{each[0]}-{each[1]}")
async def test_one_failure_on_its_way(tmp_path: Path, point: tuple[str, int], kind: str) -> None:
    """It comes into force all the same, or is over; nobody was decided for without a record."""
    faults = Faults(point, kind)
    async with running(tmp_path, faults) as desk:
        await driven(desk)
        assert faults.calls[point[0]] >= point[1], "the fault was never met"
        await settled(desk, tmp_path)
    checked(tmp_path)


@pytest.mark.parametrize("kind", [BEFORE, AFTER])
@pytest.mark.parametrize("point", DURABLE, ids=lambda each: f"{each[0]}-{each[1]}")
async def test_a_crash_around_each_durable_write(tmp_path: Path, point: tuple[str, int], kind: str) -> None:
    """The next process goes on with what it finds; what had its effect has its record."""
    clock = Clock()
    async with running(tmp_path, Faults(point, kind, death=True), clock) as desk:
        with pytest.raises(Died):
            await driven(desk)
        assert desk.workers.unapproved == 0
    async with running(tmp_path, Faults(), clock) as desk:
        await desk.service.resume()
        await driven(desk)
        await settled(desk, tmp_path)
        newest = desk.newest()
        assert newest is not None
        assert newest.state is State.PROMOTED
    checked(tmp_path)


@pytest.mark.parametrize("by_hand", [True, False], ids=["by hand", "by a guard"])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for long"])
@pytest.mark.parametrize("kind", [BEFORE, AFTER])
@pytest.mark.parametrize("point", TAKING_BACK, ids=lambda each: f"{each[0]}-{each[1]}")
async def test_taking_back_always_takes_effect(tmp_path: Path, point: tuple[str, int], kind: str, lasting: bool, by_hand: bool) -> None:
    """At once, whatever else fails; its file and its record follow when they can."""
    faults = Faults()
    async with running(tmp_path, faults) as desk:
        rollout = await desk.approved()
        await desk.rounds(1)
        assert desk.workers.stage.share == 0.1
        faults.point, faults.kind, faults.lasting = point, kind, lasting
        if by_hand:
            await tried(lambda: desk.service.roll_back(rollout.id, PAT, "no"), 1)
        else:
            desk.workers.counted = [compared(100, 90)]
            await desk.rounds(1, 1)
        assert desk.workers.stage == NOBODY
        assert desk.service.found(rollout.id).state is State.ROLLED_BACK
        await desk.rounds(5)
        assert desk.workers.stage == NOBODY
        faults.point = None
        await settled(desk, tmp_path)
        kept = desk.files.get(rollout.id)
        assert kept is not None
        assert kept.state is State.ROLLED_BACK
    checked(tmp_path)


async def test_a_crash_while_it_is_taken_back_ends_it_or_begins_its_step_anew(tmp_path: Path) -> None:
    """Until its file says so nobody was told that it is over."""
    for number, (point, kind) in enumerate((point, kind) for point in TAKING_BACK for kind in (BEFORE, AFTER)):
        folder, clock, faults = tmp_path / str(number), Clock(), Faults()
        folder.mkdir()
        async with running(folder, faults, clock) as desk:
            rollout = await desk.approved()
            await desk.rounds(1)
            faults.point, faults.kind, faults.death = point, kind, True
            with pytest.raises(Died):
                await desk.service.roll_back(rollout.id, PAT, "no")
        async with running(folder, Faults(), clock) as desk:
            await desk.service.resume()
            if point == ("put", 4) and kind == BEFORE:
                assert desk.workers.candidate == rollout.id
                await desk.service.roll_back(rollout.id, PAT, "no")
            assert desk.workers.candidate is None
            await settled(desk, folder)
        checked(folder)


@pytest.mark.parametrize("point", ["put", "put_in_force", "override", "step"])
async def test_what_fails_each_second_is_not_recorded_each_second(tmp_path: Path, point: str) -> None:
    """A disk that is full for an hour must not fill the ledger."""
    faults = Faults()
    async with running(tmp_path, faults) as desk:
        await desk.approved()
        faults.point, faults.lasting = (point, 1), True
        await desk.rounds(60)
        told = [leaf["event"] for leaf in leaves(tmp_path)]
        assert all(told.count(event) <= 2 for event in AFTERWARDS), told
        faults.point = None
        await desk.rounds(10)
        await settled(desk, tmp_path)
        assert desk.workers.in_force == DIGEST


async def test_a_ledger_that_is_away_keeps_no_guard_from_its_work(tmp_path: Path) -> None:
    """The move is recorded once the ledger is there again."""
    faults = Faults()
    async with running(tmp_path, faults) as desk:
        rollout = await desk.approved()
        await desk.rounds(2)
        assert desk.workers.stage.share == 1.0
        faults.point, faults.lasting = ("append", 1), True
        desk.workers.counted = [compared(100, 90)]
        await desk.rounds(1, 1)
        assert desk.workers.candidate is None
        assert "rollout_rolled_back 3" not in story(tmp_path, rollout.id)
        faults.point = None
        await desk.rounds(1)
        assert story(tmp_path, rollout.id)[-1] == "rollout_rolled_back 3"


async def test_no_proposal_comes_into_the_ledger_before_the_end_of_the_one_before(tmp_path: Path) -> None:
    """Who reads the ledger in its order sees one at a time."""
    faults = Faults()
    async with running(tmp_path, faults) as desk:
        first = await desk.approved()
        faults.point = ("append", faults.calls["append"] + 1)
        await desk.service.roll_back(first.id, PAT, "")
        second = await desk.proposed()
        told = [(leaf["id"], leaf["event"]) for leaf in leaves(tmp_path)]
        assert told.index((first.id, "rollout_rolled_back")) < told.index((second.id, "rollout_proposed"))


async def test_what_was_left_out_cannot_be_taken_further_by_hand(tmp_path: Path) -> None:
    """A changed workspace was taken up a moment ago, and no round has said so yet."""
    async with running(tmp_path, Faults()) as desk:
        rollout = await desk.approved()
        desk.workers.in_force = "1" * 64
        desk.service.cannot_go_on(Event.SUPERSEDED, "rollout_superseded")
        with pytest.raises(RefusedError, match="cannot go on"):
            await desk.service.advance(rollout.id, PAT, "go")
        assert desk.service.found(rollout.id).state is State.SUPERSEDED
        assert desk.workers.candidate is None


async def test_a_changed_workspace_that_no_worker_could_take_up_ends_nothing(tmp_path: Path) -> None:
    """What it was proposed over is still in force; and once another is, it ends."""
    async with running(tmp_path, Faults()) as desk:
        rollout = await desk.approved()
        desk.service.cannot_go_on(Event.SUPERSEDED, "rollout_superseded")
        await desk.rounds(1, 1)
        assert desk.service.found(rollout.id).state is State.RUNNING
        desk.workers.in_force = "1" * 64
        await desk.rounds(1, 1)
        assert desk.service.found(rollout.id).state is State.SUPERSEDED


async def test_who_proposed_it_says_no_yes_in_anothers_name(tmp_path: Path) -> None:
    """Nor does the agent that proposed it for them."""
    by_agent = replace(ADA, claims={"act": {"sub": "agent"}})
    async with running(tmp_path, Faults()) as desk:
        rollout = await desk.proposed(by=by_agent)
        for who in (
            replace(PAT, claims={"act": {"sub": "ada"}}),
            Subject("agent", "service"),
            replace(PAT, claims={"act": {"sub": "agent"}}),
        ):
            with pytest.raises(RefusedError) as caught:
                await desk.service.approve(rollout.id, who, rollout.digest, "")
            assert caught.value.code == "self_approval"
        await desk.service.approve(rollout.id, PAT, rollout.digest, "yes")
        (agent,) = desk.service.found(rollout.id).author_acting
        assert leaves(tmp_path)[-1]["details"]["author_acting"] == [agent]


async def test_break_glass_neither_proposes_nor_says_yes(tmp_path: Path) -> None:
    """It may be whoever proposed it. Whoever has to act at once ends the rollout, or goes back."""
    glass = Subject("break-glass", "user", ("admin",), authenticated_by="break_glass")
    async with running(tmp_path, Faults()) as desk:
        with pytest.raises(RefusedError) as refused:
            await desk.proposed(by=glass)
        rollout = await desk.proposed()
        for move in (
            lambda: desk.service.approve(rollout.id, glass, rollout.digest, ""),
            lambda: desk.service.advance(rollout.id, glass, ""),
        ):
            with pytest.raises(RefusedError) as caught:
                await move()
            assert caught.value.code == refused.value.code == "self_approval"
        await desk.service.approve(rollout.id, PAT, rollout.digest, "yes")
        assert (await desk.service.roll_back(rollout.id, replace(glass, claims={"act": {"sub": "ada"}}), "")).state is State.ROLLED_BACK


async def test_who_acts_for_who_goes_back_is_on_record(tmp_path: Path) -> None:
    """As for every other move."""
    async with running(tmp_path, Faults()) as desk:
        archive = desk.versions.keep_archive(CANDIDATE)
        await desk.service.go_back(archive, DIGEST, replace(PAT, claims={"act": {"sub": "agent"}}), "back")
        details = next(each["details"] for each in leaves(tmp_path) if each["event"] == "policy_rolled_back")
        assert len(details["acting"]) == 1
        assert details["acting"] != [details["by"]]


async def test_a_candidate_that_could_not_begin_for_a_reason_that_nobody_foresaw_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers may have it, and no guard would watch it: it would be approved, and neither running nor over, until a restart."""
    async with running(tmp_path, Faults()) as desk:
        rollout = await desk.proposed()
        begin = desk.workers.begin

        async def begun(found: Rollout) -> None:
            await begin(found)
            raise OSError("no more files")

        monkeypatch.setattr(desk.workers, "begin", begun)
        with pytest.raises(OSError, match="no more files"):
            await desk.service.approve(rollout.id, PAT, rollout.digest, "yes")
        assert desk.service.found(rollout.id).state is State.ROLLED_BACK
        assert (desk.workers.candidate, desk.workers.stage) == (None, NOBODY)
        assert leaves(tmp_path)[-1]["details"]["reason"] == "candidate_refused"


async def test_one_that_begins_is_watched_also_where_nobody_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who said yes has gone, by a connection that broke off say, when workers have just taken it up."""
    async with running(tmp_path, Faults()) as desk:
        rollout = await desk.proposed()
        begin, begun, let = desk.workers.begin, asyncio.Event(), asyncio.Event()

        async def slow(found: Rollout) -> None:
            await begin(found)
            begun.set()
            await let.wait()

        monkeypatch.setattr(desk.workers, "begin", slow)
        approving = asyncio.create_task(desk.service.approve(rollout.id, PAT, rollout.digest, "yes"))
        await begun.wait()
        approving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await approving
        let.set()
        desk.workers.counted = [compared(100, 90)]
        await desk.rounds(1, 1)
        assert desk.service.found(rollout.id).state is State.ROLLED_BACK
        assert (desk.workers.candidate, desk.workers.stage) == (None, NOBODY)
        assert leaves(tmp_path)[-1]["details"]["reason"] == "guard_flips"


async def test_policies_that_changed_while_it_began_end_it(tmp_path: Path) -> None:
    """It would be compared with others than it was proposed over."""
    async with running(tmp_path, Faults()) as desk:
        rollout = await desk.proposed()
        desk.workers.reloading = "1" * 64
        with pytest.raises(RefusedError, match="Other policies are in force"):
            await desk.service.approve(rollout.id, PAT, rollout.digest, "")
        assert (desk.workers.candidate, desk.service.running) == (None, None)
        assert desk.service.found(rollout.id).state is State.SUPERSEDED


async def test_what_ends_before_it_began_has_no_figures_of_the_one_before(tmp_path: Path) -> None:
    """Its record would say that requests were compared."""
    async with running(tmp_path, Faults()) as desk:
        first = await desk.approved()
        await desk.rounds(1, 1)
        await desk.service.roll_back(first.id, PAT, "")
        second = await desk.proposed()
        desk.workers.in_force = "1" * 64
        with pytest.raises(RefusedError):
            await desk.service.approve(second.id, PAT, second.digest, "")
        assert leaves(tmp_path)[-1]["event"] == "rollout_superseded"
        assert leaves(tmp_path)[-1]["details"]["compared"] == 0


@pytest.mark.parametrize("kind", [BEFORE, AFTER])
@pytest.mark.parametrize("name", ["append", "override", "put_in_force"])
async def test_going_back_is_recorded_before_it_is_in_force(tmp_path: Path, name: str, kind: str) -> None:
    """And what was rolled out is taken back even where going back fails."""
    faults = Faults()
    async with running(tmp_path, faults) as desk:
        earlier = desk.versions.keep_archive(b"earlier")
        await desk.approved()
        await desk.rounds(1)
        ended = 2 if name == "append" else 1  # the first is that the rollout is taken back
        faults.point, faults.kind = (name, faults.calls[name] + ended), kind
        try:
            await desk.service.go_back(earlier, "policy earlier", PAT, "back")
        except (AuditError, StateError, LockgateError):
            assert (desk.workers.candidate, desk.workers.stage) == (None, NOBODY)
            await desk.service.go_back(earlier, "policy earlier", PAT, "back")
        assert desk.workers.in_force == earlier
        assert desk.workers.unapproved == 0
        assert any(leaf["event"] == "policy_rolled_back" for leaf in leaves(tmp_path))
    checked(tmp_path)
