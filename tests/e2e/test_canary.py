"""Routes with two destinations, and copies, by the real process with real services behind it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.halden.demo.company import free_ports
from tests.e2e.processes import Process, until
from tests.e2e.running import Lockgate, Person, listens, prepared
from tests.e2e.wire import Answer, ask
from tests.e2e.yard import QUICK, load, save

PEOPLE = tuple(Person(f"p{number}", ("employee",)) for number in range(40))
TOM = Person("tom", ("employee", "tester"))


@dataclass
class Town:
    lockgate: Lockgate
    folder: Path
    newer: int
    shadow: int

    def at(self, port: int) -> list[Any]:
        return list(ask(port, "GET", "/_arrivals").json["arrivals"])

    def forget(self) -> None:
        self.lockgate.forget()
        for port in (self.newer, self.shadow):
            ask(port, "GET", "/_forget")

    def route(self, answer: Answer) -> tuple[str, str]:
        found = self.lockgate.story(answer.decision)[0]["route"]
        return found["destination"], found["why"]

    def change(self, **settings: Any) -> None:
        before = self.lockgate.control("GET", "/v1/config").json["config_digest"]
        catalog = load(self.folder / "catalog.yaml")
        catalog["routes"]["plain"] = {"destination": "service", **settings}
        save(self.folder / "catalog.yaml", catalog)
        until(lambda: self.lockgate.control("GET", "/v1/config").json["config_digest"] != before, "it was taken up")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("canary")
    ports = free_ports(4)
    services = [
        Process([sys.executable, "-m", "tests.e2e.upstream", str(ports[place]), str(ports[place + 1])], folder / f"{place}.log")
        for place in (0, 2)
    ]
    with prepared(
        folder, people=(*PEOPLE, TOM, Person("root", ("admin",), ("control",)), Person("mia", ("reviewer",), ("control",)))
    ) as lockgate:
        try:
            for service in services:
                service.start()
            until(lambda: listens(ports[0]) and listens(ports[2]), "the services listened")
            catalog = load(folder / "catalog.yaml")
            for name, port in (("newer", ports[0]), ("shadow", ports[2])):
                catalog["destinations"][name] = {"adapter": "http", "upstreams": [{"url": f"http://127.0.0.1:{port}"}], **QUICK}
            save(folder / "catalog.yaml", catalog)
            lockgate.start()
            yield Town(lockgate, folder, ports[0], ports[2])
        finally:
            for service in services:
                service.kill()


@pytest.fixture
def town(built: Town) -> Town:
    built.forget()
    return built


def test_a_share_of_the_callers_gets_the_other_and_keeps_it_as_it_grows(town: Town) -> None:
    """Each of them always; the record says which, and the service that it names is the one that was asked."""
    had: set[str] = set()
    for share in ("25%", "60%"):
        town.change(canary={"destination": "newer", "share": share})
        town.forget()
        routes = {each.id: {town.route(town.lockgate.ask(each.id, "GET", "/items/1")) for _ in range(2)} for each in PEOPLE}
        assert all(len(found) == 1 for found in routes.values())
        now = {who for who, found in routes.items() if found == {("newer", "canary")}}
        assert all(routes[who] == {("service", "rule")} for who in routes.keys() - now)
        assert len(town.at(town.newer)) == 2 * len(now)
        assert {dict(each["headers"])["x-lockgate-destination"] for each in town.at(town.newer)} == {"newer"}
        assert had < now < routes.keys()
        had = now
    page = town.lockgate.control("GET", "/metrics").body.decode()
    for destination in ("newer", "service"):
        assert f'lockgate_canary_requests_total{{destination="{destination}",result="routed",route="plain",status="2xx"' in page


def test_testers_choose_by_a_header_field(town: Town) -> None:
    """Nobody else does."""
    town.change(canary={"destination": "newer", "share": 0, "header": "x-version", "testers": ["tester"]})
    assert town.route(town.lockgate.ask("tom", "GET", "/items/1", **{"x-version": "canary"})) == ("newer", "canary_asked")
    assert town.route(town.lockgate.ask("tom", "GET", "/items/1")) == ("service", "rule")
    assert town.route(town.lockgate.ask("p1", "GET", "/items/1", **{"x-version": "canary"})) == ("service", "rule")
    assert len(town.at(town.newer)) == 1


def test_copies_go_beside_the_request_and_are_marked(town: Town) -> None:
    """Without the credential, with the body and the decision's id; a body that streams is not copied, and goes through."""
    town.change(mirror={"destination": "shadow"})
    answer = town.lockgate.ask("p1", "POST", "/echo/x", {"message": "hello"})
    assert answer.status == 200
    (copy,) = until(lambda: town.at(town.shadow), "the copy arrived")
    fields = dict(copy["headers"])
    assert (fields["x-lockgate-mirror"], fields["x-lockgate-decision-id"]) == ("1", answer.decision)
    assert "authorization" not in fields
    assert copy["body_digest"] == answer.json["body_digest"]
    assert "x-lockgate-mirror" not in dict(answer.json["headers"])


def test_a_receiver_of_copies_that_fails_affects_nobody(town: Town) -> None:
    """Nobody listens there at all; it is counted."""
    town.change(mirror={"destination": "nobody"})
    assert all(town.lockgate.ask("p1", "GET", "/items/1").status == 200 for _ in range(20))
    until(lambda: 'lockgate_mirrors_total{result="failed"' in town.lockgate.control("GET", "/metrics").body.decode(), "it was counted")


def test_a_share_of_copies_is_a_share(town: Town) -> None:
    """Neither none nor all, and told by the decision's id alone."""
    from router.stages.canary import place

    town.change(mirror={"destination": "shadow", "share": "50%"})
    ids = [town.lockgate.ask("p1", "GET", "/items/1").decision for _ in range(40)]
    expected = {each for each in ids if place("mirror", each) < 0.5}
    assert 5 < len(expected) < 35
    until(lambda: {dict(each["headers"])["x-lockgate-decision-id"] for each in town.at(town.shadow)} == expected, "those were copied")
