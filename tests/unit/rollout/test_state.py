"""Who may do what with a rollout, and what comes after what."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from router.config.rollouts import RolloutConfig
from router.errors import RefusedError, StateError
from router.rollout import records, state
from router.rollout.stage import NOBODY, Stage
from router.rollout.state import Event, Rollout, State
from router.rollout.store import RolloutFiles

PLAN = RolloutConfig.model_validate({"steps": [{"for": "1m"}, {"share": "5%"}]})
ADA = records.Person("ada", "k-ada", b"1" * 32)
PAT = records.Person("pat", "k-pat", b"2" * 32)


def rollout(*events: Event, plan: RolloutConfig = PLAN) -> Rollout:
    made = Rollout("id1", 7, "a" * 64, "b" * 64, "c" * 64, "r2", 2, "d" * 64, "e" * 64, plan, ADA.key_id)
    step = -1
    for event in (Event.PROPOSED, *events):
        step += event in (Event.APPROVED, Event.STEPPED)
        made = made.with_change(records.change(made, event, 8, step, {}, PAT if event is Event.APPROVED else None, "because"))
    return made


def test_its_way() -> None:
    """What it is, and for whom the candidate decides, follows from what happened."""
    assert (rollout().state, rollout().stage, rollout().step) == (State.PROPOSED, NOBODY, -1)
    assert (rollout(Event.APPROVED).state, rollout(Event.APPROVED).stage) == (State.RUNNING, NOBODY)
    assert rollout(Event.APPROVED, Event.STEPPED).stage == Stage(0.05)
    for event in (Event.PROMOTED, Event.ROLLED_BACK, Event.SUPERSEDED):
        assert rollout(Event.APPROVED, Event.STEPPED, event).stage == NOBODY


def test_what_follows_a_step() -> None:
    """The next one; after the last it is in force, unless it was only to be tried."""
    tried = PLAN.model_copy(update={"promote": False})
    assert state.following(rollout(Event.APPROVED)) is Event.STEPPED
    assert state.following(rollout(Event.APPROVED, Event.STEPPED)) is Event.PROMOTED
    assert state.following(rollout(Event.APPROVED, Event.STEPPED, plan=tried)) is Event.COMPLETED


@pytest.mark.parametrize(
    ("check", "made", "code"),
    [
        (lambda found: state.check_approval(found, ADA.people, found.digest), rollout(), "self_approval"),
        (lambda found: state.check_approval(found, PAT.people, "0" * 64), rollout(), "rollout_changed"),
        (lambda found: state.check_approval(found, PAT.people, found.digest), rollout(Event.APPROVED), "rollout_state"),
        (lambda found: state.check_approval(found, PAT.people, found.digest), rollout(Event.WITHDRAWN), "rollout_state"),
        (lambda found: state.check_rejection(found, ADA.people), rollout(), "self_approval"),
        (lambda found: state.check_withdrawal(found, PAT.key_id), rollout(), "rollout_not_yours"),
        (lambda found: state.check_withdrawal(found, ADA.key_id), rollout(Event.APPROVED), "rollout_state"),
        (lambda found: state.check_advance(found, ADA.people), rollout(Event.APPROVED), "self_approval"),
        (lambda found: state.check_advance(found, PAT.people), rollout(), "rollout_state"),
        (state.check_stop, rollout(), "rollout_state"),
        (state.check_stop, rollout(Event.APPROVED, Event.PROMOTED), "rollout_state"),
    ],
)
def test_what_may_not_be(check: Callable[[Rollout], None], made: Rollout, code: str) -> None:
    """Each with its reason."""
    with pytest.raises(RefusedError) as caught:
        check(made)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("author_acting", "people"),
    [(("k-bot",), ("k-bot",)), (("k-bot",), ("k-pat", "k-bot")), ((), ("k-pat", "k-ada"))],
    ids=["the author's own hand", "by the same hand", "the author in another's name"],
)
def test_nobody_says_yes_to_their_own_in_another_name(author_acting: tuple[str, ...], people: tuple[str, ...]) -> None:
    """Who acted when it was proposed, and who acts when it is approved, are the people."""
    for made, check in (
        (rollout(), lambda found: state.check_approval(found, people, found.digest)),
        (rollout(), lambda found: state.check_rejection(found, people)),
        (rollout(Event.APPROVED), lambda found: state.check_advance(found, people)),
    ):
        with pytest.raises(RefusedError) as caught:
            check(replace(made, author_acting=author_acting))
        assert caught.value.code == "self_approval"


def test_what_may_be() -> None:
    """Somebody else says yes or no, the author takes it back before, anybody afterwards."""
    state.check_approval(rollout(), PAT.people, rollout().digest)
    state.check_rejection(rollout(), PAT.people)
    state.check_withdrawal(rollout(), ADA.key_id)
    state.check_advance(rollout(Event.APPROVED), PAT.people)
    state.check_stop(rollout(Event.APPROVED))


def test_an_approval_is_about_everything_that_matters() -> None:
    """Another archive, base or plan has another digest; that it went on has not."""
    one = rollout()
    assert rollout(Event.APPROVED).digest == one.digest
    others = {
        replace(one, archive="f" * 64).digest,
        replace(one, over="f" * 64).digest,
        replace(one, id="id2").digest,
        replace(one, plan=PLAN.model_copy(update={"least": 1})).digest,
    }
    assert len(others | {one.digest}) == 5


def test_files_keep_all_of_it(tmp_path: Path) -> None:
    """What is read is what was written; newest first; nothing else is taken for one."""
    files = RolloutFiles(tmp_path)
    assert (list(files.all()), files.get("id1"), files.get("../id1")) == ([], None, None)
    made = rollout(Event.APPROVED, Event.STEPPED)
    files.put(made)
    files.put(replaced(replace(made, author_acting=("k-bot",)), "id2"))
    assert files.get("id1") == made
    assert next(files.all()).author_acting == ("k-bot",)
    assert [each.id for each in files.all()] == ["id2", "id1"]
    assert not next(files.all()).history[0].recorded
    assert all(each.recorded for each in made.all_recorded().history)


def replaced(made: Rollout, identifier: str) -> Rollout:
    return replace(made, id=identifier)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2}', b'{"version": 1}', b"\xff"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    """And not taken for none: somebody's candidate may be in it."""
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "rollouts/id1.json").write_bytes(content)
    with pytest.raises(StateError, match=r"id1\.json") as caught:
        list(RolloutFiles(tmp_path).all())
    assert caught.value.code == "rollout_unreadable"


def test_records_name_nobody() -> None:
    """Who acted is sealed; keys stand for people."""
    for each in rollout(Event.APPROVED).history:
        assert b"ada" not in re.sub(rb"[0-9a-f]{32,}", b"", each.entry.leaf.replace(b"k-ada", b""))  # digests have any letters by chance
        assert b"because" not in each.entry.leaf
        assert b'"author":"k-ada"' in each.entry.leaf
    assert rollout(Event.APPROVED).history[1].entry.key_id == PAT.key_id
