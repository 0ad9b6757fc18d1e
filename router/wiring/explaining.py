"""A pipeline without ledger and destinations: it decides, and that is all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from router.audit.recorder import NoRecorder
from router.decision import BodyView, Decision, Request, Subject
from router.doors.body import whole_body_view
from router.doors.head import decode_path
from router.pipeline import Pipeline, Stages
from router.stages.alternatives import Standings
from router.stages.demands import NotCounted
from router.stages.usual import Usual
from router.system import SystemClock, UuidV7
from router.wiring.alternatives import make_alternatives
from router.wiring.encoder import ensure_model, load_model, make_tiers
from router.wiring.llm import make_arbiter
from router.wiring.policy import make_policy
from router.wiring.runtime import door_options
from router.wiring.stages import make_stages
from router.workspace import Workspace


@asynccontextmanager
async def open_stages(workspace: Workspace) -> AsyncIterator[Stages]:
    """What decides, without what counts. Trains the model first if the workspace has none yet. Raises ConfigError, PolicyError."""
    found = ensure_model(workspace)
    model = load_model(workspace, found) if found is not None else None
    tiers = make_tiers(workspace, model, found)
    clock = SystemClock()
    arbiter = make_arbiter(workspace, clock, 1, None)
    policy = make_policy(workspace, clock)
    choice = make_alternatives(workspace.catalog, None, Standings(), clock)
    stages = make_stages(workspace, tiers, model, policy, clock, Usual(), arbiter, quotas=NotCounted(), alternatives=choice)
    try:
        await policy.open()
        yield stages
    finally:
        await policy.close()
        for tier in tiers:
            tier.close()


async def decide_only(workspace: Workspace, subject: Subject, method: str, path: str, data: bytes, content_type: str) -> Decision:
    """Trains the model first if the workspace has none yet. Raises ConfigError, PolicyError."""
    clock, ids = SystemClock(), UuidV7()
    view = _view(workspace, data, content_type)
    kind = content_type if data else ""
    request = Request(ids.new(), clock.now_ns(), "explain", subject, method.upper(), "", decode_path(path), content_type=kind, body=view)
    async with open_stages(workspace) as stages:
        return await Pipeline(stages, NoRecorder(), clock, ids).decide(request)


def _view(workspace: Workspace, data: bytes, content_type: str) -> BodyView:
    options = door_options(workspace)
    return whole_body_view(data, content_type, options.text_paths, options.limits)
