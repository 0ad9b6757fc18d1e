from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from examples.halden.services import itdesk, payments, people

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=[payments, people, itdesk], ids=["payments", "people", "itdesk"])
def client(request: pytest.FixtureRequest) -> TestClient:
    return TestClient(request.param.build())


def test_health_needs_nothing(client: TestClient) -> None:
    """The health check answers 200 with the service's name."""
    assert client.get("/healthz").json()["status"] == "ok"


def test_a_question_without_an_intent_is_refused(client: TestClient) -> None:
    """The service never guesses the intent."""
    answer = client.post("/ask", json={"message": "hello"})
    assert (answer.status_code, answer.json()) == (400, {"error": "the header x-lockgate-intent is missing"})


def test_an_intent_of_another_service_is_refused(client: TestClient) -> None:
    """What a service cannot do it says so, and runs nothing."""
    answer = client.post("/ask", content="hello", headers={"x-lockgate-intent": "make_coffee"})
    assert answer.status_code == 422
    assert client.get("/debug/calls").json()["calls"] == {}


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"text"', b"\xff{}"])
def test_a_broken_json_body_is_refused(client: TestClient, body: bytes) -> None:
    """Anything but a JSON object is a 400 with one sentence."""
    headers = {"x-lockgate-intent": "x", "content-type": "application/json"}
    answer = client.post("/ask", content=body, headers=headers)
    assert answer.status_code == 400
    assert "JSON" in answer.json()["error"]


def test_an_unknown_path_is_answered_in_json(client: TestClient) -> None:
    """Also a 404 of the framework is a JSON error."""
    assert client.get("/nowhere").json() == {"error": "Not Found"}


def test_the_headers_of_this_and_of_the_last_request_can_be_read(client: TestClient) -> None:
    """Own headers come back at once; those of the last real request are remembered."""
    client.post("/ask?a=1", content="hello", headers={"x-lockgate-intent": "make_coffee"})
    seen = client.get("/debug/headers", headers={"x-probe": "1"}).json()
    assert ["x-probe", "1"] in seen["headers"]
    assert (seen["last"]["path"], seen["last"]["query"]) == ("/ask", "a=1")
    assert ["x-lockgate-intent", "make_coffee"] in seen["last"]["headers"]


def test_debug_and_health_calls_are_not_counted(client: TestClient) -> None:
    """Looking does not change what is looked at."""
    client.get("/healthz")
    client.get("/debug/headers")
    assert client.get("/debug/calls").json() == {"requests": {}, "calls": {}, "changes": {}}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(url: str, process: subprocess.Popen[str]) -> dict[str, str]:
    for _ in range(200):
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return dict(json.loads(answer.read()))
        except urllib.error.URLError:
            assert process.poll() is None, "the service ended before it answered"
            time.sleep(0.05)
    raise AssertionError(f"{url} did not answer")


@pytest.mark.parametrize("name", ["payments", "people", "itdesk", "backoffice"])
def test_a_service_starts_as_a_process_quietly_and_ends_on_sigterm(name: str) -> None:
    """`python -m examples.halden.services.<name> --port N` serves, writes nothing, and stops when told."""
    port = free_port()
    command = [sys.executable, "-m", f"examples.halden.services.{name}", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert fetch(f"http://127.0.0.1:{port}/healthz", process)["service"] == name
        finally:
            process.terminate()
            output, _ = process.communicate(timeout=20)
    assert output == ""
