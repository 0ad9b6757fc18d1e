"""The policies in force, as the control process asks them about held requests: opened when the first one is tried, since many a Lockgate
holds none, and changed with the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from router.decision import Effect, Reason, Verdict
from router.doors.body import BodyLimits, whole_body_view
from router.errors import LockgateError, ReviewError
from router.ports import Clock, Held, Outbound, PolicyEngine
from router.review.judge import Judge
from router.review.judging import Again
from router.review.packing import Content
from router.stages.demands import Demands
from router.stages.language import LanguageDetector
from router.stages.risk import RiskModel
from router.stages.risk import Thresholds as Levels
from router.stages.rule import json_path
from router.stages.signals import SignalDetector
from router.wiring.languages import language_identifier
from router.wiring.policy import make_policy, plan_policies
from router.wiring.stages import policy_parts, recogniser, routing_table
from router.wiring.terms import spans
from router.workspace import Workspace

Leads = Callable[[str, str], bool]


class Judges:
    """Implements `router.review.judging.Judging`."""

    def __init__(self, workspace: Workspace, clock: Clock, leads: Leads) -> None:
        self._workspace = workspace
        self._clock = clock
        self._leads = leads
        self._engine: PolicyEngine | None = None
        self._judge: Judge | None = None
        self._one_at_a_time = asyncio.Lock()

    async def attempt(self, document: Mapping[str, Any]) -> Verdict:
        try:
            judge = await self._current()
        except LockgateError as error:
            return Verdict(Effect.DENY, (Reason("policy_unavailable", str(error)),))
        return await judge.attempt(document)

    async def again(self, held: Held, content: Content, *, outbound: Outbound | None = None, route: str | None = None) -> Again:
        try:
            judge = await self._current()
        except LockgateError as error:
            raise ReviewError(f"The policies cannot be asked: {error}", "review_unjudged") from error
        return await judge.again(held, content, outbound=outbound, route=route)

    async def mask(self, text: str) -> str:
        try:
            judge = await self._current()
        except LockgateError as error:
            raise ReviewError(f"What was said cannot be masked: {error}", "review_unjudged") from error
        return await judge.mask(text)

    async def follow(self, workspace: Workspace) -> None:
        """Whoever asks from now on asks the policies of this workspace."""
        async with self._one_at_a_time:
            await self._let_go()
            self._workspace = workspace

    async def close(self) -> None:
        async with self._one_at_a_time:
            await self._let_go()

    async def _let_go(self) -> None:
        former, self._judge, self._engine = self._engine, None, None
        if former is not None:
            await former.close()

    async def _current(self) -> Judge:
        async with self._one_at_a_time:
            if self._judge is None:
                workspace = self._workspace
                engine = make_policy(workspace, self._clock, plan=await plan_policies(workspace))
                try:
                    await engine.open()
                    self._judge = make_judge(workspace, engine, self._clock, self._leads)
                except BaseException:
                    await engine.close()
                    raise
                self._engine = engine
            return self._judge


def make_judge(workspace: Workspace, engine: PolicyEngine, clock: Clock, leads: Leads) -> Judge:
    config, catalog = workspace.config, workspace.catalog
    paths = tuple(json_path(path) for path in config.gateway.text)
    limits = BodyLimits(
        config.gateway.limits.body, config.gateway.limits.view, config.gateway.limits.text_chars, config.gateway.limits.body_timeout
    )
    return Judge(
        engine=engine,
        routing=routing_table(catalog, config),
        signals=SignalDetector(
            config.gateway.limits.view, LanguageDetector(identifier=language_identifier(workspace)), recogniser(workspace)
        ),
        risk=RiskModel(Levels(**catalog.risk.levels.model_dump()), catalog.risk.weights),
        demands=Demands(None, frozenset(catalog.destinations)),
        view=lambda data, content_type: whole_body_view(data, content_type, paths, limits),
        leads=leads,
        clock=clock,
        spans=spans(config.review),
        deadline_s=policy_parts(workspace, engine, None)["policy_deadline_s"],
    )
