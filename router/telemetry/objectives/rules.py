"""What counts, and when something is to be said: the same as `helm/files/alerts.yaml`, to which a test holds it.

The pace at which a budget burns is looked at over a long window and a short one together (Google's SRE workbook, chapter 5): the long one
says that it is no moment's trouble, the short one that it goes on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
PERIOD_S = 30 * DAY_S


@dataclass(frozen=True, slots=True)
class Pace:
    """`burn`: how many times as fast as would use up the budget in exactly 30 days."""

    burn: float
    long_s: int
    short_s: int


FAST = (Pace(14.4, HOUR_S, 5 * MINUTE_S), Pace(6, 6 * HOUR_S, 30 * MINUTE_S))
SLOW = (Pace(3, DAY_S, 2 * HOUR_S), Pace(1, 3 * DAY_S, 6 * HOUR_S))
WINDOWS: Mapping[str, int] = {
    "5m": 5 * MINUTE_S,
    "30m": 30 * MINUTE_S,
    "1h": HOUR_S,
    "2h": 2 * HOUR_S,
    "6h": 6 * HOUR_S,
    "1d": DAY_S,
    "3d": 3 * DAY_S,
    "30d": PERIOD_S,
}
WAITING_S = 5 * MINUTE_S
"""For how long too many records wait until it is said; the alert has it in two parts."""
UNSIGNED_S, POLICY_S = 5 * MINUTE_S, 5 * MINUTE_S
ABSTENTION_S = 15 * MINUTE_S

# What Lockgate itself could not do: refused before a decision, denied for want of a verdict or of a count, not classified because the
# classifier failed. An Envoy that is set up wrongly is nobody's fault who asks, and refuses everybody.
REFUSALS = re.compile(
    "overloaded|starting|internal|decision_late|(state|keys|limits|idempotency|policy_rate_limit)_unavailable"
    "|envoy_(source_missing|mode_unfit|metadata_invalid)|audit_.*"
)
VERDICTS = re.compile(
    "policy_(undefined|error|late|unavailable|unauthorized|circuit_open|malformed|stale|rate_limit_unavailable)|limits_unavailable"
)
UNCLASSIFIED = "unavailable"
ABSTAINED = "abstained"

ALERTS: Mapping[str, tuple[str, ...]] = {
    "judged": ("LockgateRequestsUnjudgedFast", "LockgateRequestsUnjudgedSlow"),
    "decisions": ("LockgateDecisionsSlowFast", "LockgateDecisionsSlowSlow"),
    "audit_lag": ("LockgateRecordsWaiting", "LockgateUnsigned"),
    "policy_age": ("LockgatePolicyStale",),
    "abstention": ("LockgateAbstentionDrifts",),
}
"""What is alerted on by the same rule, and has a runbook of that name."""
