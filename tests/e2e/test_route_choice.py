"""Which of several routes a request takes, by how they stand, under policy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli, prepared
from tests.e2e.wire import Answer
from tests.e2e.yard import load, save


@pytest.fixture
def lockgate(tmp_path: Path) -> Iterator[Lockgate]:
    """Its first service is not there; a second one, which costs more, is."""
    with prepared(tmp_path, policy={"library": ["route_choice"]}) as made:
        catalog = load(tmp_path / "catalog.yaml")
        away = {**catalog["destinations"]["nobody"], "circuit": {"failures": 3, "open": "1h"}}
        catalog["destinations"]["away"] = away
        catalog["routes"]["cheap"] = {"destination": "away", "cost": 1, "alternatives": ["dear"]}
        catalog["routes"]["dear"] = {"destination": "service", "cost": 5, "sla": {"latency": "30s"}}
        catalog["intents"]["look"]["route"] = "cheap"
        save(tmp_path / "catalog.yaml", catalog)
        data = load(made.yard.data)
        data["lockgate"]["config"]["route_choice"] = {"failing": 0.05}
        save(made.yard.data, data)
        made.start()
        yield made


def test_requests_leave_a_destination_that_fails_and_the_record_says_why(lockgate: Lockgate) -> None:
    """What policy was told is kept with the decision, so that it is judged the same again."""
    first = look(lockgate)
    assert (first.status, why(lockgate, first)) == (502, ("cheap", "rule"))
    until(lambda: look(lockgate).status == 200, "policy chose the other route")
    answer = look(lockgate)
    assert (answer.status, why(lockgate, answer)) == (200, ("dear", "reroute"))
    verdict = lockgate.story(answer.decision)[0]["verdict"]
    assert (verdict["effect"], verdict["reasons"][0]) == ("reroute", "route_choice.failing")
    replayed = json.loads(cli("policy", "replay", "--config", str(lockgate.yard.config), "--json").stdout)
    assert (replayed["differences"], replayed["not_reproduced"], replayed["compared"] > 3) == ([], [], True), replayed


def look(lockgate: Lockgate) -> Answer:
    return lockgate.ask("ann", "GET", "/items/4711")


def why(lockgate: Lockgate, answer: Answer) -> tuple[str, str]:
    route = lockgate.story(answer.decision)[0]["route"]
    return route["name"], route["why"]
