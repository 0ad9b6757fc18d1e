"""Whether the objectives are met, as they were found last."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from router.control.guarded import Services, guarded_router, needs
from router.control.permissions import Permission
from router.control.services import ControlServices, Json
from router.errors import RefusedError
from router.telemetry.objectives.judging import State

router = guarded_router()


class ObjectiveWindow(BaseModel):
    """`good` is the share of `total` that was; null where there was nothing. `burn_rate`: how many times as fast as would use up the budget
    in exactly 30 days; null where there is no budget. `whole`: whether the window is known from its beginning on."""

    window: str
    seconds: int
    total: int
    bad: int
    good: float | None
    burn_rate: float | None
    whole: bool


class ObjectiveStep(BaseModel):
    total: int
    bad: int


class ObjectiveFigure(BaseModel):
    """Of an objective without a budget: what is to stay within a limit. `unit` is `seconds`, `share`, or empty for a count."""

    name: str
    value: float
    limit: float
    unit: str


class Objective(BaseModel):
    """`sentence` is what is asked, `said` how it is now. `measured`: the share that was good, of 30 days as far as they are known.
    `budget_left`: share of the budget of 30 days, below 0 where it is overspent. `burn_rate` is that of the last five minutes. `source`:
    `ledger`, of all nodes that share it, or `node`, what this one counted itself `since` then. `trend`: the last day by half hours.
    `alerts`: which alerts have the same rule, and a runbook."""

    name: str
    sentence: str
    state: State
    said: str
    source: Literal["ledger", "node"]
    since: str
    measured: float | None
    target: float | None
    budget_left: float | None
    burn_rate: float | None
    windows: list[ObjectiveWindow]
    trend: list[ObjectiveStep]
    figures: list[ObjectiveFigure]
    alerts: list[str]


class Objectives(BaseModel):
    """`at`: when they were looked at; null, and none, before the first look. That is done every `every_s` seconds."""

    at: str | None
    every_s: float
    objectives: list[Objective]


@router.get("/v1/objectives", **needs(Permission.METRICS_READ))
async def objectives(services: Services) -> Objectives:
    """How the service fares against its objectives, over the windows that the alerts have: measured, budget left, pace, state."""
    found = last_look(services)
    if found is None:
        raise RefusedError("The configuration switches the objectives off (telemetry.objectives).", "objectives_off", 404)
    return Objectives.model_validate(found)


def last_look(services: ControlServices) -> Json | None:
    """None where there are none."""
    return None if services.objectives is None else services.objectives.document()
