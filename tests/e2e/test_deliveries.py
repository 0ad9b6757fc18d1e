"""What an operator sees of deliveries, and does about those that were given up."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli, prepared
from tests.e2e.test_events import SOURCES, Target, leads, shop


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lockgate, Target]]:
    target = Target()
    try:
        with prepared(tmp_path_factory.mktemp("deliveries"), events={"sources": SOURCES}) as made:
            leads(made, target)
            made.start()
            yield made, target
    finally:
        target.close()


@pytest.fixture
def lockgate(standing: tuple[Lockgate, Target]) -> Iterator[Lockgate]:
    """One for all; no delivery of the test before is left."""
    made, target = standing
    yield made
    target.answer = lambda _: 200
    until(lambda: listed(made, "any") == [], "everything was delivered")


@pytest.fixture
def target(standing: tuple[Lockgate, Target]) -> Target:
    standing[1].came.clear()
    return standing[1]


def command(lockgate: Lockgate, *arguments: str, who: str = "root") -> subprocess.CompletedProcess[str]:
    where = ("--url", f"http://127.0.0.1:{lockgate.ports['control']}", "--key", lockgate.keys[who])
    return cli("deliveries", *arguments, *where)


def listed(lockgate: Lockgate, state: str) -> list[Any]:
    found: list[Any] = json.loads(command(lockgate, "list", "--state", state, "--json").stdout)
    return found


def test_what_was_given_up_is_listed_retried_and_dropped(lockgate: Lockgate, target: Target) -> None:
    """Who may not is told so; each order is on record; what is retried goes out under the same key, and what is dropped is gone."""
    target.answer = lambda _: 400
    first, second = (shop(lockgate, name).json["decision_id"] for name in ("m1", "m2"))
    until(lambda: len(listed(lockgate, "dead")) == 2, "both were given up")
    (seen,) = [each for each in listed(lockgate, "any") if each["id"] == first]
    told = {name: seen[name] for name in ("state", "route", "destination", "due", "attempts", "reason", "next")}
    assert told == {
        "state": "dead", "route": "orders", "destination": "target", "due": "dispatch", "attempts": 1, "reason": "delivery_refused",
        "next": None,
    }  # fmt: skip
    assert first in command(lockgate, "list").stdout
    until(lambda: "lockgate_deliveries_dead 2.0" in lockgate.control("GET", "/metrics").body.decode(), "the figure says so")
    refused = command(lockgate, "retry", first, who="idle")
    assert (refused.returncode, "deliveries.write" in refused.stderr) == (2, True), refused.stderr
    target.answer = lambda _: 200
    retried = command(lockgate, "retry", first)
    assert retried.returncode == 0, retried.stderr
    until(lambda: target.keys().count(first) == 2, "it was sent again")
    until(lambda: [each["id"] for each in listed(lockgate, "any")] == [second], "it has ended")
    results = [leaf["outcome"]["result"] for leaf in lockgate.story(first) if leaf["schema"] == "lockgate.outcome.v1"]
    assert results == ["failed", "routed"]
    assert command(lockgate, "drop", second, "--yes").returncode == 0
    assert listed(lockgate, "any") == []
    assert "dropped" in command(lockgate, "show", second).stdout
    assert command(lockgate, "drop", second, "--yes").returncode == 2
    assert [details["decision"] for details in lockgate.system("delivery_retried")] == [first]
    assert [details["decision"] for details in lockgate.system("delivery_dropped")] == [second]
    assert lockgate.verify().returncode == 0


def test_what_waits_can_be_seen_but_neither_retried_nor_dropped(lockgate: Lockgate, target: Target) -> None:
    """It is tried anyhow. Nothing of what was asked is shown."""
    target.answer = lambda _: 503
    waiting = shop(lockgate, "m3", note="do-not-tell").json["decision_id"]
    until(lambda: any(each["attempts"] for each in listed(lockgate, "pending")), "it failed once")
    shown = lockgate.control("GET", f"/v1/deliveries/{waiting}")
    assert (shown.status, shown.json["reason"], b"do-not-tell" in shown.body) == (200, "status_503", False)
    for order in ("retry", "drop"):
        assert lockgate.control("POST", f"/v1/deliveries/{waiting}/{order}").code == "delivery_not_dead"
    assert lockgate.control("GET", "/v1/deliveries/unknown").code == "delivery_not_found"
    assert lockgate.control("GET", "/v1/deliveries?cursor=x").code == "request_invalid"
