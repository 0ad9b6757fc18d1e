"""Whether and when to try again, with time and chance given."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http_upstream.retry import Failed, RetryBudget, RetryPolicy, retry_after

ALL = frozenset(("connect", "reset", "502", "503", "504"))
RESET = Failed("upstream_reset", attempt=1, repeatable=True, remaining=10.0)


class Fixed:
    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


def policy(attempts: int = 3, causes: frozenset[str] = ALL, floor: int = 100, chance: float = 0.5) -> RetryPolicy:
    return RetryPolicy(attempts, causes, RetryBudget(0.0, floor), base=0.1, limit=1.0, random=Fixed(chance))


def test_backoff_doubles_and_is_jittered() -> None:
    """Half of 0.1, of 0.2, of 0.4 seconds when chance says a half; never more than half of the limit."""
    many = policy(attempts=10)
    waits = [many.delay(replace(RESET, attempt=attempt), 0.0) for attempt in (1, 2, 3, 9)]
    assert waits == pytest.approx([0.05, 0.1, 0.2, 0.5])


def test_attempts_are_total_tries() -> None:
    """The third of three failures is the answer."""
    assert policy().delay(replace(RESET, attempt=3), 0.0) is None


def test_what_cannot_be_repeated_is_final() -> None:
    """Sent and not idempotent, or a body that is gone."""
    assert policy().delay(replace(RESET, repeatable=False), 0.0) is None


@pytest.mark.parametrize(
    ("code", "cause"),
    [("connect_failed", "connect"), ("connect_timeout", "connect"), ("tls_failed", "connect"), ("upstream_reset", "reset"), ("503", "503")],
)
def test_only_configured_causes(code: str, cause: str) -> None:
    """A cause switched off is final, switched on it is retried."""
    failed = replace(RESET, cause=code)
    assert policy(causes=frozenset((cause,))).delay(failed, 0.0) is not None
    assert policy(causes=ALL - {cause}).delay(failed, 0.0) is None


@pytest.mark.parametrize("code", ["upstream_timeout", "upstream_idle", "upstream_protocol", "request_unsendable", "circuit_open", "500"])
def test_some_causes_are_never_retried(code: str) -> None:
    """Time is up, or the next try would end the same way."""
    assert policy().delay(replace(RESET, cause=code), 0.0) is None


@pytest.mark.parametrize(("wait", "waits"), [(29.0, True), (30.0, False), (86_400.0, False), (math.inf, False)])
def test_without_a_total_nobody_waits_for_as_long_as_an_upstream_likes(wait: float, waits: bool) -> None:
    """Its answer is passed on then, with what it asks for."""
    failed = Failed("503", attempt=1, repeatable=True, remaining=math.inf, wait=wait)
    assert (policy().delay(failed, 0.0) is not None) is waits


def test_retry_after_is_a_lower_bound() -> None:
    """The upstream's wish wins over a shorter backoff, not over a longer one."""
    assert policy().delay(replace(RESET, cause="503", wait=2.0), 0.0) == 2.0
    assert policy().delay(replace(RESET, cause="503", wait=0.0), 0.0) == pytest.approx(0.05)


def test_no_wait_outlasts_the_deadline() -> None:
    """A retry that could not begin in time is not made, and spends nothing."""
    one = policy(floor=1)
    assert one.delay(replace(RESET, remaining=2.0, wait=2.0), 0.0) is None
    assert one.delay(RESET, 0.0) is not None


def test_single_attempt_looks_at_no_status() -> None:
    """With one attempt there is nothing to decide on responses."""
    assert policy(attempts=1).statuses == frozenset()
    assert policy().statuses == {502, 503, 504}


def test_budget_is_a_share_of_requests_above_a_floor() -> None:
    """Twenty percent of a hundred requests, and three."""
    budget = RetryBudget(0.2, 3)
    for _ in range(100):
        budget.count(5.0)
    assert sum(budget.spend(5.0) for _ in range(50)) == 23


def test_budget_forgets() -> None:
    """After the window the floor is free again, and old requests earn nothing."""
    budget = RetryBudget(1.0, 1)
    for _ in range(5):
        budget.count(100.0)
    assert sum(budget.spend(100.0) for _ in range(10)) == 6
    assert sum(budget.spend(109.5) for _ in range(10)) == 0
    assert sum(budget.spend(200.0) for _ in range(10)) == 1


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=80))
def test_budget_never_exceeds_its_ratio(steps: list[tuple[float, bool]]) -> None:
    """Whatever comes in whatever order: within any ten seconds, retries stay under floor + ratio × requests of the window."""
    budget = RetryBudget(0.5, 2)
    now, requests, granted = 1000.0, 0, 0
    for pause, retry in steps:
        now += pause
        if retry:
            granted += budget.spend(now)
        else:
            budget.count(now)
            requests += 1
        if now < 1010.0:  # nothing has left the window yet
            assert granted <= 2 + 0.5 * requests + 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"3", 3.0),
        (b" 0 ", 0.0),
        (format_datetime(datetime.fromtimestamp(1_800_000_060, UTC), usegmt=True).encode(), 60.0),
        (format_datetime(datetime.fromtimestamp(1_700_000_000, UTC), usegmt=True).encode(), 0.0),
        (b"-1", None),
        (b"soon", None),
        (b"", None),
        ("³".encode(), None),
        (b"Tue, 99 Foo 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: bytes, seconds: float | None) -> None:
    """RFC 9110 §10.2.3; nonsense is as if absent."""
    assert retry_after([(b"date", b"x"), (b"retry-after", value)], 1_800_000_000.0) == seconds


def test_no_retry_after() -> None:
    """Absent is None, not zero."""
    assert retry_after([], 0.0) is None
