"""The ledger's records of rollouts. Each names the key of who proposed it and of who approved it; who acted is sealed under their own
key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from router.audit.records.record import system_entry
from router.ports import Entry
from router.rollout.figures import Figures
from router.rollout.stage import stage_of
from router.rollout.state import Change, Event, Rollout

ROLLED_BACK_TO, RELEASED, OVERRIDE_ENDED = "policy_rolled_back", "policy_released", "policy_override_ended"


@dataclass(frozen=True, slots=True)
class Person:
    """`id` is the subject's; `key_id` and `key` are of the key that what is about them is sealed under. `acting`: keys of those who act for
    them."""

    id: str
    key_id: str
    key: bytes = field(repr=False)
    acting: tuple[str, ...] = ()

    @property
    def people(self) -> frozenset[str]:
        return frozenset((self.key_id, *self.acting))


def change(
    rollout: Rollout, event: Event, at_ns: int, step: int, told: Mapping[str, Any], by: Person | None = None, comment: str = ""
) -> Change:
    """`told`: further details, nothing personal. Nobody is `by` for what Lockgate does by itself."""
    acting = {"author_acting": list(rollout.author_acting)} if rollout.author_acting else {}
    acting |= {"acting": list(by.acting)} if by is not None and by.acting else {}
    details = {**_of(rollout, step), "author": rollout.author, "approver": rollout.approver, **acting, **told}
    return Change(event, at_ns, step, _entry(event, at_ns, details, rollout.id, by, comment), dict(told))


def going_back(event: str, record_id: str, at_ns: int, details: Mapping[str, Any], by: Person, comment: str) -> Entry:
    """A step of somebody who puts an earlier version in force, or ends that."""
    acting = {"acting": list(by.acting)} if by.acting else {}
    return _entry(event, at_ns, {**details, "by": by.key_id, **acting}, record_id, by, comment)


def counts(seen: Figures) -> dict[str, Any]:
    """What a record says of a step."""
    return {
        "compared": seen.compared,
        "flips": seen.flips,
        "looser": seen.looser,
        "otherwise": seen.otherwise,
        "skipped": seen.skipped,
        "decided": seen.decided,
        "failures": seen.candidate.failures,
    }


def _of(rollout: Rollout, step: int) -> dict[str, Any]:
    stage = str(stage_of(rollout.plan.steps[step])) if step >= 0 else ""
    return {
        "rollout": rollout.id,
        "digest": rollout.digest,
        "archive": rollout.archive,
        "policy_digest": rollout.policy,
        "config_digest": rollout.config,
        "revision": rollout.revision,
        "over_policy_digest": rollout.over_policy,
        "step": step + 1,
        "steps": len(rollout.plan.steps),
        "stage": stage,
    }


def _entry(event: str, at_ns: int, details: Mapping[str, Any], record_id: str, by: Person | None, comment: str) -> Entry:
    personal = {"actor": by.id, "comment": comment} if by is not None else None
    return system_entry(event, at_ns, details, record_id, personal, *((by.key_id, by.key) if by is not None else ()))
