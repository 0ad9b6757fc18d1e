"""The policy engines of a workspace: the one that decides, and the one that it is compared with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from adapters.rego.plan import Plan
from adapters.rego.planning import planned
from router.audit.records.record import system_entry
from router.config.isolated import IsolatedEngine
from router.config.opa import OpaEngine
from router.ports import Clock, Ledger, PolicyEngine, PolicyObserver
from router.registry import ADAPTERS
from router.stages.lapsing import Lapse, Lapsing
from router.system import SystemClock
from router.workspace import Workspace
from router.workspace_policies import OF_THE_FOLDER

DIFFERENCE = "policy_difference"


async def plan_policies(workspace: Workspace) -> dict[str, Any] | None:
    """What engines of this workspace are given instead of checking its policies again, as plain values; None where they read no policies.
    Made in another process. Raises ConfigError."""
    compare = workspace.config.policy.compare
    engines = {workspace.config.policy.engine.adapter, *([compare.engine.adapter] if compare is not None else [])}
    if not engines & OF_THE_FOLDER:
        return None
    plan = await asyncio.to_thread(planned, workspace.policies, workspace.policy_data)
    found: dict[str, Any] = plan.to_json()
    return found


def make_policy(
    workspace: Workspace,
    clock: Clock,
    observer: PolicyObserver | None = None,
    lapse: Lapse | None = None,
    plan: Any = None,
    revision: str | None = None,
) -> PolicyEngine:
    """To be opened before it is asked, and closed. `plan` is what `plan_policies` gave; without one the policies are checked here.
    `revision` in place of the bundle's. Raises ConfigError."""
    policy = workspace.config.policy
    engine = _made(workspace, policy.engine.adapter, workspace.engine, policy.deadline, clock, observer, plan, revision)
    limited = policy.bundle is not None and policy.bundle.max_age is not None
    return Lapsing(engine, lapse) if limited and lapse is not None else engine


def make_second_engine(workspace: Workspace, clock: Clock, plan: Any = None) -> PolicyEngine | None:
    """As `make_policy`. Its calls are counted by what was compared, and not among those that decide."""
    compare = workspace.config.policy.compare
    if compare is None or workspace.second_engine is None:
        return None
    return _made(workspace, compare.engine.adapter, workspace.second_engine, compare.deadline, clock, None, plan)


def check_engines(workspace: Workspace) -> None:
    """What can be said without asking a server. Raises ConfigError."""
    make_policy(workspace, SystemClock())
    make_second_engine(workspace, SystemClock())


def _made(
    workspace: Workspace,
    name: str,
    settings: BaseModel,
    deadline_s: float,
    clock: Clock,
    observer: PolicyObserver | None,
    given: Any,
    told: str | None = None,
) -> PolicyEngine:
    adapter = ADAPTERS.load("policy engine", name)
    if isinstance(settings, OpaEngine):
        server: PolicyEngine = adapter.OpaServer(settings, workspace.root, deadline_s=deadline_s, clock=clock, observer=observer)
        return server
    policies, data = workspace.policies, workspace.policy_data
    plan = Plan.from_json(given, policies.keys()) if given is not None else None
    revision = told if told is not None else workspace.bundle.revision if workspace.bundle is not None else ""
    if isinstance(settings, IsolatedEngine):
        apart: PolicyEngine = adapter.load(settings, policies, data, deadline_s=deadline_s, revision=revision, plan=plan, observer=observer)
        return apart
    engine: PolicyEngine = adapter.load(policies, data, deadline_s=deadline_s, revision=revision, plan=plan)
    return engine


class Differences:
    """Takes what two engines disagreed about into the ledger."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def record(self, details: Mapping[str, Any]) -> None:
        """Raises AuditError."""
        await self._ledger.append(system_entry(DIFFERENCE, self._clock.now_ns(), details))
