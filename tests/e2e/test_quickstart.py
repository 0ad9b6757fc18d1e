"""The way of a newcomer: init, check, serve, explain, ask, look into the trail. With the commands that the starter's README names."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.halden.demo.company import free_ports
from tests.e2e.processes import Process, until
from tests.e2e.running import cli, listens
from tests.e2e.wire import ask


@dataclass(frozen=True, slots=True)
class Newcomer:
    folder: Path
    key: str
    gateway: int
    control: int
    rooms: int

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return cli(*arguments, folder=self.folder, ROOMS_URL=f"http://127.0.0.1:{self.rooms}")

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()] if done.stdout.count("\n") > 1 else json.loads(done.stdout)


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """A workspace fresh from `lockgate init`, moved to free ports, with its service and Lockgate running."""
    folder = tmp_path_factory.mktemp("newcomer")
    made = cli("init", str(folder))
    assert made.returncode == 0, made.stderr
    gateway, decide, control, rooms = free_ports(4)
    config = folder / "lockgate.yaml"
    text = config.read_text()
    for before, after in {"8080": gateway, "8082": decide, "8081": control}.items():
        text = text.replace(f"127.0.0.1:{before}", f"127.0.0.1:{after}")
    config.write_text(text)
    found = Newcomer(folder, made.stdout.strip(), gateway, control, rooms)
    environment = {"ROOMS_URL": f"http://127.0.0.1:{rooms}", "ROOMS_PORT": str(rooms)}
    service = Process([sys.executable, "service.py"], folder / "service.log", environment, folder)
    lockgate = Process([sys.executable, "-m", "lockgate", "serve"], folder / "lockgate.log", environment, folder)
    try:
        service.start()
        lockgate.start()
        until(lambda: listens(rooms) and listens(control), f"both were up; Lockgate said {lockgate.said}", 60)
        until(lambda: ask(control, "GET", "/readyz").status == 200, "Lockgate was ready")
        yield found
    finally:
        lockgate.kill()
        service.kill()


def test_the_starter_has_no_fault(newcomer: Newcomer) -> None:
    """`lockgate check` finds nothing to say against what `init` wrote."""
    done = newcomer.run("check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_fault_is_one_sentence_with_its_line(newcomer: Newcomer, tmp_path: Path) -> None:
    """A key that is misspelt is told with file and line, and the exit status is 1."""
    cli("init", str(tmp_path))
    config = tmp_path / "lockgate.yaml"
    config.write_text(config.read_text() + "\nwrokers: 2\n")
    done = cli("check", folder=tmp_path)
    assert done.returncode == 1
    assert f"lockgate.yaml:{len(config.read_text().splitlines())}:" in done.stdout + done.stderr
    assert "wrokers" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_serve_says_where_it_is(newcomer: Newcomer) -> None:
    """The start tells where each door is."""
    said = (newcomer.folder / "lockgate.log").read_text()
    assert f"gateway  http://127.0.0.1:{newcomer.gateway}" in said
    assert f"control  http://127.0.0.1:{newcomer.control}" in said


def test_the_first_request_works(newcomer: Newcomer) -> None:
    """The two requests of the README, with the key that `init` showed."""
    said = ask(newcomer.gateway, "POST", "/", newcomer.key, {"message": "cancel booking 4711"})
    assert (said.status, said.json["intent"]) == (200, "cancel_booking")
    assert ask(newcomer.gateway, "GET", "/rooms", newcomer.key).json["rooms"]


def test_explain_shows_every_stage(newcomer: Newcomer) -> None:
    """`lockgate explain` tells what would be decided, stage by stage, beside the running process and without a record."""
    shown = newcomer.run("explain", "is the large room free at noon", "--as", "starter")
    assert shown.returncode == 0, shown.stderr
    for word in ("admission", "signals", "classification", "risk", "policy", "route", "find_room"):
        assert word in shown.stdout
    before = newcomer.json("audit", "query", "--where", "kind <> 'system'")
    explained = newcomer.json("explain", "is the large room free at noon", "--as", "starter")
    assert (explained["classification"]["intent"], explained["verdict"]["effect"]) == ("find_room", "allow")
    assert newcomer.json("audit", "query", "--where", "kind <> 'system'") == before


def test_the_trail_is_queried_shown_and_verified(newcomer: Newcomer) -> None:
    """`audit query` finds the request, `audit show` tells its story, `audit verify` is content, all beside the running process."""
    answer = ask(newcomer.gateway, "GET", "/bookings/20", newcomer.key)
    assert answer.status == 200

    def found() -> bool:
        rows = newcomer.run("audit", "query", "--intent", "booking_status", "--subject", "starter", "--json").stdout
        return answer.decision in rows

    until(found, "the request was found")
    shown = newcomer.run("audit", "show", answer.decision)
    assert shown.returncode == 0, shown.stderr
    assert "booking_status" in shown.stdout
    verified = newcomer.run("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_init_overwrites_nothing(newcomer: Newcomer) -> None:
    """A second `init` into the same folder is refused and changes nothing."""
    before = (newcomer.folder / "lockgate.yaml").read_text()
    done = cli("init", str(newcomer.folder))
    assert done.returncode == 2
    assert (newcomer.folder / "lockgate.yaml").read_text() == before


def test_a_second_serve_is_refused_in_a_sentence(newcomer: Newcomer) -> None:
    """A ledger has one owner: a second process on the same state says so and ends."""
    done = newcomer.run("serve")
    assert done.returncode == 2
    assert "already open" in done.stderr
    assert "Traceback" not in done.stderr
