"""How a candidate for the policies is brought in: step by step, watched, and taken back by itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from router.settings import Bool, Count, Fraction, Span, Strict, Text


class RolloutStep(Strict):
    """Whom the candidate decides for, and for how long. Without `share` and `tenants` it decides for nobody: it only judges what the
    policies in force decide (shadow)."""

    model_config = ConfigDict(validate_by_alias=True)

    share: Fraction | None = Field(
        default=None, description="The share of callers, such as `5%`. A caller who is among them stays so in larger shares."
    )
    tenants: tuple[Text, ...] | None = Field(default=None, min_length=1, max_length=100, description="All requests of these tenants.")
    lasts: Span | None = Field(
        default=None, alias="for", description="How long at least. Without it somebody who may approve has to go on by hand."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.share is not None and self.tenants is not None:
            raise ValueError("has both 'share' and 'tenants'; make two steps of it")
        return self


class RolloutGuards(Strict):
    """What ends a rollout at once. Shares are of the compared requests, and count from `least` of them on, or earlier once they cannot be
    kept any more."""

    flips: Fraction | None = Field(
        default=0.05, description="Largest share of requests that the two would end differently: effect, status, obligations or route."
    )
    looser: Fraction | None = Field(
        default=None, description="Largest share of requests for which the candidate is laxer: lets in what was not, or asks for less."
    )
    errors: Fraction | None = Field(
        default=0.001, description="Largest share of the candidate's evaluations that may fail beyond the share of the policies in force."
    )
    latency: float | None = Field(
        default=2.0,
        gt=1.0,
        le=1000.0,
        description="How many times as long the slowest 5 % of its evaluations may take, once that is more than a millisecond.",
    )


class RolloutConfig(Strict):
    """How candidates are rolled out where whoever proposes one does not say it otherwise."""

    steps: tuple[RolloutStep, ...] = Field(
        default=(
            RolloutStep.model_validate({"for": "10m"}),
            RolloutStep.model_validate({"share": "5%", "for": "10m"}),
            RolloutStep.model_validate({"share": "25%", "for": "10m"}),
            RolloutStep.model_validate({"share": "100%", "for": "10m"}),
        ),
        min_length=1,
        max_length=20,
        description="One after the other; after the last the candidate is in force.",
    )
    promote: Bool = Field(default=True, description="Whether the candidate is in force after the last step; otherwise it is only tried.")
    least: Count = Field(default=200, le=1_000_000, description="Requests that have to be compared before a step ends.")
    compare: Fraction = Field(default=1.0, description="The share of requests that both judge, off their way.")
    guards: RolloutGuards = Field(default_factory=RolloutGuards, description="What ends it at once.")

    @model_validator(mode="after")
    def _growing(self) -> Self:
        shares = [step.share for step in self.steps if step.share is not None]
        if any(later <= earlier for earlier, later in pairwise(shares)):
            raise ValueError("has a step with a share that is no larger than one before it")
        if self.compare <= 0:
            raise ValueError("compares nothing, so that no guard could ever see anything; give a share above 0")
        return self
