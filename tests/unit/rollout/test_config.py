"""What a plan may say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from router.config.rollouts import RolloutConfig


def test_the_default_begins_in_shadow_and_ends_with_everybody() -> None:
    """Whoever says nothing gets small steps."""
    shares = [step.share for step in RolloutConfig().steps]
    assert shares == [None, 0.05, 0.25, 1.0]
    assert all(step.lasts == 600.0 for step in RolloutConfig().steps)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"steps": []}, "at least 1"),
        ({"steps": [{"share": "5%", "tenants": ["a"]}]}, "make two steps"),
        ({"steps": [{"share": "5%"}, {}, {"share": "5%"}]}, "no larger"),
        ({"steps": [{"share": "150%"}]}, "share"),
        ({"steps": [{"tenants": []}]}, "at least 1"),
        ({"steps": [{"for": "0s"}]}, "longer than 0"),
        ({"compare": 0}, "compares nothing"),
        ({"guards": {"latency": 1}}, "greater than 1"),
        ({"least": 0}, "greater than or equal to 1"),
        ({"stpes": []}, "Extra inputs"),
    ],
)
def test_what_makes_no_sense_is_refused(plan: dict[str, Any], said: str) -> None:
    """With what is wrong."""
    with pytest.raises(ValidationError, match=said):
        RolloutConfig.model_validate(plan)


def test_a_plan_comes_back_from_its_file() -> None:
    """Tenants, spans and switched-off guards included."""
    plan = RolloutConfig.model_validate({"steps": [{"tenants": ["a"], "for": "90s"}, {"share": "0.5%"}], "guards": {"flips": None}})
    assert RolloutConfig.model_validate(plan.model_dump(mode="json", by_alias=True)) == plan
