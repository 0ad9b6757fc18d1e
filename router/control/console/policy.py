"""The policies that decide: which, since when, by whose yes, what is on its way in, and how one goes back."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import HTMLResponse

from router.control.console.asking import address
from router.control.console.forms import comment_of, done, posted
from router.control.console.html import page, see_other
from router.control.guarded import Caller, Principal, Services, guarded_router, needs
from router.control.parameters import Identifier
from router.control.permissions import Permission
from router.control.policy import BUNDLE, sent_files
from router.control.rollouts import COMMENT, MOST_COMMENT, PLAN, plan_of, rollouts_of
from router.control.services import ControlServices, Json
from router.errors import ConfigError, RefusedError

router = guarded_router()
SHOWN = 20
CSRF = "csrf"
PACKAGE = re.compile(r"^package\s+([\w.]+)", re.MULTILINE)
TITLE = re.compile(r"^#[ ]*(title|description):[ ]*(?:[|>]-?[ ]*\n((?:#[ ]{2,}.*\n?)+)|(.+)$)", re.MULTILINE)
Move = Callable[[Mapping[str, str]], Awaitable[Any]]


@router.get("/console/policy", include_in_schema=False, **needs(Permission.POLICY_READ))
async def policy(request: Request, services: Services) -> HTMLResponse:
    """What decides now, and what did."""
    return await _overview(request, services)


@router.get("/console/policy/rules", include_in_schema=False, **needs(Permission.POLICY_READ))
async def rules(request: Request, services: Services, file: Annotated[str, Query(max_length=512)] = "") -> HTMLResponse:
    """The rules in force, as they are written."""
    texts = services.rules() if services.rules is not None else {}
    if file and file not in texts:
        raise RefusedError("No rules in force come from that file.", "not_found", 404)
    listed = [described(name, text) for name, text in sorted(texts.items())]
    return page(request, "rules.html", here="policy", files=listed, file=file, lines=texts[file].splitlines() if file else [])


@router.post("/console/policy/rollouts", include_in_schema=False, **needs(Permission.POLICY_PROPOSE))
async def propose(request: Request, services: Services, caller: Caller) -> Response:
    """A bundle, with a plan of its own where the configuration's is not meant."""
    rolling = rollouts_of(services)
    try:
        given = await sent_files(request, frozenset({BUNDLE, PLAN, COMMENT, CSRF}), (BUNDLE,))
        comment = given.get(COMMENT, b"").decode("utf-8", "replace").strip()
        if len(comment) > MOST_COMMENT:
            raise RefusedError(f"A comment can have at most {MOST_COMMENT} characters.", "request_invalid", 422)
        plan = plan_of(given[PLAN]) if given.get(PLAN, b"").strip() else None
        proposed = await rolling.propose(given[BUNDLE], plan, caller.subject, comment)
    except ConfigError as error:
        return await _overview(request, services, ["The candidate cannot be used here.", *error.faults], 422)
    except RefusedError as error:
        return await _overview(request, services, [str(error)], error.status)
    return see_other(f"/console/policy/rollouts/{proposed['id']}")


@router.post("/console/policy/rollback", include_in_schema=False, **needs(Permission.POLICY_ROLLBACK))
async def go_back(request: Request, services: Services, caller: Caller) -> Response:
    fields = await posted(request)
    try:
        await rollouts_of(services).go_back(fields.get("to", ""), caller.subject, comment_of(fields))
    except ConfigError as error:
        return await _overview(request, services, list(error.faults), 422)
    except RefusedError as error:
        return await _overview(request, services, [str(error)], error.status)
    return see_other(address("/console/policy", done="went_back"))


@router.get("/console/policy/rollouts/{rollout_id}", include_in_schema=False, **needs(Permission.POLICY_READ))
async def rollout(request: Request, rollout_id: Identifier, services: Services, caller: Caller) -> HTMLResponse:
    """One: its steps, what was seen, and what can be done now."""
    return await _rollout(request, rollout_id, services)


@router.post("/console/policy/rollouts/{rollout_id}/approve", include_in_schema=False, **needs(Permission.POLICY_APPROVE))
async def approve(request: Request, rollout_id: Identifier, services: Services, caller: Caller) -> Response:
    rolling = rollouts_of(services)
    return await _moved(
        request,
        rollout_id,
        services,
        lambda fields: rolling.approve(rollout_id, caller.subject, fields.get("digest", ""), comment_of(fields)),
        "rollout_approved",
    )


@router.post("/console/policy/rollouts/{rollout_id}/reject", include_in_schema=False, **needs(Permission.POLICY_APPROVE))
async def reject(request: Request, rollout_id: Identifier, services: Services, caller: Caller) -> Response:
    return await _moved(request, rollout_id, services, _by(services, "reject", rollout_id, caller), "rollout_rejected")


@router.post("/console/policy/rollouts/{rollout_id}/withdraw", include_in_schema=False, **needs(Permission.POLICY_PROPOSE))
async def withdraw(request: Request, rollout_id: Identifier, services: Services, caller: Caller) -> Response:
    return await _moved(request, rollout_id, services, _by(services, "withdraw", rollout_id, caller), "rollout_withdrawn")


@router.post("/console/policy/rollouts/{rollout_id}/advance", include_in_schema=False, **needs(Permission.POLICY_APPROVE))
async def advance(request: Request, rollout_id: Identifier, services: Services, caller: Caller) -> Response:
    return await _moved(request, rollout_id, services, _by(services, "advance", rollout_id, caller), "rollout_advanced")


@router.post("/console/policy/rollouts/{rollout_id}/rollback", include_in_schema=False, **needs(Permission.POLICY_ROLLBACK))
async def roll_back(request: Request, rollout_id: Identifier, services: Services, caller: Caller) -> Response:
    return await _moved(request, rollout_id, services, _by(services, "roll_back", rollout_id, caller), "rollout_rolled_back")


def _by(services: ControlServices, what: str, rollout_id: str, caller: Principal) -> Move:
    """One of the moves that take nothing but a comment."""
    moves: Mapping[str, Callable[..., Awaitable[Json]]] = {
        "reject": rollouts_of(services).reject,
        "withdraw": rollouts_of(services).withdraw,
        "advance": rollouts_of(services).advance,
        "roll_back": rollouts_of(services).roll_back,
    }
    return lambda fields: moves[what](rollout_id, caller.subject, comment_of(fields))


async def _moved(request: Request, rollout_id: str, services: ControlServices, move: Move, told: str) -> Response:
    """What stands in the way is told above the rollout as it is now."""
    try:
        await move(await posted(request))
    except ConfigError as error:
        return await _rollout(request, rollout_id, services, error.faults[0], 422)
    except RefusedError as error:
        if error.status == 404:
            raise
        return await _rollout(request, rollout_id, services, str(error), error.status)
    return see_other(address(f"/console/policy/rollouts/{rollout_id}", done=told))


async def _rollout(request: Request, rollout_id: str, services: ControlServices, refused: str = "", status: int = 200) -> HTMLResponse:
    found = await rollouts_of(services).show(rollout_id)
    return page(request, "rollout.html", here="policy", status=status, rollout=found, refused=refused, done=done(request))


async def _overview(request: Request, services: ControlServices, refused: list[str] | None = None, status: int = 200) -> HTMLResponse:
    rolling = services.rollouts
    return page(
        request,
        "policy.html",
        here="policy",
        status=status,
        versions=None if rolling is None else await rolling.versions(),
        rollouts=[] if rolling is None else await rolling.list(SHOWN),
        running=services.status.describe(),
        files=len(services.rules()) if services.rules is not None else 0,
        refused=refused or [],
        done=done(request),
    )


def described(name: str, text: str) -> dict[str, Any]:
    package, said = PACKAGE.search(text), dict[str, str]()
    for found in TITLE.finditer(text):
        lines = (found[2] or found[3]).splitlines()
        said.setdefault(found[1], " ".join(line.lstrip("# ").strip() for line in lines))
    return {"file": name, "package": package[1] if package else "", "lines": text.count("\n"), "title": "", "description": "", **said}
