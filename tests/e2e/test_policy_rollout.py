"""Policies that are brought in step by step, and taken back: by a guard, by hand, and to what was in force before."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.bundle_server import Shelf, serving
from tests.e2e.load import load
from tests.e2e.processes import until
from tests.e2e.rolling import PEOPLE, archive, asked, begun, closed_data, events, is_now, move, propose, put, shown
from tests.e2e.running import Lockgate, cli, company, prepared
from tests.e2e.test_policy_bundles import bundle, in_force
from tests.e2e.test_reload import nothing_failed
from tests.unit.bundle.making import PUBLIC, pair, signing

FREE = {"flips": None, "looser": None, "errors": None, "latency": None}
START = Callable[..., Lockgate]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[START]:
    with ExitStack() as stack:
        yield lambda *arguments, **changes: stack.enter_context(company(tmp_path, *arguments, people=PEOPLE, **changes))


def test_a_candidate_comes_into_force_step_by_step_under_load(start: START) -> None:
    """Proposed by one, approved by another; in shadow it changes nothing, at a share the same callers are always judged by it, and in the
    end it is in force, also after a restart. No request fails on the way, each step is on record with both people, and decisions name the
    policies that decided them."""
    lockgate = start("--workers", "2")
    candidate = archive(closed_data())
    steps = [{}, {"share": "30%"}, {"share": "60%"}]
    with load(lockgate, 2) as seen:
        until(lambda: seen.answered > 100, "there was some load")
        rollout = begun(lockgate, candidate, {"steps": steps, "least": 1, "guards": FREE})
        assert set(asked(lockgate).values()) == {200}
        counted = until(lambda: (now := shown(lockgate, rollout)["seen"])["flips"] >= 40 and now, "the shadow saw what would flip")
        assert counted["flipped"][0] == {"intent": "look", "what": "allow → deny", "reason": "rbac.no_grant", "requests": counted["flips"]}
        assert (counted["decided"], counted["looser"], counted["failures"]) == (0, 0, 0)
        assert move(lockgate, rollout, "advance").json["stage"] == "30 %"
        some = {who for who, status in asked(lockgate).items() if status == 403}
        assert 3 <= len(some) <= 22
        assert {who for who, status in asked(lockgate).items() if status == 403} == some
        assert move(lockgate, rollout, "advance").json["stage"] == "60 %"
        more = {who for who, status in asked(lockgate).items() if status == 403}
        assert some < more
        assert len(more) < 40
        assert move(lockgate, rollout, "advance").json["state"] == "promoted"
        assert set(asked(lockgate, 5).values()) == {403}
        after = seen.answered
        until(lambda: seen.answered > after + 100, "load went on")
    assert nothing_failed(seen), (seen.statuses, seen.broken)
    _recorded(lockgate, rollout)
    lockgate.process.stop()
    lockgate.start()
    assert lockgate.ask("ann", "GET", "/items/1").code == "rbac.no_grant"
    assert lockgate.verify().returncode == 0


def _recorded(lockgate: Lockgate, rollout: str) -> None:
    told = [(event, details) for event, details in events(lockgate) if event.startswith("rollout_")]
    assert [event for event, _ in told] == [
        "rollout_proposed",
        "rollout_approved",
        "rollout_stepped",
        "rollout_stepped",
        "rollout_promoted",
    ]
    history = shown(lockgate, rollout)["history"]
    assert [each["by"] for each in history] == ["ada", "pat", "pat", "pat", "pat"]
    assert len({details["author"] for _, details in told}) == 1
    assert {details["approver"] for _, details in told[1:]} != {told[0][1]["author"]}
    policies = {leaf["verdict"]["digest"] for leaf in lockgate.leaves() if leaf["schema"] == "lockgate.decision.v1"}
    assert policies == {told[0][1]["policy_digest"], told[0][1]["over_policy_digest"]}
    configs = {leaf["config_digest"] for leaf in lockgate.leaves() if leaf["schema"] == "lockgate.decision.v1"}
    assert told[0][1]["config_digest"] in configs


def test_a_guard_takes_it_back_by_itself(start: START) -> None:
    """Within moments of the first requests that show it; nobody is judged by it afterwards, and the record says why."""
    lockgate = start("--workers", "2")
    rollout = begun(lockgate, archive(closed_data()), {"steps": [{"share": "50%", "for": "1h"}], "least": 20, "guards": {"flips": "10%"}})
    waiting = ("policy", "rollout", "wait", rollout, "--config", str(lockgate.yard.config))
    assert cli(*waiting, "--timeout", "0.1", LOCKGATE_KEY=lockgate.keys["pat"]).returncode == 3
    asked(lockgate)
    waited = cli(*waiting, LOCKGATE_KEY=lockgate.keys["pat"])
    assert (waited.returncode, "guard_flips" in waited.stdout) == (1, True)
    ended = is_now(lockgate, rollout, "rolled_back")
    assert ended["reason"] == "guard_flips"
    assert set(asked(lockgate).values()) == {200}
    last = events(lockgate)[-1]
    assert (last[0], last[1]["reason"], last[1]["step"]) == ("rollout_rolled_back", "guard_flips", 1)
    assert last[1]["flips"] > 2
    assert last[1]["approver"]


SLOW = """package lockgate.rules.request.shape

deny contains {"code": "request.slow", "message": "It never is."} if {
	count([x | some x in numbers.range(1, 40000); x == input.request.path]) > 0
}
"""
FAILING = """package lockgate.rules.request.shape

deny contains {"code": "request.failing", "message": "It never is."} if {
	startswith(input.request.path, "/echo/word")
	json.unmarshal(input.request.path) == 7
}
"""


@pytest.mark.parametrize(
    ("name", "text", "engine"), [pytest.param("slow", SLOW, "embedded", marks=pytest.mark.slow), ("failing", FAILING, "isolated")]
)
def test_policies_that_fail_or_take_long_are_taken_back(start: START, name: str, text: str, engine: str) -> None:
    """In shadow, before anybody is judged by them, in this process or in confined ones."""
    lockgate = start(policy={"deadline": "1s", "engine": {"adapter": engine}})
    more = {f"lockgate/rules/request/shape/{name}.rego": text}
    guards = {"flips": None, "errors": "1%", "latency": 2}
    rollout = begun(lockgate, archive(more=more), {"steps": [{"for": "1h"}], "least": 10, "guards": guards})

    words = itertools.count()

    def taken_back() -> bool:
        assert set(asked(lockgate, 5, f"/echo/word{next(words)}").values()) == {200}
        return bool(shown(lockgate, rollout)["state"] == "rolled_back")

    until(taken_back, "it was rolled back")
    assert shown(lockgate, rollout)["reason"] == {"slow": "guard_latency", "failing": "guard_errors"}[name]


def test_it_goes_on_after_a_crash_and_ends_with_other_policies(start: START) -> None:
    """A worker that is killed comes back with it, a restart begins its step again; policies that are changed beneath it end it."""
    lockgate = start("--workers", "2")
    rollout = begun(lockgate, archive(closed_data()), {"steps": [{"share": "100%"}], "guards": FREE})
    assert set(asked(lockgate, 4).values()) == {403}
    former = lockgate.workers()
    os.kill(former[0], signal.SIGKILL)
    until(lambda: len(now := lockgate.workers()) == 2 and now != former, "another worker was started")
    until(lambda: lockgate.ready(), "it was ready")
    assert set(asked(lockgate, 8).values()) == {403}
    lockgate.process.kill()
    lockgate.start()
    until(lambda: set(asked(lockgate, 4).values()) == {403}, "it went on")
    data = lockgate.yard.data
    data.write_text(data.read_text() + "\n# changed\n")
    ended = is_now(lockgate, rollout, "superseded")
    assert ended["reason"] == "rollout_superseded"
    assert set(asked(lockgate, 4).values()) == {200}


def test_going_back_and_on(start: START) -> None:
    """To what was in force before, by one person and on record, whatever the workspace has; it lasts over a restart, and ends by hand or
    when the workspace has just that."""
    lockgate = start()
    before = lockgate.yard.data.read_bytes()
    first = lockgate.control("GET", "/v1/policy/versions", who="otto").json["versions"][0]
    lockgate.yard.data.write_text(yaml.safe_dump(closed_data()))
    versions = lambda: lockgate.control("GET", "/v1/policy/versions", who="otto").json["versions"]  # noqa: E731  # one line, once
    until(lambda: len(versions()) == 2, "the change was taken up")
    assert lockgate.ask("ann", "GET", "/items/1").status == 403
    back = lockgate.control("POST", "/v1/policy/rollback", {"to": first["version"], "comment": "too strict"}, "otto")
    assert back.json["override"]["why"] == "rolled_back"
    assert lockgate.ask("ann", "GET", "/items/1").status == 200
    again = lockgate.control("POST", "/v1/policy/rollback", {"to": first["version"]}, "otto")
    assert again.code == "policy_version_in_force"
    lockgate.process.stop()
    lockgate.start()
    assert lockgate.ask("ann", "GET", "/items/1").status == 200
    lockgate.yard.data.write_bytes(before)
    until(lambda: lockgate.control("GET", "/v1/policy/versions", who="otto").json["override"] is None, "the workspace had just that")
    assert lockgate.ask("ann", "GET", "/items/1").status == 200
    told: list[Any] = [(event, details.get("reason")) for event, details in events(lockgate)]
    assert told == [("policy_rolled_back", None), ("policy_override_ended", "same")]


@pytest.fixture
def prepare(tmp_path: Path) -> Iterator[START]:
    with ExitStack() as stack:
        yield lambda *arguments, **changes: stack.enter_context(prepared(tmp_path, *arguments, people=PEOPLE, **changes))


def test_signed_bundles_are_rolled_out_over_their_source(prepare: START) -> None:
    """A candidate has to be signed as a bundle has to. Once it is in force, the source's older one changes nothing; one can go back to an
    older sequence on purpose, and a newer one of the source ends that. There is no way back to a workspace that could not start: its own
    bundle is older than what was promoted, and without the override the next start would refuse it."""
    lockgate = prepare(policy={"bundle": {"from": "b.tar.gz", "keys": {"release": {"file": "k.pub"}}, "attested": "required"}})
    (lockgate.yard.folder / "k.pub").write_bytes(PUBLIC)
    file = lockgate.yard.folder / "b.tar.gz"
    put(file, bundle(5))
    lockgate.start()
    assert "was made by somebody else" in propose(lockgate, bundle(6, by=signing(pair()[0]))).json()["faults"][0]
    assert "5 was in force before" in propose(lockgate, bundle(4)).json()["faults"][0]
    rollout = begun(lockgate, bundle(6, closed=True), {"steps": [{"share": "100%"}], "guards": FREE})
    assert lockgate.ask("ann", "GET", "/items/1").code == "rbac.no_grant"
    assert move(lockgate, rollout, "advance").json["state"] == "promoted"
    assert in_force(lockgate)["sequence"] == 6
    none = lockgate.control("POST", "/v1/policy/rollback", {"to": "workspace"}, "otto")
    assert (none.status, none.code) == (422, "bundle_rolled_back"), none.json
    lockgate.process.stop()
    lockgate.start()
    assert in_force(lockgate)["sequence"] == 6
    back = lockgate.control("POST", "/v1/policy/rollback", {"to": "r5"}, "otto")
    assert (back.status, in_force(lockgate)["sequence"]) == (200, 5)
    assert back.json["override"]["why"] == "rolled_back"
    assert [event for event, _ in events(lockgate) if event == "policy_released"] == []
    assert lockgate.ask("ann", "GET", "/items/1").status == 200
    put(file, bundle(6, closed=True))
    until(lambda: lockgate.control("POST", "/v1/config/reload").status == 200, "it was looked at")
    assert in_force(lockgate)["sequence"] == 5
    lockgate.process.stop()
    lockgate.start()
    assert in_force(lockgate)["sequence"] == 5
    put(file, bundle(7))
    until(lambda: in_force(lockgate)["sequence"] == 7, "the newer one was taken up")
    assert [details["reason"] for event, details in events(lockgate) if event == "policy_override_ended"] == ["newer"]


@pytest.mark.slow
def test_a_server_of_bundles_goes_on_meanwhile(prepare: START) -> None:
    """What it gives is not used before it is newer than all that was in force; and an older one cannot be gone back to as the
    workspace's."""
    shelf = Shelf(bundle(1), waits=False)
    with serving(shelf):
        settings = {"from": shelf.url, "keys": {"release": {"file": "k.pub"}}, "attested": "required", "poll": "200ms"}
        lockgate = prepare(policy={"bundle": settings})
        (lockgate.yard.folder / "k.pub").write_bytes(PUBLIC)
        lockgate.start()
        rollout = begun(lockgate, bundle(6, closed=True), {"steps": [{"share": "100%"}], "guards": FREE})
        move(lockgate, rollout, "advance")
        shelf.put(bundle(2))
        asked_for = len(shelf.statuses)
        until(lambda: len(shelf.statuses) > asked_for + 2, "the server was asked again")
        assert in_force(lockgate)["sequence"] == 6
        back = lockgate.control("POST", "/v1/policy/rollback", {"to": "workspace"}, "otto")
        assert (back.code, "6 was in force before" in str(back.json)) == ("bundle_rolled_back", True)
        lockgate.process.stop()
        lockgate.start()
        assert in_force(lockgate)["sequence"] == 6
        assert lockgate.ask("ann", "GET", "/items/1").code == "rbac.no_grant"
        shelf.put(bundle(7))
        until(lambda: in_force(lockgate)["sequence"] == 7, "the newer one was taken up")
        assert lockgate.ask("ann", "GET", "/items/1").status == 200
