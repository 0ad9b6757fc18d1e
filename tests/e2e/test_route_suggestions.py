"""A better route for an intent, from what became of its requests to what decides, over real services of which one is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import until
from tests.e2e.running import PEOPLE, Lockgate, Person, cli, prepared
from tests.e2e.yard import load, save

EACH = 15
OFFICE = (
    *PEOPLE,
    Person("ada", ("policy_author",), ("control", "control:audit.personal")),
    Person("ben", ("policy_approver",), ("control", "control:audit.personal")),
)
PILOT = """result := {"effect": "reroute", "route": "dear", "reasons": [{"code": "pilot", "message": "a pilot"}]} if {
	input.subject.id == "bob"
	input.route.name == "cheap"
} else := {"effect": "deny","""


@contextmanager
def two_routes(folder: Path) -> Iterator[Lockgate]:
    """The service of one intent's route is not there; policy sends bob to another one, which is."""
    with prepared(folder, people=OFFICE, learning={"suggestions": {"least": 12, "every": "1h"}}) as made:
        catalog = load(folder / "catalog.yaml")
        catalog["routes"]["cheap"] = {"destination": "nobody", "cost": 1, "alternatives": ["dear"]}
        catalog["routes"]["dear"] = {"destination": "service", "cost": 5, "alternatives": ["cheap"]}
        catalog["intents"]["look"]["route"] = "cheap"
        save(folder / "catalog.yaml", {**catalog, "learned": "learned.yaml"})
        policy = folder / "policies/lockgate/decision.rego"
        policy.write_text(policy.read_text().replace('result := {"effect": "deny",', PILOT, 1))
        made.start()
        yield made


@pytest.fixture(scope="module")
def lockgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    with two_routes(tmp_path_factory.mktemp("routes")) as made:
        yield made


def test_a_route_that_fails_less_is_suggested_adopted_approved_and_taken_back(lockgate: Lockgate) -> None:
    """Nobody's proposal until somebody makes it theirs, and then not theirs to approve. Its effect is told before and after policy was
    asked again. Rolled out, requests of the intent go elsewhere; taken back, they do not."""
    asked(lockgate)
    printed = said(lockgate, "suggest")
    for words in ("Would succeed: 100.0 %", "instead of 50.0 %", "Suggested: more succeed", "look (route dear)"):
        assert words in printed
    (told,) = lockgate.control("GET", "/v1/proposals?state=suggested", who="ada").json["proposals"]
    proposal, effect = f"/v1/proposals/{told['id']}", told["effect"]
    assert (told["state"], told["author"], told["why"]) == ("suggested", None, "more_succeed")
    assert (effect["requests"], effect["moved"], effect["cost"]) == (2 * EACH, 0.5, {"before": 3.0, "after": 5.0})
    assert (effect["success"]["before"]["mean"], effect["success"]["after"]["mean"]) == (0.5, 1.0)
    assert [each["why_not"] for each in suggest(lockgate)["considered"]] == ["open"]

    assert lockgate.control("POST", f"{proposal}/evaluate", who="ada").code == "proposal_state"
    assert lockgate.control("POST", f"{proposal}/adopt", {"comment": "it is down too often"}, who="ada").status == 200
    evaluated = lockgate.control("POST", f"{proposal}/evaluate", who="ada")
    assert evaluated.status == 200, evaluated
    evaluation = evaluated.json["evaluation"]
    assert (evaluation["faults"], evaluation["figures"]["route"]["policy_asked"]) == ([], True)
    assert evaluation["figures"]["route"]["success"]["after"]["mean"] == 1.0
    approval = {"binding": evaluation["binding"]}
    assert lockgate.control("POST", f"{proposal}/approve", approval, who="ada").code == "permission_missing"
    assert lockgate.control("POST", f"{proposal}/approve", approval, who="ben").status == 200
    assert lockgate.control("POST", f"{proposal}/roll-out", {}, who="ben").status == 200
    assert until(lambda: route(lockgate, "ann") == ("dear", "rule"), "the route changed")
    assert [each["why_not"] for each in suggest(lockgate)["considered"]] == ["too_few"], "only what came since counts"
    assert lockgate.control("POST", f"{proposal}/revert", {}, who="ben").status == 200
    assert until(lambda: route(lockgate, "ann") == ("cheap", "rule"), "it changed back")
    steps = [leaf for leaf in lockgate.leaves() if leaf.get("id") == told["id"]]
    names = ("suggested", "adopted", "evaluated", "approved", "rolled_out", "reverted")
    assert [leaf["event"] for leaf in steps] == [f"proposal_{name}" for name in names]
    assert steps[0]["details"]["effect"]["success"]["difference"]["mean"] == "0.500000"
    assert lockgate.verify().returncode == 0


def test_a_route_by_hand_is_told_what_it_would_do(lockgate: Lockgate) -> None:
    """Where nothing was asked for nothing is known; what goes there already, or nowhere, is refused."""
    wanted = {"type": "route", "intent": "pay", "route": "dear"}
    drafted = lockgate.control("POST", "/v1/proposals", wanted, who="ada")
    assert (drafted.status, drafted.json["effect"]["requests"]) == (201, 0), drafted
    same = lockgate.control("POST", "/v1/proposals", {**wanted, "route": "plain"}, who="ada")
    assert (same.status, same.code) == (409, "proposal_nothing")
    gone = lockgate.control("POST", "/v1/proposals", {**wanted, "route": "nowhere"}, who="ada")
    assert (gone.status, gone.code) == (422, "proposal_unfit")


def asked(lockgate: Lockgate) -> None:
    """Ends when all outcomes are on record."""
    ids = [lockgate.ask(who, "GET", "/items/1").decision for _ in range(EACH) for who in ("ann", "bob")]
    lockgate.outcome(ids[-1])
    until(lambda: sum(leaf["schema"] == "lockgate.outcome.v1" and leaf["id"] in ids for leaf in lockgate.leaves()) == len(ids), "all ended")


def suggest(lockgate: Lockgate) -> Any:
    answer = lockgate.control("POST", "/v1/proposals/suggestions", who="ada")
    assert answer.status == 200, answer
    return answer.json


def said(lockgate: Lockgate, *arguments: str) -> str:
    url = f"http://127.0.0.1:{lockgate.ports['control']}"
    done = cli("proposals", *arguments, "--url", url, "--key", lockgate.keys["ada"])
    assert done.returncode == 0, done.stderr
    return done.stdout


def route(lockgate: Lockgate, who: str) -> tuple[str, str]:
    found = lockgate.story(lockgate.ask(who, "GET", "/items/1").decision)[0]["route"]
    return found["name"], found["why"]
