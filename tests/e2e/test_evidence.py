"""A service tells what it did, over the wire, and both sides are held against each other."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import until
from tests.e2e.running import PEOPLE, Lockgate, Person, cli, make_keys
from tests.needs import needs

CLOUD = "application/cloudevents+json"


def event(number: int, **more: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": f"e-{number}", "source": "service", "type": "example.paid", **more}


def curl(lockgate: Lockgate, key: str, body: str, *headers: str) -> tuple[int, Any]:
    """As the documentation has it."""
    url = f"http://127.0.0.1:{lockgate.ports['control']}/v1/evidence"
    fields = [part for header in (f"Authorization: Bearer {key}", *headers) for part in ("-H", header)]
    command = ["curl", "-sS", url, *fields, "-d", body, "-w", "\n%{http_code}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    document, _, status = answer.rpartition("\n")
    return int(status), json.loads(document)


def test_what_a_service_did_stands_beside_what_was_decided(start: Callable[..., Lockgate]) -> None:
    """Recorded once, also over a kill -9; found by the story of the decision; what nobody decided is found by reconciliation."""
    lockgate = start()
    till = make_keys(lockgate.state, (*PEOPLE, Person("till", (), ("control:evidence.write",))))["till"]
    decision = lockgate.ask("ann", "GET", "/items/1").decision
    lockgate.outcome(decision)
    whole = json.dumps(event(1, lockgatedecision=decision, lockgatephase="completed", data={"paid": 5}))
    status, receipt = curl(lockgate, till, whole, f"content-type: {CLOUD}")
    assert (status, receipt["events"][0]["reference"]) == (201, "decision")
    lockgate.process.kill()
    lockgate.start()
    assert curl(lockgate, till, whole, f"content-type: {CLOUD}") == (201, receipt)
    assert curl(lockgate, till, whole.replace("5", "6"), f"content-type: {CLOUD}")[0] == 409
    assert [leaf["schema"] for leaf in lockgate.story(decision)] == [f"lockgate.{kind}.v1" for kind in ("decision", "outcome", "evidence")]
    assert cli("audit", "reconcile", "--state", str(lockgate.state)).returncode == 0
    status, _ = curl(lockgate, till, "done", "content-type: text/plain", *(f"ce-{name}: {value}" for name, value in event(2).items()))
    assert status == 201
    found = lockgate.control("GET", "/v1/audit/reconciliation").json
    assert [one["kind"] for one in found["found"]] == ["evidence_orphan"]
    shown = cli(*found["found"][0]["query"].split()[1:], "--state", str(lockgate.state))
    assert "evidence.reference" in shown.stdout
    assert cli("audit", "reconcile", "--state", str(lockgate.state)).returncode == 1
    assert lockgate.verify().returncode == 0


@pytest.mark.slow
def test_projections_follow_a_server_that_is_killed(prepare: Callable[..., Lockgate], tmp_path: Path) -> None:
    """Beside the traffic, over a kill -9; they are what the ledger is, and a rebuilt one is again."""
    needs("duckdb", "pip install 'lockgate[duckdb]'")
    copies = {
        "files": {"adapter": "parquet", "directory": str(tmp_path / "copies"), "every": "100ms"},
        "quack": {"adapter": "duckdb", "file": str(tmp_path / "copy.duckdb"), "every": "100ms"},
    }
    lockgate = prepare(audit={"projections": copies})
    lockgate.start()
    for _ in range(2):
        for number in range(20):
            assert lockgate.ask("ann", "GET", f"/items/{number}").status == 200
        lockgate.process.kill()
        lockgate.start()
    until(lambda: all(lag == 0 for lag in lags(lockgate).values()) and len(lags(lockgate)) == 2, "the projections had caught up")
    for rebuild in ((), ("--rebuild",)):
        for name in copies:
            told = cli("audit", "project", name, *rebuild, "--config", str(lockgate.yard.config))
            assert told.returncode == 0, told.stderr
        compared = cli("audit", "reconcile", "--config", str(lockgate.yard.config), "--json")
        assert json.loads(compared.stdout.splitlines()[-1])["summary"].keys() <= {"outcome_missing"}, compared.stdout


def lags(lockgate: Lockgate) -> dict[str, float]:
    page = lockgate.control("GET", "/metrics").body.decode()
    found = re.findall(r'^lockgate_audit_projection_lag\{.*projection="(\w+)".*\} (\S+)$', page, re.MULTILINE)
    return {name: float(lag) for name, lag in found}
