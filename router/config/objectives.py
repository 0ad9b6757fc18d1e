"""What is held to be good enough, for the console's page, the API and the command line; the alerts of `helm/files/alerts.yaml` have the
same defaults."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from router.buckets import SLOW
from router.config.identity import SecureUrl
from router.settings import Count, Fraction, Span, Strict, duration_text


def _bound(seconds: float) -> float:
    if seconds not in SLOW:
        raise ValueError(f"must be a bound of the histogram: {', '.join(map(_text, SLOW))}")
    return seconds


def _text(seconds: float) -> str:
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"


def between(least: float, most: float) -> AfterValidator:
    """As a person writes a length of time."""

    def check(seconds: float) -> float:
        if not least <= seconds <= most:
            raise ValueError(f"must be from {duration_text(least)} to {duration_text(most)}")
        return seconds

    return AfterValidator(check)


class JudgedObjective(Strict):
    """Requests that were judged, of all. Those that were not are the ones that Lockgate itself could not judge: what callers do wrong and
    what upstreams fail at burns no budget."""

    share: Fraction = Field(default=0.999, gt=0, lt=1, description="Share that is to be judged.")


class DecisionsObjective(Strict):
    """Decisions that were durable soon enough."""

    share: Fraction = Field(default=0.99, gt=0, lt=1, description="Share that is to be durable within that time.")
    within: Annotated[Span, AfterValidator(_bound)] = Field(
        default=0.1, description="A bound of the histogram `lockgate_decision_duration_seconds`, such as `50ms`, `100ms` or `250ms`."
    )


class AuditLagObjective(Strict):
    """Records are committed at once, and signed soon."""

    waiting: Count = Field(default=256, le=1_000_000, description="Most records that may wait for their commit, for five minutes.")
    unsigned: Annotated[Span, between(60, 86_400)] = Field(
        default=900.0, description="Longest time without a checkpoint while there are records that none covers."
    )


class PolicyAgeObjective(Strict):
    """The source of the policies' bundle confirms them."""

    most: Annotated[Span, between(60, 30 * 86_400)] = Field(default=900.0, description="Longest time since it last did.")


class AbstentionObjective(Strict):
    """Requests that end without an intent: an hour beside the day before it."""

    times: float = Field(default=2.0, ge=1, le=1000, description="How many times the day's share the hour's may be.")
    above: Fraction = Field(default=0.05, description="Share of the hour up to which nothing is said.")
    least: Count = Field(default=100, le=1_000_000, description="Requests of the hour up to which nothing is said.")


class ObjectivesConfig(Strict):
    """Objectives over 30 days. Each is switched off by `null`. Prometheus' alerts are changed in their own file."""

    every: Annotated[Span, between(1, 60)] = Field(default=30.0, description="How often is looked.")
    runbooks: SecureUrl | None = Field(
        default=None,
        description="Where `docs/runbooks.md` is kept as a page: the console links to what to do. Without it only its headings are named.",
    )
    judged: JudgedObjective | None = Field(default=JudgedObjective(), description="Requests that are judged.")
    decisions: DecisionsObjective | None = Field(default=DecisionsObjective(), description="How long decisions take.")
    audit_lag: AuditLagObjective | None = Field(default=AuditLagObjective(), description="Records that wait, or are not signed.")
    policy_age: PolicyAgeObjective | None = Field(default=PolicyAgeObjective(), description="Policies that nobody confirms.")
    abstention: AbstentionObjective | None = Field(default=AbstentionObjective(), description="Requests without an intent.")
