"""The policy engines of a workspace: the one that decides, and the one that it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from router.audit.records.record import system_entry
from router.config.opa import OpaEngine
from router.ports import Clock, Ledger, PolicyEngine, PolicyObserver
from router.registry import ADAPTERS
from router.stages.lapsing import Lapse, Lapsing
from router.system import SystemClock
from router.workspace import Workspace

DIFFERENCE = "policy_difference"


def make_policy(workspace: Workspace, clock: Clock, observer: PolicyObserver | None = None, lapse: Lapse | None = None) -> PolicyEngine:
    """To be opened before it is asked, and closed. Raises ConfigError."""
    policy = workspace.config.policy
    engine = _made(workspace, policy.engine.adapter, workspace.engine, policy.deadline, clock, observer)
    limited = policy.bundle is not None and policy.bundle.max_age is not None
    return Lapsing(engine, lapse) if limited and lapse is not None else engine


def make_second_engine(workspace: Workspace, clock: Clock) -> PolicyEngine | None:
    """As `make_policy`. Its calls are counted by what was compared, and not among those that decide."""
    compare = workspace.config.policy.compare
    if compare is None or workspace.second_engine is None:
        return None
    return _made(workspace, compare.engine.adapter, workspace.second_engine, compare.deadline, clock, None)


def check_engines(workspace: Workspace) -> None:
    """What can be said without asking a server. Raises ConfigError."""
    make_policy(workspace, SystemClock())
    make_second_engine(workspace, SystemClock())


def _made(
    workspace: Workspace, name: str, settings: BaseModel, deadline_s: float, clock: Clock, observer: PolicyObserver | None
) -> PolicyEngine:
    adapter = ADAPTERS.load("policy engine", name)
    if isinstance(settings, OpaEngine):
        server: PolicyEngine = adapter.OpaServer(settings, workspace.root, deadline_s=deadline_s, clock=clock, observer=observer)
        return server
    revision = workspace.bundle.revision if workspace.bundle is not None else ""
    engine: PolicyEngine = adapter.load(workspace.policies, workspace.policy_data, deadline_s=deadline_s, revision=revision)
    return engine


class Differences:
    """Takes what two engines disagreed about into the ledger."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def record(self, details: Mapping[str, Any]) -> None:
        """Raises AuditError."""
        await self._ledger.append(system_entry(DIFFERENCE, self._clock.now_ns(), details))
