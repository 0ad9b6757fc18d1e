"""The signed index of a running Lockgate: sections come by themselves, an auditor's certificate holds without any server."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli, company

REQUESTS = 60


@pytest.fixture(scope="module")
def lockgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    """Two people have asked, and the first sections are signed."""
    audit = {"origin": "yard.example/ledger", "checkpoint": {"every": "1s", "records": 200}, "index": {"records": 16}}
    with company(tmp_path_factory.mktemp("indexed"), audit=audit) as running:
        for _ in range(REQUESTS):
            running.ask("ann", "GET", "/echo")
            running.ask("max", "GET", "/echo")
        until(lambda: running.system("index_signed"), "a section of the index was signed", 30)
        yield running


def fetched(lockgate: Lockgate, query: str, who: str = "root") -> bytes:
    url = f"http://127.0.0.1:{lockgate.ports['control']}/v1/audit/certificate?{query}"
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {lockgate.keys[who]}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.headers["content-type"] == "application/jsonl"
        content: bytes = answer.read()
        return content


def key(lockgate: Lockgate) -> str:
    report = json.loads(cli("audit", "verify", "--json", "--state", str(lockgate.state)).stdout)
    return str(report["public_key"])


def checked(lockgate: Lockgate, file: Path) -> tuple[list[Any], Any]:
    done = cli("audit", "check-certificate", str(file), "--key", key(lockgate), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    *found, summary = map(json.loads, done.stdout.splitlines())
    return found, summary


def test_everything_about_a_person_up_to_now(lockgate: Lockgate, tmp_path: Path) -> None:
    """After `sign-index` over the control API, with the name shown to who may see it; another person's records are not in it."""
    where = ("--url", f"http://127.0.0.1:{lockgate.ports['control']}", "--key", lockgate.keys["root"])
    signed = cli("audit", "sign-index", *where, "--config", str(lockgate.yard.config))
    assert signed.returncode == 0, signed.stderr
    assert "signs the index of records" in signed.stdout
    file = tmp_path / "ann.certificate"
    file.write_bytes(fetched(lockgate, "subject=ann&kind=decision&personal=true"))
    found, summary = checked(lockgate, file)
    assert len(found) == REQUESTS
    assert all(each["leaf"]["schema"] == "lockgate.decision.v1" for each in found)
    assert any("Records that show a person show ann." in words for words in summary["not_proven"])


def test_one_decision_by_the_command_line(lockgate: Lockgate, tmp_path: Path) -> None:
    """Beside the running server; decision and outcome, among all records of the checkpoint."""
    decision = lockgate.ask("ann", "GET", "/echo").decision
    lockgate.outcome(decision)
    size = len(lockgate.leaves())
    until(lambda: lockgate.control("GET", "/v1/audit/checkpoint").json["size"] >= size, "a checkpoint covers it")
    file = tmp_path / "one.certificate"
    asked = ("--decision", decision, "--kind", "all", "--certificate", str(file), "--json", "--state", str(lockgate.state))
    assert cli("audit", "query", *asked).returncode == 0
    found, summary = checked(lockgate, file)
    assert [each["leaf"]["schema"] for each in found] == ["lockgate.decision.v1", "lockgate.outcome.v1"]
    assert summary["until"] == summary["checkpoint_size"]
    assert (lockgate.state / "sections").is_dir()


def test_the_index_is_verified_with_the_ledger(lockgate: Lockgate, tmp_path: Path) -> None:
    """Also where its files are gone."""
    copy = tmp_path / "state"
    shutil.copytree(lockgate.state, copy)
    shutil.rmtree(copy / "sections")
    report = json.loads(cli("audit", "verify", "--json", "--state", str(copy)).stdout)
    assert report["ok"]
    assert report["sections"] >= 1


def test_asking_for_a_certificate_is_a_reading(lockgate: Lockgate) -> None:
    """As every other question."""
    fetched(lockgate, "decision_id=nobody")
    found = [each for each in lockgate.system("audit_read") if each["what"] == "certificate"]
    assert len(found) >= 1
    assert "nobody" not in json.dumps(found)


def test_what_cannot_be_proven_is_refused(lockgate: Lockgate) -> None:
    """With the reason's code."""
    refused = lockgate.control("GET", "/v1/audit/certificate?result=routed")
    assert (refused.status, refused.code) == (409, "certificate_impossible")
