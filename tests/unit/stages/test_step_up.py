"""An authentication suffices only by what the token says of it; the challenge tells how to do better."""

from __future__ import annotations

from typing import Any

import pytest

from router.decision import Subject
from router.stages.step_up import challenge, lacking

NOW_S = 1_700_000_000
WANTED = {"acr": ["gold", "silver"], "amr": ["pwd", "hwk"], "max_age": "5m"}
CLAIMS = {"acr": "silver", "amr": ["hwk", "pwd", "user"], "auth_time": NOW_S - 60}


def asked(wanted: dict[str, Any] = WANTED, **changed: Any) -> str | None:
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not ...}
    return lacking(Subject("anna", "user", claims=claims, authenticated_by="jwt"), wanted, NOW_S * 1_000_000_000)


def test_an_authentication_that_is_good_and_recent_suffices() -> None:
    """Any of the classes, all of the methods."""
    assert asked() is None
    assert asked(auth_time=NOW_S - 300) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"acr": "bronze"}, {"acr": ...}, {"acr": ["gold"]}, {"amr": ["pwd"]}, {"amr": "pwd hwk"}, {"amr": ...},
        {"auth_time": NOW_S - 301}, {"auth_time": ...}, {"auth_time": str(NOW_S)}, {"auth_time": True}, {"auth_time": float("nan")},
        {"auth_time": NOW_S + 3600}, {"auth_time": -1}, {"auth_time": float("inf")},
    ],
)  # fmt: skip
def test_what_is_missing_old_or_odd_does_not(changed: dict[str, Any]) -> None:
    """A claim says what it should, or it says nothing."""
    assert asked(**changed) is not None


@pytest.mark.parametrize("wanted", [{"acr": ["gold"]}, {"amr": ["otp"]}, {"max_age": "30s"}])
def test_each_demand_stands_alone(wanted: dict[str, Any]) -> None:
    """One of them is enough to ask for more."""
    assert asked(wanted) is not None
    assert asked(wanted, acr="gold", amr=["otp"], auth_time=NOW_S) is None


def test_the_challenge_is_that_of_rfc_9470() -> None:
    """Error, classes and age in the header field that clients of OAuth read."""
    name, value = challenge(WANTED, "A stronger authentication is required.")
    assert name == "www-authenticate"
    assert value == (
        'Bearer realm="lockgate", error="insufficient_user_authentication", error_description="A stronger authentication is required.", '
        'acr_values="gold silver", max_age="300"'
    )
