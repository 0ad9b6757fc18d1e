"""Objectives and alerts are one definition: defaults and rules are those of `helm/files/alerts.yaml`, and both say the same of the same
series."""

from __future__ import annotations

import re

import pytest

from router.config.objectives import ObjectivesConfig
from router.settings import Strict
from router.telemetry.objectives.judging import State, drift, judged_share
from router.telemetry.objectives.rules import (
    ABSTENTION_S,
    ALERTS,
    FAST,
    POLICY_S,
    REFUSALS,
    SLOW,
    UNSIGNED_S,
    VERDICTS,
    WAITING_S,
    WINDOWS,
    Pace,
)
from router.wiring.objectives import SIGNING_S
from tests.helm.monitored import RULES, series
from tests.unit.telemetry.objectives.alerting import Case, cases, looked, ours

BEGIN = 1_790_000_000.0
KEPT = 0.99
"""Share of the time in which a limit is to be kept; of abstentions the budget is the share up to which nothing is said."""
PACED = {
    "audit_lag": ("LockgateAuditLagFast", "LockgateAuditLagSlow"),
    "policy_age": ("LockgatePolicyStaleFast", "LockgatePolicyStaleSlow"),
    "abstention": ("LockgateAbstentionFast",),
}
"""What of these is alerted on by the pace at which such a budget burns, which only Prometheus looks at."""
DEFAULTS = ObjectivesConfig()
ALERT = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORD = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
ASKED = [case for case in cases() if any(case.expected.values()) or "quiet" in case.name or "burns no budget" in case.name]


def paces(alert: str) -> tuple[tuple[Pace, ...], set[float]]:
    """What the expression has: factors with their long and short windows; and the part that may be bad."""
    parts = re.findall(r"(?:(?:rate5m|over)\[(\w+)\]\)|(rate5m)) > (?:([\d.]+) \* )?([\d.]+)", ALERT[alert]["expr"])
    told = [(WINDOWS[window or "5m"], float(factor or 1), float(part)) for window, _, factor, part in parts]
    assert len(told) == 4
    pairs = zip(told[::2], told[1::2], strict=True)
    return tuple(Pace(long[1], long[0], short[0]) for long, short in pairs), {each[2] for each in told}


@pytest.mark.parametrize("name", ["judged", "decisions"])
def test_paces_and_shares_are_those_of_the_alerts(name: str) -> None:
    """Factors, both windows of each, and the budget."""
    fast, slow = ALERTS[name]
    target = getattr(DEFAULTS, name).share
    assert paces(fast) == (FAST, {round(1 - target, 9)})
    assert paces(slow) == (SLOW, {round(1 - target, 9)})


@pytest.mark.parametrize("name", ["audit_lag", "policy_age"])
def test_time_beyond_a_limit_burns_by_the_same_paces(name: str) -> None:
    """Factors, both windows of each, the budget of time, and that it is the time beyond that objective's limit."""
    fast, slow = PACED[name]
    assert paces(fast) == (FAST, {round(1 - KEPT, 9)})
    assert paces(slow) == (SLOW, {round(1 - KEPT, 9)})
    assert all(series(ALERT[alert]["expr"]) == {f"lockgate:{name}:over"} for alert in PACED[name])


def test_time_beyond_a_limit_is_that_of_the_objective() -> None:
    """Its bounds of records that wait, of time without a checkpoint and of the policies' age, and how long the first record may wait."""
    lag, policy = DEFAULTS.audit_lag, DEFAULTS.policy_age
    assert lag is not None
    assert policy is not None
    over = RECORD["lockgate:audit_lag:over"]
    assert re.findall(r"lockgate_audit_waiting > bool (\d+)", over) == [str(lag.waiting)]
    assert re.findall(r"offset (\d+)m", over) == [f"{lag.unsigned / 60:g}"]
    assert re.findall(r"lockgate_audit_unsigned\[(\d+)m\]", over) == [f"{SIGNING_S / 60:g}"]
    assert RECORD["lockgate:policy_age:over"] == f"lockgate_policy_age_seconds > bool {policy.most:g}"


def test_abstentions_burn_what_is_borne_without_a_word() -> None:
    """The budget is the share up to which the objective says nothing, and the night's handful of requests is as many for both."""
    wanted = DEFAULTS.abstention
    assert wanted is not None
    (alert,) = PACED["abstention"]
    assert paces(alert) == (FAST, {wanted.above})
    assert re.findall(r"\* 3600 > (\d+)$", ALERT[alert]["expr"]) == [str(wanted.least)]


def test_what_counts_as_not_judged_is_what_the_alerts_count() -> None:
    """Reasons of refusals and of verdicts, letter for letter."""
    expression = RECORD["lockgate:unjudged:rate5m"]
    assert re.findall(r'reason=~"([^"]+)"', expression) == [REFUSALS.pattern, VERDICTS.pattern]
    assert 'lockgate_classifications_total{status="unavailable"}' in expression
    assert 'lockgate_requests_total{result="abstained"}' in RECORD["lockgate:abstained:rate5m"]
    assert DEFAULTS.decisions is not None
    assert f'le="{DEFAULTS.decisions.within:g}"' in RECORD["lockgate:slow_decisions:rate5m"]


def test_limits_are_those_of_the_alerts() -> None:
    """Of records that wait, of records that are not signed, of policies that nobody confirms; and for how long each is borne."""
    lag, policy = DEFAULTS.audit_lag, DEFAULTS.policy_age
    assert lag is not None
    assert policy is not None
    waiting, unsigned, stale = ALERT["LockgateRecordsWaiting"], ALERT["LockgateUnsigned"], ALERT["LockgatePolicyStale"]
    assert waiting["expr"] == f"min_over_time(lockgate_audit_waiting[3m]) > {lag.waiting}"
    assert (waiting["for"], WAITING_S) == ("2m", 300)
    assert f"changes(lockgate:audit_signed[{lag.unsigned / 60:g}m]) == 0" in unsigned["expr"]
    assert (unsigned["for"], UNSIGNED_S) == ("5m", 300)
    assert stale["expr"] == f"lockgate_policy_age_seconds > {policy.most:g}"
    assert (stale["for"], POLICY_S) == ("5m", 300)


def test_abstention_is_that_of_the_alert() -> None:
    """How many times the day's share, from which share on, of how many requests, for how long."""
    wanted, alert = DEFAULTS.abstention, ALERT["LockgateAbstentionDrifts"]
    assert wanted is not None
    assert f"> {wanted.times:g} * (avg_over_time(lockgate:abstained:rate5m[1d] offset 1h)" in alert["expr"]
    assert re.findall(r"> ([\d.]+)(?: and|$)", alert["expr"]) == [f"{wanted.above:g}", str(wanted.least)]
    assert (alert["for"], ABSTENTION_S) == ("15m", 900)


def test_every_objective_has_the_alerts_of_its_rule() -> None:
    """And no alert that there is not."""
    assert set(ALERTS) == {name for name, value in DEFAULTS if isinstance(value, Strict)}
    assert {alert for told in (ALERTS, PACED) for alerts in told.values() for alert in alerts} <= set(ALERT)
    assert {*ALERTS} - {*PACED} == {"judged", "decisions"}
    assert ours(set(ALERT)) >= {name for name in ALERT if "Unjudged" in name or "DecisionsSlow" in name}


@pytest.mark.parametrize("case", ASKED, ids=lambda case: case.name)
def test_alerts_and_objectives_say_the_same_of_the_same_series(case: Case) -> None:
    """What `promtool test rules` sees firing and quiet, at each time that it looks: fast is fast, slow alone is a risk, and the rest
    is neither."""
    for at, expected in case.expected.items():
        seen, now = looked(case, BEGIN, at), BEGIN + at
        for name, history, target in (("judged", seen.judged, 0.999), ("decisions", seen.decisions, 0.99)):
            told = judged_share(target, history, now, "requests", "judged")
            fast, slow = ALERTS[name]
            assert (told.state is State.BURNING_FAST) == (fast in expected), (at, name, told)
            if told.state is not State.BURNING_FAST:
                assert (told.state in (State.AT_RISK, State.MISSED)) == (slow in expected), (at, name, told)
        moved = drift(seen.ended, now).moved(2.0, 0.05, 100)
        assert moved == ("LockgateAbstentionDrifts" in expected), (at, drift(seen.ended, now))


def test_enough_is_compared() -> None:
    """Each alert of a share, and the one of abstentions, both firing and quiet."""
    fired = {name for case in ASKED for expected in case.expected.values() for name in ours(expected)}
    assert fired >= {*ALERTS["judged"], *ALERTS["decisions"], *ALERTS["abstention"]}
    assert any(not expected for case in ASKED for expected in case.expected.values())
