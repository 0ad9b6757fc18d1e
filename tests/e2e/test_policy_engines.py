"""Lockgate with an OPA server beside it, as the engine that decides and as the one that is compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.rego_truth import texts
from tests.contract.opa_sidecar import Sidecar, process
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli, prepared
from tests.e2e.wire import ask
from tests.e2e.yard import policy_data

DENYING = 'package lockgate.intents.look\n\nresult := {"effect": "deny", "reasons": [{"code": "look.closed"}]}\n'


@pytest.fixture
def opa(tmp_path: Path) -> Iterator[Sidecar]:
    with process() as (_, url):
        server = Sidecar(url)
        server.bundles({"main": "r7"}, texts(), policy_data())
        yield server


def test_an_opa_server_decides_and_when_it_is_gone_nothing_is_allowed(tmp_path: Path) -> None:
    """The record joins both ids and names the bundle; readiness says that policy is away; and it comes back by itself."""
    socket = tmp_path / "opa.sock"
    engine = {"adapter": "opa", "url": f"unix://{socket}", "refresh": "200ms", "open_for": "200ms"}
    with prepared(tmp_path, policy={"engine": engine, "deadline": "2s"}) as lockgate:
        with process("--unix", str(socket)):
            fill(socket)
            lockgate.start()
            answer = lockgate.ask("ann", "GET", "/items/7")
            assert answer.status == 200
            verdict = lockgate.story(answer.decision)[0]["verdict"]
            assert (verdict["engine"], verdict["revision"], verdict["effect"]) == ("opa", "main=r7", "allow")
            assert verdict["opa_decision_id"]
            assert lockgate.ask("eve", "GET", "/items/7").status == 403
        gone = lockgate.ask("ann", "GET", "/items/7")
        assert gone.status == 403
        assert gone.json["code"] in ("policy_unavailable", "policy_circuit_open")
        until(lambda: not lockgate.ready(), "readiness said so")
        told = ask(lockgate.ports["control"], "GET", "/readyz").json
        assert {"name": "policy", "ok": False, "detail": "policy_unavailable"} in told["checks"]
        assert 'lockgate_policy_healthy{worker="0"} 0.0' in metrics(lockgate)
        socket.unlink()
        with process("--unix", str(socket)):
            fill(socket)
            lockgate.until_ready()
            until(lambda: lockgate.ask("ann", "GET", "/items/7").status == 200, "it decided again")
    assert lockgate.verify().returncode == 0


def test_a_second_engine_that_differs_changes_no_verdict_and_is_known(tmp_path: Path, opa: Sidecar) -> None:
    """What the embedded engine allows is served; that OPA's policies would deny it is a metric, a log line and a record."""
    opa.bundles({"main": "r8"}, {**texts(), "look.rego": DENYING}, policy_data())
    compare = {"engine": {"adapter": "opa", "url": opa.url}, "share": "100%"}
    with prepared(tmp_path, policy={"compare": compare}) as lockgate:
        lockgate.start()
        answers = [lockgate.ask("ann", "GET", "/items/7") for _ in range(3)]
        assert [answer.status for answer in answers] == [200] * 3
        until(lambda: lockgate.system("policy_difference"), "the difference was recorded")
        (found,) = lockgate.system("policy_difference")
        assert found["decision_id"] in [answer.decision for answer in answers]  # the others are counted; which is compared first is chance
        assert (found["entry"], found["effect"], found["second_effect"]) == ("decision", "allow", "deny")
        assert (found["engine"], found["second_engine"]) == ("embedded", "opa")
        until(lambda: 'lockgate_policy_compared_total{result="different",worker="0"} 3.0' in metrics(lockgate), "all were counted")
        assert 'lockgate_policy_compared_total{result="same",worker="0"} 3.0' in metrics(lockgate)
        assert f"differ in effect, reasons on decision {found['decision_id']}" in lockgate.process.said


@pytest.mark.slow
def test_without_its_server_nothing_starts(tmp_path: Path) -> None:
    """One sentence says why."""
    engine = {"adapter": "opa", "url": f"unix://{tmp_path}/nobody.sock"}
    with prepared(tmp_path, policy={"engine": engine}) as lockgate:
        checked = cli("check", "--config", str(lockgate.yard.config))
        assert checked.returncode == 0, checked.stdout
        found = cli("serve", "--config", str(lockgate.yard.config))
        assert found.returncode != 0
        assert f"The OPA server unix://{tmp_path}/nobody.sock gave no usable answer: it cannot be reached." in found.stderr
        assert "Traceback" not in found.stderr


def metrics(lockgate: Lockgate) -> str:
    return lockgate.control("GET", "/metrics").body.decode()


def fill(socket: Path) -> None:
    Sidecar(f"unix://{socket}").bundles({"main": "r7"}, texts(), policy_data())
