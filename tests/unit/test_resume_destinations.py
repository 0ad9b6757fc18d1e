"""Which destinations may resume who waits in an engine: those that take up what is there. What starts new work is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from router.errors import ConfigError
from router.registry import ADAPTERS
from router.workspace import parse, read

KEYS = {"access_key": "AKIAEXAMPLE", "secret_key": "hush"}
FLOWS = {"adapter": "temporal", "address": "127.0.0.1:7233"}
MACHINES = {"adapter": "stepfunctions", "region": "eu-west-1", "keys": KEYS}
PROCESSES = {"adapter": "camunda", "url": "http://127.0.0.1:8080", "login": {"username": "l", "password": "hush"}}
STARTED: dict[str, dict[str, Any]] = {
    "airflow": {"adapter": "airflow", "url": "http://127.0.0.1:8080", "dag": "pay", "token": "t"},
    "prefect": {"adapter": "prefect", "url": "http://127.0.0.1:4200/api", "deployment": "pay/till", "token": "t"},
    "argo": {"adapter": "argo", "url": "http://127.0.0.1:2746", "namespace": "pay", "name": "pay", "token": "t"},
    "kestra": {"adapter": "kestra", "url": "http://127.0.0.1:8080", "namespace": "pay", "flow": "pay", "token": "t"},
    "machines": {**MACHINES, "state_machine": "arn:aws:states:eu-west-1:123456789012:stateMachine:pay"},
    "flows": {**FLOWS, "workflow": "Pay", "task_queue": "pay"},
    "processes": {**PROCESSES, "process": "pay"},
}
TAKEN_UP: dict[str, dict[str, Any]] = {
    "succeeds": {**MACHINES, "action": "task_success", "task_token": "{{ request.headers['resume-token'] }}"},
    "fails": {**MACHINES, "action": "task_failure", "error": "Refused", "task_token": "{{ request.headers['resume-token'] }}"},
    "signals": {**FLOWS, "action": "signal", "signal": "reviewed", "workflow_id": "{{ request.headers['resume-workflow'] }}"},
    "updates": {**FLOWS, "action": "update", "update": "reviewed", "workflow_id": "{{ request.headers['resume-workflow'] }}"},
    "tells": {**PROCESSES, "action": "message", "message": "reviewed", "correlation_key": "{{ request.headers['resume-key'] }}"},
    "hooks": {"adapter": "webhook", "url": "{{ request.headers['resume-url'] }}", "hosts": ["n8n.example.com"], "unsigned": True},
}


def workspace(root: Path, destinations: dict[str, Any]) -> None:
    """Raises ConfigError."""
    route = {"path": "/pay", "method": "POST"}
    routes = {f"by-{name}": {**route, "destination": name, "resume": {"destination": name}} for name in destinations}
    first = next(iter(routes))
    intents = {
        "pay": {"description": "Pays.", "route": first, "examples": ["pay it", "pay that"]},
        "stop": {"description": "Stops it.", "route": first, "examples": ["stop it", "call it off"]},
    }
    (root / "policies").mkdir()
    (root / "policies/decision.rego").write_text("package lockgate.decision\n")
    (root / "lockgate.yaml").write_text("version: 1\n")
    (root / "catalog.yaml").write_text(yaml.safe_dump({"version": 1, "destinations": destinations, "routes": routes, "intents": intents}))
    parse(read(root, {}), {}, ADAPTERS)


def test_what_takes_up_what_waits_may_resume(tmp_path: Path) -> None:
    """A token, a signal, an update, a message, a call to a URL that was given."""
    workspace(tmp_path, TAKEN_UP)


def test_what_starts_new_work_is_refused_by_name(tmp_path: Path) -> None:
    """For each of them, with where it stands and why."""
    with pytest.raises(ConfigError) as refused:
        workspace(tmp_path, STARTED)
    faults = [fault for fault in refused.value.faults if "cannot resume who waits" in fault]
    assert len(faults) == len(refused.value.faults) == len(STARTED), refused.value.faults
    for name, block in STARTED.items():
        sentence = f"The destination '{name}' cannot resume who waits: '{block['adapter']}', as it is set up, starts new work each time."
        assert any(sentence in fault for fault in faults), faults
