"""What decisions cost, where a threshold is to follow from that rather than from a share of errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from router.decision import Level
from router.settings import Strict

Cost = Annotated[float, Field(gt=0)]


class Costs(Strict):
    """What decisions cost, in any one unit. Right ones cost nothing."""

    wrong: Cost = Field(description="Cost of a request that goes where it should not.")
    abstain: Cost = Field(description="Cost of an abstention: a question back, a person's time.")

    @model_validator(mode="after")
    def _worse(self) -> Self:
        if any(wrong <= self.abstain for wrong in self._all()):
            raise ValueError("must price a wrong decision above an abstention; else nothing would ever abstain")
        return self

    def _all(self) -> tuple[float, ...]:
        return (self.wrong,)


class CostsByRisk(Costs):
    """What decisions cost, in any one unit; a wrong one by the risk of the intent that was chosen. Right ones cost nothing."""

    wrong_by_risk: Mapping[Level, Cost] = Field(
        default_factory=dict,
        description="Instead of `wrong`, where the chosen intent has this `risk`, such as `{high: 200, critical: 1000}`.",
    )

    def _all(self) -> tuple[float, ...]:
        return (self.wrong, *self.wrong_by_risk.values())

    def at(self, risk: Level) -> Costs:
        return Costs(wrong=self.wrong_by_risk.get(risk, self.wrong), abstain=self.abstain)
