"""Objectives of a real Lockgate whose policy stops, whose ledger takes nothing, and whose decisions are slow."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.e2e.nodes import cluster
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli
from tests.e2e.yard import load, save
from tests.postgres_server import PostgresServer

Prepare = Callable[..., Lockgate]
OFTEN: dict[str, Any] = {"objectives": {"every": "1s"}}
STOPS = """package lockgate.rules.access.rbac

import data.lockgate.lib.violation

deny contains violation.reason("rbac.broken", "it stops half-way") if half > 1

half := 1 if startswith(input.request.path, "/items/")

half := 2 if startswith(input.request.path, "/items/x")
"""


def objective(lockgate: Lockgate, name: str) -> Any:
    return next((each for each in lockgate.control("GET", "/v1/objectives").json["objectives"] if each["name"] == name), None)


def told(lockgate: Lockgate, name: str, total: int) -> Any:
    """As soon as so many are counted."""

    def found() -> Any:
        seen = objective(lockgate, name)
        return seen if seen is not None and seen["windows"][-1]["total"] >= total else None

    return until(found, f"{total} were counted of {name}; it said:\n{lockgate.process.said[-2000:]}", 40)


def slowed(lockgate: Lockgate) -> None:
    """A decision whose record waits, because who owns the ledger stands still."""
    asking = Thread(target=lockgate.ask, args=("ann", "GET", "/items/1"))
    os.kill(lockgate.process.pid, signal.SIGSTOP)
    try:
        asking.start()
        time.sleep(0.3)
    finally:
        os.kill(lockgate.process.pid, signal.SIGCONT)
    asking.join()


def test_a_policy_that_stops_burns_the_budget_of_requests_judged(prepare: Prepare) -> None:
    """What callers do wrong does not. A ledger that stands still burns that of decisions in time. The command ends with 1 and says so."""
    lockgate = prepare(telemetry=OFTEN)
    (lockgate.yard.folder / "policies/lockgate/rules/access/rbac/stops.rego").write_text(STOPS, encoding="utf-8")
    lockgate.start()
    for number in range(9):
        assert lockgate.ask("ann", "GET", f"/items/{number}").status == 200
        lockgate.ask(None, "GET", "/items/1")
    assert told(lockgate, "judged", 18)["state"] == "met"
    assert lockgate.ask("ann", "GET", "/items/x").code == "policy_error"
    judged = told(lockgate, "judged", 19)
    assert (judged["state"], judged["source"]) == ("burning_fast", "ledger")
    assert (judged["windows"][0]["total"], judged["windows"][0]["bad"]) == (19, 1)
    assert judged["burn_rate"] == pytest.approx(1000 / 19)
    assert 0.99 < judged["budget_left"] < 1
    slow = told(lockgate, "decisions", 10)["windows"][0]["bad"]  # on a machine that is busy anyway there may be some
    slowed(lockgate)
    decisions = told(lockgate, "decisions", 11)
    assert (decisions["state"], decisions["source"], decisions["windows"][0]["bad"]) == ("burning_fast", "node", slow + 1)
    ran = cli("objectives", "--url", f"http://127.0.0.1:{lockgate.ports['control']}", "--key", lockgate.keys["idle"])
    assert (ran.returncode, ran.stderr) == (1, "")
    assert "judged: 99.9 % of requests are judged. 1 of 20 requests so far were not judged" in ran.stdout
    assert lockgate.control("GET", "/v1/objectives", who="max").code == "permission_missing"


@pytest.mark.slow
def test_a_restart_forgets_nothing(prepare: Prepare) -> None:
    """What the ledger has is counted anew; what this node saw is kept in a file."""
    lockgate = prepare(telemetry=OFTEN)
    lockgate.start()
    for number in range(20):
        lockgate.ask("ann", "GET", f"/items/{number}")
    before = {name: told(lockgate, name, 20) for name in ("judged", "decisions")}
    assert lockgate.process.stop() == 0
    lockgate.start()
    for name, seen in before.items():
        again = told(lockgate, name, 20)
        counted = [[(each["total"], each["bad"]) for each in found["windows"][2:]] for found in (again, seen)]
        assert counted[0] == counted[1]
        assert (again["since"], again["source"]) == (seen["since"], seen["source"])


@pytest.mark.slow
def test_without_the_index_workers_tell_and_one_that_is_killed_begins_again(prepare: Prepare) -> None:
    """Counters that begin at nothing take nothing away; objectives that are switched off are not there."""
    lockgate = prepare(audit={"index": None}, telemetry={"objectives": {"every": "1s", "abstention": None}})
    lockgate.start()
    for number in range(20):
        lockgate.ask("ann", "GET", f"/items/{number}")
    judged = told(lockgate, "judged", 20)
    assert (judged["source"], judged["windows"][-1]["total"]) == ("node", 20)
    (before,) = lockgate.workers()
    os.kill(before, signal.SIGKILL)
    until(lambda: lockgate.workers() not in ([], [before]) and lockgate.ready(), "another worker serves")
    for number in range(7):
        lockgate.ask("ann", "GET", f"/items/{number}")
    assert told(lockgate, "judged", 27)["windows"][-1]["total"] == 27
    assert objective(lockgate, "abstention") is None
    save(lockgate.yard.config, load(lockgate.yard.config) | {"telemetry": {"objectives": None}})
    until(lambda: lockgate.control("GET", "/v1/objectives").status == 404, "they were switched off while it served")
    assert lockgate.control("GET", "/v1/objectives").code == "objectives_off"


@pytest.mark.slow
def test_a_ledger_that_takes_nothing_is_seen_while_it_does_not(prepare: Prepare) -> None:
    """Though no record says so."""
    lockgate = prepare(telemetry=OFTEN)
    lockgate.start()
    for number in range(20):
        lockgate.ask("ann", "GET", f"/items/{number}")
    told(lockgate, "judged", 20)
    _, hard = resource.prlimit(lockgate.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(lockgate.process.pid, resource.RLIMIT_FSIZE, (1, hard))  # the kernel fails each write to a file
    refused = [lockgate.ask("ann", "GET", "/items/1").status for _ in range(30)]
    assert set(refused) == {503}
    during = told(lockgate, "judged", 50)
    assert (during["state"], during["source"], during["windows"][-1]["bad"]) == ("burning_fast", "ledger", 30)
    assert lockgate.system("refused") == []


@pytest.mark.slow
def test_every_node_of_a_ledger_tells_what_all_of_them_judged(postgres: PostgresServer, tmp_path: Path) -> None:
    """And how long its own decisions took. One that came later knows what was before."""
    with cluster(postgres, tmp_path, telemetry=OFTEN) as made:
        first, second = made.nodes
        first.start()
        for number in range(10):
            assert first.ask("ann", "GET", f"/items/{number}").status == 200
        second.start()
        for number in range(7):
            assert second.ask("ann", "GET", f"/items/{number}").status == 200
        for node, own in ((first, 10), (second, 7)):
            judged, decisions = told(node, "judged", 17), told(node, "decisions", own)
            assert (judged["source"], judged["windows"][-1]["total"], judged["state"]) == ("ledger", 17, "met")
            assert (decisions["source"], decisions["windows"][-1]["total"]) == ("node", own)
