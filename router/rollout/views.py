"""Rollouts and versions as the control API shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from router.audit.records.canonical import timestamp
from router.bundle.versions import Override, Version
from router.ports import Entry
from router.rollout.figures import Figures
from router.rollout.guards import SLOW
from router.rollout.records import counts
from router.rollout.stage import stage_of
from router.rollout.state import Change, Rollout, State
from router.settings import duration_text

Json = dict[str, Any]


class People(Protocol):
    async def opened(self, entry: Entry) -> dict[str, str]:
        """The personal part of a record; empty where there is none, or none that its person's key opens."""


def summary(rollout: Rollout) -> Json:
    steps = rollout.plan.steps
    return {
        "id": rollout.id,
        "state": rollout.state.value,
        "step": rollout.step + 1,
        "steps": len(steps),
        "stage": str(rollout.stage) if rollout.state is State.RUNNING else "",
        "revision": rollout.revision,
        "policy_digest": rollout.policy,
        "created": timestamp(rollout.created_ns),
        "reason": rollout.history[-1].told.get("reason"),
    }


async def whole(rollout: Rollout, people: People, seen: Figures | None) -> Json:
    """`seen` is of the step that runs."""
    history = [await _change(each, people) for each in rollout.history]
    named = {each.entry.key_id: told["by"] for each, told in zip(rollout.history, history, strict=True) if told["by"]}
    plan = rollout.plan
    return {
        **summary(rollout),
        "digest": rollout.digest,
        "archive": rollout.archive,
        "config_digest": rollout.config,
        "sequence": rollout.sequence,
        "over_policy_digest": rollout.over_policy,
        "author": _person(rollout.author, named),
        "approver": _person(rollout.approver, named),
        "plan": [_step(each) for each in plan.steps],
        "promote": plan.promote,
        "least": plan.least,
        "compare": plan.compare,
        "guards": plan.guards.model_dump(mode="json"),
        "seen": None if seen is None else figures(seen),
        "history": history,
    }


def figures(seen: Figures) -> Json:
    """Times are in milliseconds: what 95 % of the evaluations stay below."""
    named = sorted(seen.flipped.items(), key=lambda each: (-each[1], each[0]))
    return {
        **counts(seen),
        "evaluations": seen.candidate.evaluations,
        "slow_ms": round(seen.candidate.quantile_ns(SLOW) / 1e6, 4),
        "slow_ms_in_force": round(seen.current.quantile_ns(SLOW) / 1e6, 4),
        "flipped": [{"intent": intent, "what": what, "reason": reason, "requests": count} for (intent, what, reason), count in named],
    }


def version(each: Version, *, in_force: bool) -> Json:
    return {
        "version": each.archive[:12],
        "archive": each.archive,
        "policy_digest": each.policy,
        "revision": each.revision,
        "sequence": each.sequence,
        "since": timestamp(each.since_ns),
        "by": each.by,
        "in_force": in_force,
    }


def override(each: Override | None) -> Json | None:
    if each is None:
        return None
    return {
        "version": each.archive[:12],
        "archive": each.archive,
        "why": each.why,
        "record": each.record,
        "since": timestamp(each.since_ns),
    }


def _step(step: Any) -> Json:
    return {"stage": str(stage_of(step)), "tenants": list(step.tenants or ()), "for": duration_text(step.lasts) if step.lasts else None}


def _person(key_id: str, named: Mapping[str, str]) -> Json | None:
    return {"key_id": key_id, "name": named.get(key_id)} if key_id else None


async def _change(change: Change, people: People) -> Json:
    told = await people.opened(change.entry)
    return {
        "event": change.event.value,
        "at": timestamp(change.at_ns),
        "step": change.step + 1,
        "by": told.get("actor"),
        "comment": told.get("comment"),
        **change.told,
        "recorded": change.recorded,
    }
