"""The author's loop over HTTP says what the commands say."""

from __future__ import annotations

import io
import json
import socket
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli, company
from tests.e2e.yard import ROOT
from tests.unit.wiring.test_policy_trials import ENDLESS, archive, running


@pytest.fixture(scope="module")
def lockgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    with company(tmp_path_factory.mktemp("tried")) as started:
        for who in ("ann", "bob", "eve"):
            started.ask(who, "GET", "/items/1")
        started.ask("ann", "POST", "/pay/1", {"amount": 5})
        yield started


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped policies as `bundle`, and as `before` with data under which nobody is granted anything."""
    made = tmp_path_factory.mktemp("folders")
    for name in ("bundle", "before"):
        for file in (ROOT / "policies").rglob("*"):
            if file.suffix in (".rego", ".yaml") and not file.is_relative_to(ROOT / "policies" / "control"):
                target = made / name / file.relative_to(ROOT / "policies")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
    (made / "before/data.yaml").write_text("lockgate: {config: {}}\n")
    return made


def packed(folder: Path) -> bytes:
    """As `tar czf` does it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        archive.add(folder, arcname=".")
    return out.getvalue()


def post(lockgate: Lockgate, path: str, files: dict[str, bytes], who: str = "root", **query: Any) -> requests.Response:
    url = f"http://127.0.0.1:{lockgate.ports['control']}/v1/policy/{path}"
    headers = {"authorization": f"Bearer {lockgate.keys[who]}"}
    return requests.post(url, params=query, files=files or None, headers=headers, timeout=60)


def said(done: Any) -> tuple[int, Any]:
    return done.returncode, json.loads(done.stdout)


def told(answer: requests.Response) -> tuple[int, Any]:
    assert answer.status_code == 200, answer.text
    return int(answer.headers["x-lockgate-exit-status"]), answer.json()


def test_it_says_what_the_commands_say(lockgate: Lockgate, folders: Path) -> None:
    """To the last place and exit status: a check, tests with coverage under a threshold, one input explained, and what a change flips."""
    bundle, before = packed(folders / "bundle"), packed(folders / "before")
    given = json.dumps({"entry": "decision", "subject": {"id": "ann"}}).encode()
    (folders / "input.json").write_bytes(given)
    at = folders / "bundle"
    for path, files, query, arguments, folder in (
        ("check", {}, {"strict": True}, ("check", ".", "--strict"), at),
        (
            "test",
            {},
            {"coverage": True, "threshold": "100%", "run": "decision"},
            ("test", ".", "--coverage", "--threshold", "100%", "--run", "decision"),
            at,
        ),
        ("eval", {"input": given}, {"trace": True}, ("eval", "../input.json", ".", "--trace"), at),
        ("diff", {"before": before}, {}, ("diff", "before", "bundle"), folders),
    ):
        answered = told(post(lockgate, path, {"bundle": bundle, **files}, **query))
        expected = said(cli("policy", *arguments, "--json", folder=folder))
        assert without_times(answered) == without_times(expected), path
    assert answered[1]["flips"] > 0


def test_it_says_what_a_new_rule_is_and_which_cases_pass(lockgate: Lockgate, folders: Path) -> None:
    """As the commands say it: for policies that are sent, and for those in force; nothing is written into the workspace."""
    at, name = folders / "bundle", "payments/limits"
    before = sorted(lockgate.yard.config.parent.rglob("*.rego"))
    answered = told(post(lockgate, "new", {"bundle": packed(at)}, name=name))
    assert answered == said(cli("policy", "new", "rule", name, ".", "--dry-run", "--json", folder=at))
    in_force = told(post(lockgate, "new", {}, name=name))
    assert in_force == said(cli("policy", "new", "rule", name, "--dry-run", "--json", folder=lockgate.yard.config.parent))
    assert sorted(lockgate.yard.config.parent.rglob("*.rego")) == before
    assert post(lockgate, "new", {}, name="tenant/quota").json()["faults"][0].endswith("nothing is overwritten.")
    assert post(lockgate, "new", {}, name="--config=x").status_code == 422
    cases = ROOT / "tests" / "conformance" / "rego_cases"
    answered = told(post(lockgate, "conformance", {"cases": packed(cases)}))
    assert answered == said(cli("policy", "conformance", ".", "--json", "-", folder=cases))
    assert (answered[0], answered[1]["fail"]) == (0, 0)
    assert answered[1]["pass"] > 0


def without_times(answer: tuple[int, Any]) -> tuple[int, Any]:
    status, found = answer
    for each in found.get("tests", ()):
        del each["us"]
    return status, found


def test_recorded_decisions_are_replayed_and_that_is_on_record(lockgate: Lockgate, folders: Path) -> None:
    """Against the policies in force without a bundle, and against another one; as the command says it."""
    status, same = told(post(lockgate, "replay", {}))
    assert (status, same["differences"], same["not_reproduced"]) == (0, [], [])
    assert (status, same) == said(cli("policy", "replay", "--config", str(lockgate.yard.config), "--json"))
    status, other = told(post(lockgate, "replay", {"bundle": packed(folders / "before")}, since="2026-01-01T00:00:00Z"))
    expected = cli("policy", "replay", "--config", str(lockgate.yard.config), "--policies", ".", "--json", folder=folders / "before")
    assert (status, other) == said(expected)
    assert other["flips"] > 0
    readings = [each for each in lockgate.system("audit_read") if each["what"] == "replay" and each["source"] == "http"]
    assert [each.get("rows") for each in readings] == [None, same["compared"], None, same["compared"]]
    assert all(each["opened"] for each in readings)
    assert post(lockgate, "replay", {}, intent="nothing").json()["code"] == "decision_unknown"


def test_who_may_what(lockgate: Lockgate) -> None:
    """Trying policies needs a permission; opening what others asked needs more than an author has."""
    assert post(lockgate, "check", archive(), who="idle").json()["code"] == "permission_missing"
    assert post(lockgate, "replay", {}, who="mia").json()["code"] == "permission_missing"
    assert post(lockgate, "check", {"bundle": b"x"}).json()["faults"] == ["The archive 'bundle' is not a gzip file, or was cut off."]


def test_callers_that_go_leave_nothing_behind(lockgate: Lockgate) -> None:
    """Two at once, whatever they bring; the next is told to come again, and requests are decided meanwhile."""
    body = archive(ENDLESS)["bundle"]
    fields = {"host": "localhost", "authorization": f"Bearer {lockgate.keys['root']}", "content-type": "application/gzip"}
    head = "".join(f"{name}: {value}\r\n" for name, value in {**fields, "content-length": str(len(body))}.items())
    raw = f"POST /v1/policy/test HTTP/1.1\r\n{head}\r\n".encode() + body
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(socket.create_connection(("127.0.0.1", lockgate.ports["control"]))).sendall(raw)
        until(lambda: len(running(of=lockgate.process.pid)) == 2, "both are tried")
        busy = post(lockgate, "check", archive())
        assert (busy.status_code, busy.json()["code"], busy.headers["retry-after"]) == (429, "policy_busy", "5")
        assert lockgate.ask("ann", "GET", "/items/1").status == 200
    until(lambda: not running(of=lockgate.process.pid), "nothing runs for nobody")
    until(lambda: post(lockgate, "check", archive()).status_code == 200, "there is room again")
