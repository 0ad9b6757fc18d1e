"""Airflow and Prefect as processes of a test's own on loopback, from environments that hold them (`LOCKGATE_AIRFLOW`, `LOCKGATE_PREFECT`):
they pin so much that they cannot stand beside our own packages."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from examples.halden.demo.company import free_ports
from tests.e2e.processes import Process, until

READY_S = 120.0
DAG = """
from airflow.sdk import dag, get_current_context, task


@dag(dag_id="cancel_payment", schedule=None, catchup=False, is_paused_upon_creation=False)
def cancel_payment():
    @task
    def cancel():
        if (get_current_context()["dag_run"].conf or {}).get("fail"):
            raise ValueError("no")

    cancel()


cancel_payment()
"""
FLOW = """
from prefect import flow


@flow(name="cancel-payment")
def cancel_payment(payment: int = 0, note: str = "", place: int = 0, fail: bool = False):
    if fail:
        raise ValueError("no")


if __name__ == "__main__":
    cancel_payment.serve(name="till", limit=20)
"""


def environment(name: str) -> Path:
    """Where an engine is installed; the test is skipped where nobody says."""
    found = os.environ.get(name)
    if not found:
        pytest.skip(f"{name} does not name an environment with the engine in it")
    return Path(found) / "bin"


@contextmanager
def airflow(folder: Path) -> Iterator[str]:
    """The API server's URL; user `lockgate`, password `hush`."""
    programs = environment("LOCKGATE_AIRFLOW")
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    (folder / "dags").mkdir()
    (folder / "dags" / "pay.py").write_text(DAG)
    (folder / "passwords.json").write_text('{"lockgate": "hush"}')
    settings = {
        "AIRFLOW_HOME": str(folder),
        "HOME": str(folder),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "lockgate:op",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
    }
    running = Process([str(programs / "airflow"), "standalone"], folder / "log", settings, folder)
    try:
        running.start()
        until(lambda: _answers(f"{url}/api/v2/monitor/health"), f"Airflow answered; it said {running.said[-2000:]}", READY_S)
        token = _asked(f"{url}/auth/token", {"username": "lockgate", "password": "hush"})["access_token"]
        until(lambda: _answers(f"{url}/api/v2/dags/cancel_payment", token), "Airflow had read the DAG", READY_S)
        yield url
    finally:
        running.kill()


@contextmanager
def prefect(folder: Path) -> Iterator[tuple[str, Process]]:
    """The API's URL, and the server."""
    programs = environment("LOCKGATE_PREFECT")
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/api"
    (folder / "flow.py").write_text(FLOW)
    settings = {"PREFECT_HOME": str(folder), "HOME": str(folder), "PREFECT_API_URL": url, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    line = f"server start --host 127.0.0.1 --port {port} --no-ui"
    running = Process([str(programs / "prefect"), *line.split()], folder / "log", settings, folder)
    working = Process([str(programs / "python"), str(folder / "flow.py")], folder / "flow.log", settings, folder)
    try:
        running.start()
        until(lambda: _answers(f"{url}/health"), "Prefect answered", READY_S)
        working.start()
        until(lambda: _answers(f"{url}/deployments/name/cancel-payment/till"), "Prefect had the deployment", READY_S)
        yield url, running
    finally:
        working.kill()
        running.kill()


def _answers(url: str, token: str = "") -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"authorization": f"Bearer {token}"}), timeout=30):
            return True
    except (OSError, urllib.error.HTTPError):
        return False


def _asked(url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
