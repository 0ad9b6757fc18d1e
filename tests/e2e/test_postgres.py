"""Two real gateway nodes on one ledger in PostgreSQL: both record into it, one dies, the database goes away and comes back."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from adapters.postgres_connection import Server
from adapters.postgres_reader import PostgresReader
from router.audit.keys import ensure_sealing_key, ensure_signing_key
from router.audit.reader import Stored
from tests.e2e.load import load
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli, prepared
from tests.e2e.wire import ask
from tests.postgres_server import PostgresServer, running

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Place:
    """One database for the ledger and one for the subjects' keys."""

    server: PostgresServer
    name: str

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    def leaves(self) -> list[dict]:
        reader = PostgresReader(Server(self.url), Stored)
        try:
            return [json.loads(stored.leaf) for stored in reader.records(0, reader.size())]
        finally:
            reader.close()

    def decisions(self) -> set[str]:
        return {leaf["id"] for leaf in self.leaves() if leaf["schema"] == "lockgate.decision.v1"}


def place_on(server: PostgresServer) -> Place:
    place = Place(server, f"gate{next(_numbers)}")
    server.sql(f"CREATE DATABASE {place.name}", f"CREATE DATABASE {place.name}_keys")
    return place


@pytest.fixture
def place(postgres: PostgresServer) -> Place:
    return place_on(postgres)


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[Callable[..., Lockgate]]:
    """A node that is not started yet; every node has the first one's key files."""
    with ExitStack() as stack:

        def made(place: Place, name: str, **store: object) -> Lockgate:
            folder = tmp_path / name
            folder.mkdir()
            (folder / "ledger-url").write_text(place.url + "\n")
            (folder / "keys-url").write_text(place.server.url(f"{place.name}_keys"))
            settings = {"adapter": "postgres", "url": {"file": "ledger-url"}, "keys": {"file": "keys-url"}, **store}
            node = stack.enter_context(prepared(folder, audit={"store": settings}))
            shared = tmp_path / "keys"
            ensure_signing_key(shared / "ledger.key")
            ensure_sealing_key(shared / "sealing.key")
            shutil.copytree(shared, node.state / "keys", dirs_exist_ok=True)
            return node

        yield made


def audit(node: Lockgate, *arguments: str) -> subprocess.CompletedProcess[str]:
    return cli("audit", *arguments, "--config", str(node.yard.config))


def assert_verified(node: Lockgate, *arguments: str) -> None:
    done = audit(node, "verify", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_nodes_record_into_one_ledger_and_one_is_killed(place: Place, make_node: Callable[..., Lockgate]) -> None:
    """Requests through both, one killed -9 with all its workers in the middle: the other goes on at once, what either acknowledged is in
    the ledger, which verifies with personal parts opened, and the killed node starts again and goes on."""
    one, two = make_node(place, "one"), make_node(place, "two")
    one.start()
    two.start()
    with load(one) as first, load(two) as second:
        until(lambda: first.answered > 150 and second.answered > 150, "both served")
        one.process.kill()
        before = second.answered
        until(lambda: second.answered > before + 150, "the other went on")
    assert set(second.statuses) == {200}
    one.start()
    after = one.ask("ann", "GET", "/echo/after")
    assert after.status == 200
    assert {*first.acknowledged, *second.acknowledged, after.decision} <= place.decisions()
    assert_verified(two, "--personal")


def test_questions_are_answered_by_every_node(place: Place, make_node: Callable[..., Lockgate]) -> None:
    """The command line and the control API of either node tell what the other recorded; a database named on the command line too."""
    one, two = make_node(place, "one"), make_node(place, "two")
    one.start()
    two.start()
    asked = one.ask("ann", "GET", "/items/7")
    until(lambda: len([leaf for leaf in place.leaves() if leaf.get("id") == asked.decision]) == 2, "its outcome was recorded")
    shown = audit(two, "show", asked.decision, "--json", "--personal")
    assert json.loads(shown.stdout.splitlines()[0])["personal"]["subject"] == "ann", shown.stderr
    rows = two.control("GET", "/v1/audit/records?subject=ann").json["records"]
    assert asked.decision in {row["leaf"]["id"] for row in rows}
    assert two.control("GET", f"/v1/audit/decisions/{asked.decision}").json["decision_id"] == asked.decision
    found = cli("audit", "query", "--json", "--state", str(two.state), "--store", place.url)
    assert asked.decision in found.stdout, found.stderr
    verified = cli("audit", "verify", "--state", str(one.state), LOCKGATE_STORE=place.url)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_without_the_database_nothing_is_dispatched(make_node: Callable[..., Lockgate], tmp_path: Path) -> None:
    """While the server is away requests are answered 503 with a code, reach nothing, and the node is not ready; once it is back, the same
    processes serve again, and the ledger verifies."""
    with running() as server:
        place = place_on(server)
        node = make_node(place, "one", patience="500ms")
        node.start()
        before = node.ask("ann", "GET", "/echo/before")
        server.stop(at_once=True)
        refused = [node.ask("ann", "GET", "/echo/during") for _ in range(3)]
        assert {(each.status, each.code) for each in refused} <= {(503, "audit_store_unavailable"), (503, "audit_unsettled")}
        assert node.arrived("/echo/during") == []
        assert node.ready() is False
        server.start()
        until(lambda: node.ready() and node.ask("ann", "GET", "/echo/after").status == 200, "it served again")
        assert before.decision in place.decisions()
        assert node.process.stop() == 0
        assert_verified(node)


def test_a_node_without_the_ledgers_key_does_not_start(place: Place, make_node: Callable[..., Lockgate]) -> None:
    """One sentence, before it can sign anything."""
    one, two = make_node(place, "one"), make_node(place, "two")
    one.start()
    (two.state / "keys" / "ledger.key").unlink()
    two.process.start()
    assert two.process.wait() == 2
    assert "this node has another key" in two.process.said
    assert "Traceback" not in two.process.said


def test_evidence_is_taken_once_by_either_node(place: Place, make_node: Callable[..., Lockgate]) -> None:
    """What one node recorded the other knows: the same event has the same receipt, another under its id is refused, and both sides fit."""
    one, two = make_node(place, "one"), make_node(place, "two")
    one.start()
    two.start()
    decision = one.ask("ann", "GET", "/items/7").decision
    until(lambda: len([leaf for leaf in place.leaves() if leaf.get("id") == decision]) == 2, "its outcome was recorded")
    event = {"ce-specversion": "1.0", "ce-id": "e-1", "ce-source": "service", "ce-type": "done", "ce-lockgatedecision": decision}

    def send(node: Lockgate, body: object) -> tuple[int, object]:
        answer = ask(node.ports["control"], "POST", "/v1/evidence", node.keys["root"], body, **event)
        return answer.status, answer.json

    first = send(one, {"paid": 5})
    assert first[0] == 201
    assert send(two, {"paid": 5}) == first == send(one, {"paid": 5})
    assert send(two, {"paid": 6})[0] == 409
    assert [leaf["schema"] for leaf in place.leaves() if leaf.get("id") == decision][2:] == ["lockgate.evidence.v1"]
    fits = audit(two, "reconcile")
    assert fits.returncode == 0, fits.stdout + fits.stderr
    assert_verified(two, "--personal")
