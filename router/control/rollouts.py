"""Bringing policies in gradually, and going back: who proposes is never who says yes to it."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Request
from pydantic import ValidationError

from router.config.rollouts import RolloutConfig
from router.control.failures import answer
from router.control.guarded import Caller, Services, guarded_router, needs
from router.control.models import Comment, GoingBack, RolloutApproval, Rollouts, Versions
from router.control.parameters import Identifier, Limit
from router.control.permissions import Permission
from router.control.policy import BUNDLE, sent_files, trying
from router.control.services import ControlServices, PolicyRollouts
from router.errors import ConfigError, RefusedError

router = guarded_router()
PLAN, COMMENT = "plan", "comment"
MOST_COMMENT, MOST_PLAN = 2000, 64 << 10  # bytes


@router.get("/v1/policy/rollouts", **needs(Permission.POLICY_READ))
async def rollouts(services: Services, limit: Limit = 100) -> Rollouts:
    """Newest first."""
    return Rollouts(rollouts=[dict(each) for each in await rollouts_of(services).list(limit)])


@router.get("/v1/policy/rollouts/{rollout_id}", **needs(Permission.POLICY_READ))
async def show(rollout_id: Identifier, services: Services) -> dict[str, Any]:
    """One, with what was seen so far and the digest that an approval must name."""
    return dict(await rollouts_of(services).show(rollout_id))


@router.post(
    "/v1/policy/rollouts", status_code=201, response_model=dict[str, Any], **trying(Permission.POLICY_PROPOSE, BUNDLE, PLAN, COMMENT)
)
async def propose(request: Request, services: Services, caller: Caller) -> Any:
    """Looks at the `bundle` (it must fit this workspace, and its tests must pass) and proposes it. `plan` is JSON, as `policy.rollout` has
    it; without one that of the configuration. Nothing happens before somebody else approves it."""
    rolling = rollouts_of(services)
    given = await sent_files(request, frozenset({BUNDLE, PLAN, COMMENT}), (BUNDLE,))
    comment = given.get(COMMENT, b"")
    if len(comment) > MOST_COMMENT:
        raise RefusedError(f"A comment can have at most {MOST_COMMENT} bytes.", "request_invalid", 422)
    plan = plan_of(given[PLAN]) if PLAN in given else None
    try:
        return dict(await rolling.propose(given[BUNDLE], plan, caller.subject, comment.decode("utf-8", "replace")))
    except ConfigError as error:
        return answer(422, "candidate_refused", "The candidate cannot be used here.", faults=list(error.faults))


@router.post("/v1/policy/rollouts/{rollout_id}/approve", **needs(Permission.POLICY_APPROVE))
async def approve(rollout_id: Identifier, wanted: RolloutApproval, services: Services, caller: Caller) -> dict[str, Any]:
    """Begins with the first step. Nobody can approve what they proposed."""
    return dict(await rollouts_of(services).approve(rollout_id, caller.subject, wanted.digest, wanted.comment))


@router.post("/v1/policy/rollouts/{rollout_id}/reject", **needs(Permission.POLICY_APPROVE))
async def reject(rollout_id: Identifier, wanted: Comment, services: Services, caller: Caller) -> dict[str, Any]:
    """Ends what was proposed."""
    return dict(await rollouts_of(services).reject(rollout_id, caller.subject, wanted.comment))


@router.post("/v1/policy/rollouts/{rollout_id}/withdraw", **needs(Permission.POLICY_PROPOSE))
async def withdraw(rollout_id: Identifier, wanted: Comment, services: Services, caller: Caller) -> dict[str, Any]:
    """Ends one's own proposal, before it is approved."""
    return dict(await rollouts_of(services).withdraw(rollout_id, caller.subject, wanted.comment))


@router.post("/v1/policy/rollouts/{rollout_id}/advance", **needs(Permission.POLICY_APPROVE))
async def advance(rollout_id: Identifier, wanted: Comment, services: Services, caller: Caller) -> dict[str, Any]:
    """Goes on to the next step at once, or into force after the last."""
    return dict(await rollouts_of(services).advance(rollout_id, caller.subject, wanted.comment))


@router.post("/v1/policy/rollouts/{rollout_id}/rollback", **needs(Permission.POLICY_ROLLBACK))
async def roll_back(rollout_id: Identifier, wanted: Comment, services: Services, caller: Caller) -> dict[str, Any]:
    """Ends a rollout at once: the candidate decides nothing any more when this answers."""
    return dict(await rollouts_of(services).roll_back(rollout_id, caller.subject, wanted.comment))


@router.get("/v1/policy/versions", **needs(Permission.POLICY_READ))
async def versions(services: Services) -> Versions:
    """Which policies were in force since when, newest first, and what is in force over the workspace's own."""
    return Versions(**await rollouts_of(services).versions())


@router.post("/v1/policy/rollback", **needs(Permission.POLICY_ROLLBACK))
async def go_back(wanted: GoingBack, services: Services, caller: Caller) -> Versions:
    """Puts a version in force that was in force before; `workspace` ends that. A rollout that runs is rolled back."""
    return Versions(**await rollouts_of(services).go_back(wanted.to, caller.subject, wanted.comment))


def rollouts_of(services: ControlServices) -> PolicyRollouts:
    if services.rollouts is None:
        raise RefusedError("This control API rolls out no policies.", "not_found", 404)
    return services.rollouts


def plan_of(content: bytes) -> RolloutConfig:
    if len(content) > MOST_PLAN:
        raise RefusedError(f"A plan can have at most {MOST_PLAN >> 10} KiB.", "request_invalid", 422)
    try:
        return RolloutConfig.model_validate(orjson.loads(content))
    except orjson.JSONDecodeError:
        raise RefusedError("The plan is no JSON.", "request_invalid", 422) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RefusedError(f"The plan: {where}: {first['msg'].removeprefix('Value error, ')}.", "request_invalid", 422) from None
