"""A stream of events while workers, everything, and the target are killed at random: none is lost, and none is decided twice."""

from __future__ import annotations

import http.client
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.halden.demo.company import free_ports
from tests.e2e.processes import Process, until
from tests.e2e.running import Lockgate, listens, prepared
from tests.e2e.test_events import SOURCES, shop
from tests.e2e.yard import load, save

SENDERS = 4
SHORT = ("worker", "target", "worker", "everything")
LONG = (*SHORT, *SHORT)
ENOUGH = 20
DRAIN_S = 120.0  # a lease of 30 s may have to lapse, twice


class Town:
    """Lockgate with two workers, and a target in a process of its own."""

    def __init__(self, lockgate: Lockgate, folder: Path, seed: int) -> None:
        self.lockgate = lockgate
        self.taken = folder / "taken"
        (self.port,) = free_ports(1)
        command = [sys.executable, "-m", "tests.faults.delivery_target", str(self.port), str(self.taken), str(seed)]
        self.target = Process(command, folder / "target.log")

    def start(self) -> None:
        self.start_target()
        self._write()
        self.lockgate.start()

    def start_target(self) -> None:
        self.target.start()
        until(lambda: listens(self.port), "the target listened")

    def kill(self, what: str, chance: random.Random) -> None:
        lockgate = self.lockgate
        if what == "target":
            os.kill(self.target.pid, signal.SIGKILL)
            until(lambda: self.target.ended is not None, "the target ended")
            time.sleep(chance.random())
            self.start_target()
        elif what == "worker":
            os.kill(chance.choice(until(lockgate.workers, "there was a worker")), signal.SIGKILL)
        else:
            for pid in (lockgate.process.pid, *lockgate.workers()):
                os.kill(pid, signal.SIGKILL)
            until(lambda: lockgate.process.ended is not None, "it ended")
            lockgate.start()

    def keys(self) -> list[str]:
        return self.taken.read_text().split() if self.taken.exists() else []

    def _write(self) -> None:
        yard = self.lockgate.yard
        config = load(yard.config)
        config["events"]["listen"] = f"127.0.0.1:{self.lockgate.ports['events']}"
        save(yard.config, config)
        catalog = load(yard.folder / "catalog.yaml")
        catalog["destinations"]["target"] = {
            "adapter": "http", "upstreams": [{"url": f"http://127.0.0.1:{self.port}"}], "retries": {"attempts": 1},
            "circuit": {"failures": 1000, "open": "100ms"},
        }  # fmt: skip
        catalog["routes"]["orders"] = {
            "destination": "target", "path": "/orders", "delivery": {"for": "1h", "backoff": "100ms", "max_backoff": "1s"},
        }  # fmt: skip
        catalog["rules"][:0] = [{"name": "orders", "match": {"path": "/events/{source}"}, "intent": "look", "route": "orders"}]
        save(yard.folder / "catalog.yaml", catalog)
        data = load(yard.data)
        data["lockgate"]["config"]["access"]["routes"]["orders"] = {"employee": ["*"]}
        save(yard.data, data)


@pytest.fixture
def town(seed: int, tmp_path: Path) -> Iterator[Town]:
    with prepared(tmp_path, "--workers", "2", events={"sources": SOURCES}) as lockgate:
        made = Town(lockgate, tmp_path, seed)
        try:
            made.start()
            yield made
        finally:
            made.target.kill()


class Sender(threading.Thread):
    """Sends one event after the other, each until it is acknowledged, and each once more after that."""

    def __init__(self, town: Town, number: int, stopping: threading.Event) -> None:
        super().__init__(daemon=True)
        self._town = town
        self._number = number
        self._stopping = stopping
        self.answers: dict[str, set[str]] = {}

    def run(self) -> None:
        place = 0
        while not self._stopping.is_set():
            name = f"s{self._number}-{place}"
            for _ in range(2):
                self.answers.setdefault(name, set()).add(self._acknowledged(name))
            place += 1

    def _acknowledged(self, name: str) -> str:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                answer = shop(self._town.lockgate, name)
            except (OSError, ValueError, EOFError, http.client.HTTPException):  # one that breaks off in the middle of an answer among them
                time.sleep(0.05)
                continue
            if answer.status in (200, 202):
                decision: str = answer.json["decision_id"]
                return decision
            time.sleep(0.05)
        raise AssertionError(f"the event {name} was not acknowledged in time")


@pytest.mark.parametrize(
    ("seed", "kills"),
    [(1, SHORT), pytest.param(1, LONG, marks=pytest.mark.slow), pytest.param(2, LONG, marks=pytest.mark.slow)],
    ids=["short", "long 1", "long 2"],
)
def test_no_acknowledged_event_is_lost_or_decided_twice(town: Town, seed: int, kills: tuple[str, ...]) -> None:
    """Every event has exactly one decision, whatever was killed and however often it was sent, and reached the target at least once."""
    chance, stopping = random.Random(seed), threading.Event()
    senders = [Sender(town, number, stopping) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    for what in chance.sample(kills, len(kills)):
        time.sleep(0.3 + chance.random())
        town.kill(what, chance)
    until(lambda: sum(len(sender.answers) for sender in senders) > ENOUGH + SENDERS, "there were enough events", DRAIN_S)
    stopping.set()
    for sender in senders:
        sender.join(150)
        assert not sender.is_alive()
    town.lockgate.until_ready()
    answers = {name: found for sender in senders for name, found in sender.answers.items()}
    assert {name: found for name, found in answers.items() if len(found) != 1} == {}
    wanted = {decision for found in answers.values() for decision in found}
    assert len(wanted) == len(answers) > ENOUGH
    until(lambda: set(town.keys()) >= wanted, f"everything was delivered; {len(wanted - set(town.keys()))} were not", DRAIN_S)
    check(town.lockgate, wanted)


def check(lockgate: Lockgate, wanted: set[str]) -> None:
    """The ledger knows of nothing else, of everything once, and of how each ended; nothing waits any more."""

    def ended() -> set[str]:
        return {leaf["id"] for leaf in leaves(lockgate, "outcome") if leaf["outcome"]["result"] == "routed"}

    until(lambda: ended() >= wanted, "every outcome was recorded", DRAIN_S)
    decided = Counter(leaf["id"] for leaf in leaves(lockgate, "decision"))
    assert set(decided) == wanted
    assert set(decided.values()) == {1}
    assert lockgate.verify().returncode == 0


def leaves(lockgate: Lockgate, kind: str) -> list[Any]:
    return [leaf for leaf in lockgate.leaves() if leaf["schema"] == f"lockgate.{kind}.v1"]
