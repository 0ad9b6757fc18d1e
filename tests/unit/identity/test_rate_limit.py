from __future__ import annotations

import pytest

from adapters.local_limits import LocalLimits
from router.caller import By
from router.decision import ANONYMOUS, Subject
from router.identity.rate_limit import LimitRule, RateLimiter
from router.limiting import Limit, Limiting
from tests.unit.identity.parts import ALICE, HandClock

BOB = Subject("bob", "user", tenant="halden", authenticated_by="jwt")


def limiter(by: By, clock: HandClock, rate: float = 0.1) -> RateLimiter:
    return RateLimiter([LimitRule(by, Limit("test", rate, 1, LocalLimits(rate, 1, clock)))], Limiting())


async def shares(by: By, first: tuple[Subject, str], second: tuple[Subject, str]) -> bool:
    checker = limiter(by, HandClock())
    assert await checker.admit(*first) is None
    return await checker.admit(*second) is not None


@pytest.mark.parametrize(
    ("by", "first", "second", "expected"),
    [
        ("subject", (ALICE, "1.1.1.1"), (ALICE, "2.2.2.2"), True),
        ("subject", (ALICE, "1.1.1.1"), (BOB, "1.1.1.1"), False),
        ("subject", (ANONYMOUS, "1.1.1.1"), (ANONYMOUS, "2.2.2.2"), False),
        ("tenant", (ALICE, "1.1.1.1"), (BOB, "2.2.2.2"), True),
        ("tenant", (ALICE, "1.1.1.1"), (Subject("eve", "user", tenant="other"), "1.1.1.1"), False),
        ("client", (ALICE, "1.1.1.1"), (BOB, "1.1.1.1"), True),
        ("client", (ALICE, "1.1.1.1"), (ALICE, "2.2.2.2"), False),
        ("client", (ALICE, "2001:db8::1"), (BOB, "2001:db8::ffff:1"), True),
        ("client", (ALICE, "2001:db8::1"), (BOB, "2001:db8:0:1::1"), False),
        ("client", (ALICE, "::ffff:1.1.1.1"), (ALICE, "::ffff:2.2.2.2"), False),
        ("all", (ALICE, "1.1.1.1"), (BOB, "2.2.2.2"), True),
    ],
)
async def test_who_shares_an_allowance(by: By, first: tuple[Subject, str], second: tuple[Subject, str], expected: bool) -> None:
    """Each kind of limit puts together exactly the callers it names."""
    assert await shares(by, first, second) is expected


async def test_a_refusal_says_when_to_come_back() -> None:
    """The wait is what the rule that refused says."""
    checker = limiter("all", HandClock())
    assert [await checker.admit(ALICE, "") for _ in range(2)] == [None, 10.0]


async def test_no_rules_admit_everybody() -> None:
    """Without configured limits nothing is counted."""
    checker = RateLimiter([], Limiting())
    assert {await checker.admit(ALICE, "") for _ in range(100)} == {None}


async def test_a_long_wait_is_capped() -> None:
    """Nobody is told to come back after more than an hour."""
    checker = limiter("all", HandClock(), rate=1e-9)
    assert [await checker.admit(ALICE, "") for _ in range(2)] == [None, 3600.0]
