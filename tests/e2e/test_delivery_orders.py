"""Deliveries that keep their subjects' order: who reads the ledger's file cannot tell whose they are, also of somebody who was erased."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tests.e2e.processes import until
from tests.e2e.running import PEOPLE, Lockgate
from tests.e2e.test_erasure import order
from tests.e2e.test_events import SOURCES, Target, leads, target
from tests.e2e.yard import load, save

__all__ = ["target"]  # a fixture


def in_file(made: Lockgate, sql: str, *parameters: Any, write: bool = False) -> list[Any]:
    target = f"{(made.state / 'ledger.sqlite').as_uri()}?mode={'rw' if write else 'ro'}"
    with closing(sqlite3.connect(target, uri=True, timeout=5, isolation_level=None)) as file:
        return file.execute(sql, parameters).fetchall()


def listed(made: Lockgate, state: str) -> list[str]:
    return [each["id"] for each in made.control("GET", f"/v1/deliveries?state={state}").json["deliveries"]]


def guessed(subject: str) -> bytes:
    return hashlib.sha256("\x00".join(("orders", "subject", subject)).encode()).digest()


@pytest.fixture
def lockgate(prepare: Callable[..., Lockgate], target: Target) -> Lockgate:
    made = prepare(events={"sources": SOURCES})
    leads(made, target)
    catalog = load(made.yard.folder / "catalog.yaml")
    catalog["routes"]["orders"]["delivery"]["order"] = "subject"
    save(made.yard.folder / "catalog.yaml", catalog)
    made.start()
    return made


def named(made: Lockgate) -> set[str]:
    """Whom the file names to who tries everybody."""
    lanes = {lane for (lane,) in in_file(made, "SELECT lane FROM deliveries")}
    return {person.id for person in PEOPLE if guessed(person.id) in lanes}


def test_the_ledgers_file_names_nobody_whose_delivery_waits_or_was_given_up(lockgate: Lockgate, target: Target) -> None:
    """Each goes behind its own, across an upgrade too; what was given up goes when its subject is erased, and another's stays."""
    target.answer = lambda _: 400
    given_up = [lockgate.ask(who, "POST", "/orders/1", {}).decision for who in ("ann", "ann", "bob")]
    until(lambda: len(listed(lockgate, "dead")) == 3, "all were given up")
    target.answer = lambda _: 503
    waiting = [lockgate.ask("bob", "POST", f"/orders/{place}", {"place": place}).decision for place in range(2)]
    rows = in_file(lockgate, "SELECT lane, dead FROM deliveries ORDER BY number")
    assert [dead for _, dead in rows] == [1, 1, 1, 0, 0]
    assert (len({lane for lane, _ in rows[:2]}), len({lane for lane, _ in rows[2:]}), len({lane for lane, _ in rows})) == (1, 1, 2)
    assert named(lockgate) == set()

    assert order(lockgate, "erase", "--subject", "ann", "--authority", "Olga Brandt", "--reason", "gdpr_art_17", "-y").returncode == 0
    assert listed(lockgate, "dead") == [given_up[2]]
    assert lockgate.control("GET", f"/v1/deliveries/{given_up[0]}").json["state"] == "dropped"

    lockgate.process.stop()
    in_file(lockgate, "UPDATE deliveries SET lane = ?", guessed("bob"), write=True)  # as a release of before kept it
    assert named(lockgate) == {"bob"}
    lockgate.start()
    assert named(lockgate) == set()
    waiting += [lockgate.ask("bob", "POST", "/orders/2", {"place": 2}).decision]
    arrived = list[str]()

    def take(key: str) -> int:
        arrived.append(key)
        return 200

    target.answer = take
    until(lambda: len(listed(lockgate, "pending")) == 0, "what waited was delivered")
    assert arrived == waiting
    assert lockgate.verify().returncode == 0
