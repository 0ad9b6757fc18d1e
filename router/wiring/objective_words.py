"""What each objective asks, in a sentence."""

from __future__ import annotations

from router.config.objectives import ObjectivesConfig
from router.telemetry.objectives.judging import length, percent


def sentence(name: str, settings: ObjectivesConfig) -> str:
    """Of one that is switched on."""
    judged, decisions, lag, policy, abstention = (
        settings.judged, settings.decisions, settings.audit_lag, settings.policy_age, settings.abstention,
    )  # fmt: skip
    if name == "judged" and judged is not None:
        return f"{percent(judged.share)} of requests are judged."
    if name == "decisions" and decisions is not None:
        return f"{percent(decisions.share)} of decisions are durable within {length(decisions.within)}."
    if name == "audit_lag" and lag is not None:
        return f"At most {lag.waiting:,} records wait for their commit, and none is without a checkpoint for {length(lag.unsigned)}."
    if name == "policy_age" and policy is not None:
        return f"The source of the policies confirms them every {length(policy.most)}."
    if name == "abstention" and abstention is not None:
        return f"Of an hour's requests at most {abstention.times:g} times the share of the day before find no intent."
    raise ValueError(f"there is no objective {name}")
