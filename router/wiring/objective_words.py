"""What each objective asks, in a sentence."""

from __future__ import annotations

from router.config.objectives import ObjectivesConfig
from router.settings import duration_text
from router.telemetry.objectives.judging import percent


def sentence(name: str, settings: ObjectivesConfig) -> str:
    """Of one that is switched on."""
    judged, decisions, lag, policy, abstention = (
        settings.judged, settings.decisions, settings.audit_lag, settings.policy_age, settings.abstention,
    )  # fmt: skip
    if name == "judged" and judged is not None:
        return f"{percent(judged.share)} of requests are judged."
    if name == "decisions" and decisions is not None:
        within = duration_text(decisions.within) if decisions.within >= 0.001 else f"{decisions.within * 1000:g}ms"
        return f"{percent(decisions.share)} of decisions are durable within {within}."
    if name == "audit_lag" and lag is not None:
        return f"At most {lag.waiting:,} records wait for their commit, and none is without a checkpoint for {duration_text(lag.unsigned)}."
    if name == "policy_age" and policy is not None:
        return f"The source of the policies confirms them every {duration_text(policy.most)}."
    if name == "abstention" and abstention is not None:
        return f"No more than {abstention.times:g} times the day's share of requests end without an intent."
    raise ValueError(f"there is no objective {name}")
