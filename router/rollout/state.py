"""The way of a candidate: proposed, approved by somebody else, brought in step by step, and in force or taken back. Nothing here does
anything: each move says what follows, or refuses."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import orjson

from router.config.rollouts import RolloutConfig
from router.decision import Subject
from router.errors import RefusedError
from router.identity.break_glass import METHOD as BREAK_GLASS
from router.ports import Entry
from router.rollout.stage import NOBODY, Stage, stage_of


class State(StrEnum):
    PROPOSED = "proposed"
    RUNNING = "running"
    PROMOTED = "promoted"
    COMPLETED = "completed"  # tried as it was planned, and not meant to be in force
    ROLLED_BACK = "rolled_back"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"  # the policies that it was to follow are not in force any more


class Event(StrEnum):
    PROPOSED = "rollout_proposed"
    APPROVED = "rollout_approved"
    STEPPED = "rollout_stepped"
    PROMOTED = "rollout_promoted"
    COMPLETED = "rollout_completed"
    ROLLED_BACK = "rollout_rolled_back"
    REJECTED = "rollout_rejected"
    WITHDRAWN = "rollout_withdrawn"
    SUPERSEDED = "rollout_superseded"


OPEN = frozenset((State.PROPOSED, State.RUNNING))
AFTER = {
    Event.PROPOSED: State.PROPOSED,
    Event.APPROVED: State.RUNNING,
    Event.STEPPED: State.RUNNING,
    Event.PROMOTED: State.PROMOTED,
    Event.COMPLETED: State.COMPLETED,
    Event.ROLLED_BACK: State.ROLLED_BACK,
    Event.REJECTED: State.REJECTED,
    Event.WITHDRAWN: State.WITHDRAWN,
    Event.SUPERSEDED: State.SUPERSEDED,
}


@dataclass(frozen=True, slots=True)
class Change:
    """One move, never altered. `entry` is its record, whose sealed part says who did it; `recorded` that it is in the ledger. `told` are
    the figures and reasons that the record has."""

    event: Event
    at_ns: int
    step: int
    entry: Entry
    told: Mapping[str, Any]
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    """`archive` is the digest of the candidate's bytes, `policy` the one that its verdicts bear, `config` the digest of the configuration
    with it. `over` and `over_policy` are those of what it was proposed over. `author` and `approver` are ids of people's keys,
    `author_acting` those of whoever acted for the author."""

    id: str
    created_ns: int
    archive: str
    policy: str
    config: str
    revision: str
    sequence: int | None
    over: str
    over_policy: str
    plan: RolloutConfig
    author: str
    approver: str = ""
    author_acting: tuple[str, ...] = ()
    history: tuple[Change, ...] = ()

    @property
    def state(self) -> State:
        return AFTER[self.history[-1].event]

    @property
    def step(self) -> int:
        """Which step of the plan it is at, from 0; before and after them the last one that it was at, and -1 where there was none."""
        return self.history[-1].step

    @property
    def stage(self) -> Stage:
        return stage_of(self.plan.steps[self.step]) if self.state is State.RUNNING else NOBODY

    @property
    def digest(self) -> str:
        """What an approval is about: these very policies, over those, by this plan."""
        told = [self.id, self.archive, self.policy, self.over, self.plan.model_dump(mode="json", by_alias=True)]
        return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def with_change(self, change: Change) -> Rollout:
        return replace(self, history=(*self.history, change))

    def all_recorded(self) -> Rollout:
        return replace(self, history=tuple(replace(each, recorded=True) for each in self.history))


def check_somebody(subject: Subject) -> None:
    """That two of them are two people can be told. Raises RefusedError."""
    if subject.authenticated_by == BREAK_GLASS:
        sentence = "Break-glass is nobody in particular, so it proposes nothing and says yes to nothing; it can go back to a version."
        raise RefusedError(sentence, "self_approval", 403)


def check_approval(rollout: Rollout, people: Collection[str], digest: str) -> None:
    """`people`, here and below: keys of who does it, and of whoever acts for them. Raises RefusedError."""
    _must_be(rollout, State.PROPOSED, "approved")
    _somebody_else(rollout, people)
    if digest != rollout.digest:
        raise RefusedError("That is the digest of something else than what was proposed; look at it again.", "rollout_changed", 409)


def check_rejection(rollout: Rollout, people: Collection[str]) -> None:
    """Raises RefusedError."""
    _must_be(rollout, State.PROPOSED, "rejected")
    _somebody_else(rollout, people)


def check_withdrawal(rollout: Rollout, by: str) -> None:
    """Raises RefusedError."""
    _must_be(rollout, State.PROPOSED, "withdrawn")
    if by != rollout.author:
        raise RefusedError("Only who proposed it can withdraw it.", "rollout_not_yours", 403)


def check_advance(rollout: Rollout, people: Collection[str]) -> None:
    """Raises RefusedError."""
    _must_be(rollout, State.RUNNING, "taken further")
    _somebody_else(rollout, people)


def check_stop(rollout: Rollout) -> None:
    """Anybody who may at all. Raises RefusedError."""
    _must_be(rollout, State.RUNNING, "rolled back")


def following(rollout: Rollout) -> Event:
    """What comes when a step has ended well."""
    if rollout.step + 1 < len(rollout.plan.steps):
        return Event.STEPPED
    return Event.PROMOTED if rollout.plan.promote else Event.COMPLETED


def _must_be(rollout: Rollout, state: State, what: str) -> None:
    if rollout.state is not state:
        raise RefusedError(f"It is {rollout.state.replace('_', ' ')}, and cannot be {what}.", "rollout_state", 409)


def _somebody_else(rollout: Rollout, people: Collection[str]) -> None:
    if {rollout.author, *rollout.author_acting} & set(people):
        raise RefusedError("Who proposed it cannot be who says yes to it, nor in anybody's name.", "self_approval", 403)
