"""Other policies for a workspace, as workers get them: checked and planned by the control process, and rolled out over those in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from router.pipeline import Pipeline, Stages
from router.ports import Clock, Random
from router.rollout.figures import Figures
from router.rollout.rolling import Counted, Rolling, Shadow, Stopwatch, Two
from router.rollout.stage import Stage
from router.stages.lapsing import Lapse
from router.wiring.policy import make_policy
from router.wiring.stages import policy_parts
from router.workspace import Workspace


class Services(Protocol):
    @property
    def clock(self) -> Clock: ...

    @property
    def random(self) -> Random: ...

    @property
    def lapse(self) -> Lapse | None: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """`policies`, `data` and `plan` as a workspace has them. `config_digest` is the workspace's, had it these policies. `compare` is the
    share of requests that both judge."""

    rollout: str
    policies: Mapping[str, str]
    data: Mapping[str, Any]
    plan: Mapping[str, Any] | None
    revision: str
    config_digest: str
    compare: float
    stage: Stage

    def to_payload(self) -> dict[str, Any]:
        """What a message can carry."""
        return {
            "rollout": self.rollout,
            "policies": dict(self.policies),
            "data": dict(self.data),
            "plan": self.plan,
            "revision": self.revision,
            "config_digest": self.config_digest,
            "compare": self.compare,
            "stage": self.stage.to_json(),
        }

    @staticmethod
    def from_payload(payload: Mapping[str, Any]) -> Candidate:
        return Candidate(**{**payload, "stage": Stage.from_json(payload["stage"])})


async def make_rolling(
    workspace: Workspace, stages: Stages, candidate: Candidate, services: Services, pipeline: Callable[[Stages], Pipeline]
) -> Rolling:
    """Open. Raises ConfigError."""
    figures = Figures()
    theirs = replace(workspace, policies=candidate.policies, policy_data=candidate.data)
    engine = make_policy(theirs, services.clock, None, services.lapse, candidate.plan, candidate.revision)
    current, other = Counted(stages.policy, figures.current), Counted(engine, figures.candidate)
    stopwatch = Stopwatch(stages.policy, engine, figures)
    of_current = Shadow(other, figures, candidate.compare, services.random, first=True, also=stages.comparison, stopwatch=stopwatch)
    of_candidate = Shadow(current, figures, candidate.compare, services.random, first=False, stopwatch=stopwatch)
    parts = {**policy_parts(theirs, other, of_candidate), "config_digest": candidate.config_digest}
    two = Two(pipeline(replace(stages, policy=current, comparison=of_current)), pipeline(replace(stages, **parts)))
    rolling = Rolling(candidate.rollout, candidate.stage, two, figures, (of_current, of_candidate), other)
    try:
        await rolling.open()
    except BaseException:
        await engine.close()
        raise
    return rolling
