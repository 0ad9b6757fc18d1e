"""The pytest plugin, as a service's own tests use it: in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lockgate.testing import Lockgate

SDK = Path(__file__).parents[3] / "sdk"
TESTS = """
from lockgate.client import DecisionUnavailable, Subject

ANN = Subject("ann", roles=("employee",))
LEFT = []

def test_the_workspace_decides(lockgate):
    decision = lockgate.decide(method="GET", path="/items/7", subject=ANN)
    assert (decision.allowed, decision.intent) == (True, "look")
    assert lockgate.decide(method="GET", path="/items/7").denied
    assert [each.subject for each in lockgate.decisions] == ["ann", "till"]
    assert [leaf["schema"] for leaf in lockgate.leaves] == ["lockgate.decision.v1"] * 2

def test_nothing_is_left_of_the_test_before(lockgate):
    assert (lockgate.decisions, lockgate.evidence, lockgate.leaves) == ([], [], [])

async def ask(client):
    return await client.decide(method="GET", path="/items/7", subject=ANN)

def test_a_double_says_that_it_is_one(lockgate):
    import asyncio
    with lockgate.doubles.deny_all():
        assert asyncio.run(ask(lockgate.client)).reasons == ("test_double.denied",)
    with lockgate.doubles.server_away():
        try:
            asyncio.run(ask(lockgate.client))
        except DecisionUnavailable:
            pass
    assert asyncio.run(ask(lockgate.client)).allowed
    with lockgate.doubles.allow_all():
        assert lockgate.decide(method="GET", path="/items/7").reasons == ("test_double.allowed",)
    LEFT.append(lockgate.doubles.deny_all())
    LEFT[0].__enter__()

def test_a_double_does_not_outlive_its_test(lockgate):
    assert lockgate.decide(method="GET", path="/items/7", subject=ANN).allowed

def test_a_person_decides(lockgate):
    held = lockgate.decide(method="POST", path="/pay/1", body={"a": 1}, subject=ANN, hold=True)
    assert held.held and lockgate.sync_client.review(held).waiting
    assert lockgate.approve(held, by="mia", roles=("reviewer", "manager")).released
    assert lockgate.sync_client.wait(held, timeout=30).released
"""


def ran(folder: Path, *options: str, ini: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}")
    environment = {**os.environ, "PYTHONPATH": str(SDK), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # installed here or not
    command = [sys.executable, "-m", "pytest", "-q", "-p", "lockgate.testing.plugin", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_services_tests_decide_without_a_server(yard: Lockgate, tmp_path: Path) -> None:
    """By the workspace that pytest's configuration names."""
    (tmp_path / "test_service.py").write_text(TESTS)
    done = ran(tmp_path, ini=f"lockgate_workspace = {os.path.relpath(yard.workspace, tmp_path)}\nlockgate_service = till\n")
    assert "5 passed" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("ini", "sentence"),
    [("", "set lockgate_workspace in pytest's configuration"), ("lockgate_workspace = nowhere\n", "The file does not exist")],
)
def test_a_workspace_that_is_none_is_said_in_a_sentence(tmp_path: Path, ini: str, sentence: str) -> None:
    """And no test passes."""
    (tmp_path / "test_service.py").write_text("def test_it(lockgate):\n    pass\n")
    done = ran(tmp_path, ini=ini)
    assert sentence in done.stdout
    assert "passed" not in done.stdout


def test_who_does_not_ask_pays_nothing(tmp_path: Path) -> None:
    """A test without the fixture needs no workspace, and loads no model."""
    (tmp_path / "test_service.py").write_text("import sys\ndef test_it():\n    assert 'router' not in sys.modules\n")
    assert "1 passed" in ran(tmp_path).stdout


def test_no_socket_is_opened(yard: Lockgate, monkeypatch: pytest.MonkeyPatch) -> None:
    """In process means that nothing listens and nothing is connected to."""
    import socket

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)
    assert yard.decide(method="GET", path="/items/7") is not None


def test_the_ledgers_double_has_what_the_real_one_would(lockgate: Lockgate) -> None:
    """An erased word in neither: only the public part of each record, and the evidence is checked as the server does."""
    from lockgate.client import Event, EvidenceRefused, Subject

    decision = lockgate.decide(method="GET", path="/items/7", subject=Subject("zoe.quist", roles=("employee",)))
    (leaf,) = lockgate.leaves
    assert (leaf["id"], "zoe.quist" in str(leaf)) == (decision.id, False)
    for _ in range(2):
        lockgate.sync_client.report(decision, source="till", kind="com.example.looked")
    assert len(lockgate.evidence) == 1
    with pytest.raises(EvidenceRefused) as caught:
        lockgate.sync_client.report(decision, source="till", kind="com.example.other")
    assert caught.value.code == "evidence_conflict"
    with pytest.raises(EvidenceRefused) as caught:
        lockgate.sync_client.send([Event("a b", "1", "t", decision.id)])
    assert caught.value.code == "evidence_invalid"
