"""Who gets the second destination of a route."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decision import ANONYMOUS, NO_BODY, Request, Route, Subject
from router.stages.canary import Canary, place, split

ROUTE = Route("pay", "v1", "rule", "/pay", "POST")


def request(who: str = "ann", *roles: str, client: str = "10.0.0.1", header: str | None = None, tenant: str | None = None) -> Request:
    subject = ANONYMOUS if who == "" else Subject(who, "user", roles, (), tenant, {}, "api_key")
    headers = () if header is None else (("x-version", header),)
    return Request("r", 0, "gateway", subject, "POST", "h", "/pay", "", headers, "", NO_BODY, client)


def taken(canary: Canary, asked: Request, route: Route = ROUTE) -> tuple[str, str]:
    found = split({"pay": canary}, route, asked)
    assert (found.name, found.path, found.method, found.split) == (route.name, route.path, route.method, True)
    return found.destination, found.why


@given(st.text(min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_share_that_grows_keeps_whom_it_has(who: str, one: float, other: float) -> None:
    """Everybody stands at one place, and always gets the same."""
    small, large = sorted((one, other))
    asked = request(who)
    assert taken(Canary("v2", small), asked) == taken(Canary("v2", small), asked)
    if taken(Canary("v2", small), asked)[0] == "v2":
        assert taken(Canary("v2", large), asked) == ("v2", "canary")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_a_share_is_a_share(share: float) -> None:
    """Of many callers, within four standard deviations."""
    found = sum(taken(Canary("v2", share), request(f"s{number}"))[0] == "v2" for number in range(5000))
    assert abs(found - 5000 * share) <= 4 * (5000 * share * (1 - share)) ** 0.5


def test_another_route_tries_other_people_first() -> None:
    """Places on two routes have nothing to do with each other."""
    both = sum(place("pay", f"s{number}") < 0.5 and place("ask", f"s{number}") < 0.5 for number in range(4000))
    assert 850 < both < 1150


def test_it_is_the_same_everywhere() -> None:
    """Workers, nodes and later versions agree on where somebody stands."""
    assert place("pay", "subject:ann") == pytest.approx(0.5117572, abs=1e-6)


@pytest.mark.parametrize(
    ("by", "one", "other"),
    [
        ("subject", request("ann", client="10.0.0.1"), request("ann", client="10.0.0.2")),
        ("tenant", request("ann", tenant="t"), request("bob", tenant="t")),
        ("client", request("ann", client="10.0.0.1"), request("bob", client="10.0.0.1")),
        ("subject", request("", client="10.0.0.1"), request("", client="10.0.0.1")),
    ],
)
def test_who_is_told_apart_by_what(by: str, one: Request, other: Request) -> None:
    """One subject, tenant or address gets one destination; the anonymous are told apart by address."""
    for percent in range(0, 101, 5):
        canary = Canary("v2", percent / 100, by)  # type: ignore[arg-type]
        assert taken(canary, one) == taken(canary, other)


TESTED = Canary("v2", 0.0, header="x-version", testers=frozenset(("tester",)))


@pytest.mark.parametrize(
    ("asked", "share", "expected"),
    [
        (request("tom", "tester", header="canary"), 0.0, ("v2", "canary_asked")),
        (request("tom", "tester", header="Stable"), 1.0, ("v1", "rule")),
        (request("tom", "tester", header="neither"), 1.0, ("v2", "canary")),
        (request("tom", "tester"), 0.0, ("v1", "rule")),
        (request("eve", "user", header="canary"), 0.0, ("v1", "rule")),
        (request("eve", "user", header="stable"), 1.0, ("v2", "canary")),
        (request("", header="canary"), 0.0, ("v1", "rule")),
    ],
)
def test_testers_choose_and_nobody_else(asked: Request, share: float, expected: tuple[str, str]) -> None:
    """By a role; the header of anybody else says nothing."""
    assert taken(replace(TESTED, share=share), asked) == expected


def test_two_choices_are_none() -> None:
    """No order between them would be safe to guess."""
    asked = replace(request("tom", "tester"), headers=(("x-version", "canary"), ("x-version", "stable")))
    assert taken(TESTED, asked) == ("v1", "rule")


def test_a_route_without_one_stays_as_it_is() -> None:
    """The very same value."""
    assert split({"ask": TESTED}, ROUTE, request()) is ROUTE
