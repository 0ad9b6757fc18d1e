"""Two real gateway nodes on one ledger in PostgreSQL: both record into it, one dies, the database goes away and comes back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from adapters.postgres.connection import Server
from adapters.postgres.reader import PostgresReader
from examples.halden.demo.company import free_ports
from router.audit.keys.files import ensure_sealing_key, ensure_signing_key
from router.audit.questions.reader import Stored
from router.audit.tree.checkpoint import NoteSigner, note_checkpoint
from tests.conformance.tiles_client import Client
from tests.e2e.load import load
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli, prepared
from tests.e2e.test_shared_state import figure
from tests.e2e.wire import ask
from tests.e2e.yard import load as load_config
from tests.e2e.yard import save
from tests.faults.witness_processes import witness
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

    def size(self) -> int:
        return len(self.leaves())

    def keys_from(self, index: int) -> set[str]:
        """Under which keys the records from there on are sealed."""
        reader = PostgresReader(Server(self.url), Stored)
        try:
            return {stored.key_id for stored in reader.records(index, reader.size())}
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

        def made(
            place: Place, name: str, *, quick: bool = False, tiles: object = None, witnesses: object = None, **store: object
        ) -> Lockgate:
            folder = tmp_path / name
            folder.mkdir()
            (folder / "ledger-url").write_text(place.url + "\n")
            (folder / "keys-url").write_text(place.server.url(f"{place.name}_keys"))
            settings = {"adapter": "postgres", "url": {"file": "ledger-url"}, "keys": {"file": "keys-url"}, **store}
            more = {**({"checkpoint": {"every": "200ms", "records": 5}} if quick else {}), **({"tiles": tiles} if tiles else {})}
            more |= {"witnesses": witnesses} if witnesses else {}
            node = stack.enter_context(prepared(folder, audit={"store": settings, **more}))
            node.process.environment = {**node.process.environment, "LOCKGATE_NODE": name}
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
    the ledger, which verifies with personal parts opened, and the killed node starts again and goes on. The ledger tells which it was."""
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
    told = [json.loads(line) for line in audit(two, "degraded", "--json").stdout.splitlines()]
    assert [(each["node"], each["reasons"]) for each in told if each["part"] == "away"] == [("one", ["ended_without_stopping"])]


@pytest.mark.slow
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


def test_how_a_request_ended_is_on_record_once_the_database_is_back(make_node: Callable[..., Lockgate]) -> None:
    """It was under way when the server went away, and its caller had the answer meanwhile."""
    with running() as server, ThreadPoolExecutor() as callers:
        place = place_on(server)
        node = make_node(place, "one", patience="500ms")
        node.start()
        asking = [callers.submit(node.ask, who, "GET", "/hold/long") for who in ("ann", "bob")]
        until(lambda: len(node.arrived("/hold/long")) == 2, "both were under way")
        server.stop(at_once=True)
        node.release()
        answers = [each.result(30) for each in asking]
        assert {each.status for each in answers} == {200}
        until(lambda: "outcomes wait" in node.process.said, "it said that outcomes wait")
        assert figure(node, "lockgate_audit_late") == 2
        server.start()
        ids = {each.decision for each in answers}
        until(lambda: {leaf["id"] for leaf in place.leaves() if leaf["schema"] == "lockgate.outcome.v1"} >= ids, "both are on record")
        ended = [leaf for leaf in place.leaves() if leaf["schema"] == "lockgate.outcome.v1" and leaf["id"] in ids]
        assert [(each["outcome"]["result"], each["outcome"]["complete"]) for each in ended] == [("routed", True)] * 2
        until(lambda: figure(node, "lockgate_audit_late") == 0, "none waited any more")
        assert figure(node, "lockgate_audit_failures_total") == 0
        assert node.process.stop() == 0
        assert_verified(node)


def test_a_database_that_goes_away_under_load_leaves_no_decision_open(make_node: Callable[..., Lockgate]) -> None:
    """For longer than a record waits for it, in the middle of whatever commit is under way: once it is back every decision that is on
    record has its one end, also those that nobody could tell their callers about."""
    with running() as server:
        place = place_on(server)
        node = make_node(place, "one", patience="200ms")
        node.start()
        with load(node, callers=8) as seen:
            until(lambda: seen.statuses[200] > 200, "there was load")
            server.stop(at_once=True)
            until(lambda: seen.statuses[503] > 8, "who asked was refused")
            server.start()
            until(node.ready, "it served again")
        until(lambda: ends(place)[0] == set(), "no decision was open")
        _, acknowledged, more = ends(place)
        assert acknowledged >= set(seen.acknowledged)
        assert more == []
        assert node.process.stop() == 0
        assert_verified(node)


def ends(place: Place) -> tuple[set[str], set[str], list[str]]:
    """Decisions that were to have an outcome and have none; those that ended well; and those with more than one."""
    leaves = place.leaves()
    decided = {leaf["id"] for leaf in leaves if leaf["schema"] == "lockgate.decision.v1" and leaf["outcome"] is None}
    ended = [leaf for leaf in leaves if leaf["schema"] == "lockgate.outcome.v1"]
    ids = [leaf["id"] for leaf in ended]
    assert set(ids) <= decided
    well = {leaf["id"] for leaf in ended if leaf["outcome"]["complete"]}
    return decided - set(ids), well, [each for each, times in Counter(ids).items() if times > 1]


def test_a_node_without_the_ledgers_key_does_not_start(place: Place, make_node: Callable[..., Lockgate]) -> None:
    """One sentence, before it can sign anything."""
    one, two = make_node(place, "one"), make_node(place, "two")
    one.start()
    (two.state / "keys" / "ledger.key").unlink()
    two.process.start()
    assert two.process.wait() == 2
    assert "this node has another key" in two.process.said
    assert "Traceback" not in two.process.said


def test_a_person_erased_on_one_node_is_forgotten_by_every_node(place: Place, make_node: Callable[..., Lockgate]) -> None:
    """Both nodes' workers have their key while requests of theirs come in; when the answer is there nothing more is sealed under it on
    either node, the same person goes on as somebody new, and all of it verifies with personal parts opened."""
    one, two = make_node(place, "one"), make_node(place, "two")
    one.start()
    two.start()
    with load(one) as first, load(two) as second:
        until(lambda: first.answered > 100 and second.answered > 100, "both served")
        before = place.keys_from(0)
        done = one.control("POST", "/v1/audit/erasures", {"subject": "ann", "authority": "x", "reason": "gdpr_art_17", "case": ""})
        assert done.status == 200, done.body
        gone, size = done.json["leaf"]["details"]["key_id"], place.size()
        assert gone in before
        went_on = second.answered + 100
        until(lambda: second.answered > went_on, "the other node went on")
    assert set(first.statuses) == set(second.statuses) == {200}
    assert gone not in place.keys_from(size)
    assert two.ask("ann", "GET", "/echo/after").status == 200
    again = two.control("POST", "/v1/audit/erasures", {"subject": "ann", "authority": "x", "reason": "gdpr_art_17", "case": ""})
    assert again.json["leaf"]["details"]["key_id"] != gone
    assert [one.process.stop(), two.process.stop()] == [0, 0]
    assert_verified(two, "--personal")


@pytest.mark.slow
def test_a_frozen_node_holds_an_erasure_up_for_seconds_and_uses_the_key_no_more(place: Place, make_node: Callable[..., Lockgate]) -> None:
    """The control process of the other node is stopped, as its machine might be: the erasure is answered all the same, and when the node
    goes on, its workers' next records are not under the key."""
    one, two = make_node(place, "one"), make_node(place, "two")
    one.start()
    two.start()
    assert two.ask("ann", "GET", "/echo/before").status == 200
    os.kill(two.process.pid, signal.SIGSTOP)
    try:
        done = one.control("POST", "/v1/audit/erasures", {"subject": "ann", "authority": "x", "reason": "gdpr_art_17", "case": ""})
        assert done.status == 200, done.body
        size = place.size()
    finally:
        os.kill(two.process.pid, signal.SIGCONT)
    until(lambda: two.ask("ann", "GET", "/echo/after").status == 200, "it served again")
    assert done.json["leaf"]["details"]["key_id"] not in place.keys_from(size)
    assert [one.process.stop(), two.process.stop()] == [0, 0]
    assert_verified(one, "--personal")


@pytest.mark.slow
def test_one_node_hands_over_and_the_others_sign_no_more(place: Place, make_node: Callable[..., Lockgate]) -> None:
    """While the other serves on with the old key, it says why it signs nothing, and records; restarted with the new key it signs again.
    Whoever trusts either key can verify all of it, and the old key does not start any more."""
    one, two = make_node(place, "one", quick=True), make_node(place, "two", quick=True)
    one.start()
    two.start()
    assert one.ask("ann", "GET", "/echo/1").status == 200
    old = json.loads(audit(two, "verify", "--json").stdout)["public_key"]
    assert one.process.stop() == 0
    save(one.yard.config, with_next_key(load_config(one.yard.config), one.state))
    rotated = audit(one, "rotate-key", "--reason", "chg-7", "--json")
    assert json.loads(rotated.stdout)["rotated"], rotated.stderr
    one.start()
    assert [two.ask("ann", "GET", f"/echo/{number}").status for number in range(6)] == [200] * 6
    until(lambda: "handed over to the key" in two.process.said, "the other said why it signs no more")
    assert two.process.said.count("handed over to the key") == 1
    assert two.ready()
    until(lambda: one.ready() and covered(place), "the new key signed for what the other recorded")
    assert two.process.stop() == 0
    two.process.start()
    assert two.process.wait() == 2
    assert "this node has another key" in two.process.said
    shutil.copy(one.state / "keys" / "next.key", two.state / "keys" / "next.key")
    save(two.yard.config, with_next_key(load_config(two.yard.config), two.state))
    two.start()
    assert two.ask("ann", "GET", "/echo/again").status == 200
    assert [one.process.stop(), two.process.stop()] == [0, 0]
    assert_verified(two, "--key", old)
    assert_verified(two)


def with_next_key(document: dict, state: Path) -> dict:
    keys = {"key": {"file": str(state / "keys" / "next.key")}, "previous_key": {"file": str(state / "keys" / "ledger.key")}}
    return {**document, "audit": {**document["audit"], **keys}}


def covered(place: Place) -> bool:
    """Whether a checkpoint covers the last record."""
    reader = PostgresReader(Server(place.url), Stored)
    try:
        return note_checkpoint(reader.latest_checkpoint() or "").size == reader.size()
    finally:
        reader.close()


def test_what_is_for_files_says_so(place: Place, make_node: Callable[..., Lockgate]) -> None:
    """One sentence each, and nothing done."""
    node = make_node(place, "one")
    node.start()
    erasing = ("erase", "--subject", "ann", "--authority", "x", "--reason", "x", "-y")
    refused = audit(node, *erasing)
    assert (refused.returncode, "give an API key" in " ".join(refused.stderr.split())) == (2, True), refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_tiles_are_served_from_the_database(place: Place, make_node: Callable[..., Lockgate], tmp_path: Path) -> None:
    """A client of the specification verifies what two nodes recorded, over HTTP from one of them and from exported files."""
    (port,) = free_ports(1)
    one, two = (
        make_node(place, "one", quick=True, tiles={"listen": f"127.0.0.1:{port}", "public": True}),
        make_node(place, "two", quick=True),
    )
    one.start()
    two.start()
    asked = [node.ask("ann", "GET", "/items/1").decision for node in (one, two) for _ in range(3)]
    assert set(asked) <= place.decisions()
    until(lambda: note_checkpoint(ask(port, "GET", "/checkpoint").body.decode()).size >= 14, "a checkpoint covered the requests")
    client = Client(lambda path: ask(port, "GET", f"/{path}").body)
    client.verify_root()
    assert json.loads(client.verify_inclusion(0))["event"] == "started"
    done = audit(two, "tiles", "--out", str(tmp_path / "tiles"))
    assert done.returncode == 0, done.stderr
    Client(lambda path: (tmp_path / "tiles" / path).read_bytes()).verify_root()


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_witness_confirms_what_two_nodes_record(place: Place, make_node: Callable[..., Lockgate], tmp_path: Path) -> None:
    """Both show it checkpoints; neither takes the other's for a contradiction, and its cosignature stands in the database."""
    (port,) = free_ports(1)
    policy = tmp_path / "witnesses.policy"
    one, two = (make_node(place, name, quick=True, witnesses={"policy": str(policy), "timeout": "2s"}) for name in ("one", "two"))
    origin = load_config(one.yard.config)["audit"].get("origin", "lockgate.local/ledger")
    key = NoteSigner(origin, ensure_signing_key(one.state / "keys" / "ledger.key")).verifier
    with witness(tmp_path / "w", "w.example", port, [key]) as seeing:
        seeing.start()
        policy.write_text(seeing.line.replace(" w.example ", " w ", 1) + "\nquorum w\n")
        one.start()
        with load(one) as first:
            until(lambda: first.answered > 50, "the first served")
            two.start()
            assert two.ask("ann", "GET", "/echo/x").status == 200
        size = place.size()
        until(lambda: witnessed(two, policy) >= size, "what both recorded was witnessed")
        assert [one.process.stop(), two.process.stop()] == [0, 0]
    for node in (one, two):
        assert not {"audit_rolled_back", "audit_forked"} & set(node.process.said.replace("(", " ").replace(")", " ").split())


def witnessed(node: Lockgate, policy: Path) -> int:
    found = json.loads(audit(node, "verify", "--json", "--policy", str(policy)).stdout)["witnessed"]
    return 0 if found is None else found["records"]
