"""Two real nodes that share held requests and API keys, and know each other."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.nodes import Cluster, cluster, command
from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.test_answers import question, say
from tests.e2e.test_reviews import approve, held, shown, state_of
from tests.e2e.yard import load, save
from tests.postgres_server import PostgresServer


@pytest.fixture
def pair(postgres: PostgresServer, tmp_path: Path) -> Iterator[Cluster]:
    """A test's own."""
    with cluster(postgres, tmp_path) as made:
        made.start()
        yield made


@pytest.fixture(scope="module")
def standing(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(postgres, tmp_path_factory.mktemp("nodes")) as made:
        made.start()
        yield made


@pytest.fixture
def both(standing: Cluster) -> Cluster:
    """Two for all whom nobody ends; their service remembers nothing of the test before."""
    standing.nodes[0].forget()
    return standing


def outcomes(pair: Cluster, decision: str) -> list[Any]:
    return [leaf["outcome"] for leaf in pair.place.leaves() if leaf["schema"] == "lockgate.outcome.v1" and leaf["id"] == decision]


def told(pair: Cluster, decision: str) -> list[str]:
    """What the ledger says became of a held request."""
    return [leaf["event"] for leaf in pair.place.leaves() if leaf["schema"] == "lockgate.review.v1" and leaf["id"] == decision]


def test_held_on_one_node_approved_on_the_other_and_sent_once(both: Cluster) -> None:
    """Both list it; the other's approval sends it, and both say so; the same said again, on either, changes nothing. Who waits
    at the first node hears how it ended, though that node did nothing of it. A question is answered at any of them, once."""
    one, two = both.nodes
    review = held(one)
    assert review in {each["id"] for each in two.control("GET", "/v1/reviews?state=pending", who="max").json["reviews"]}
    asked = question(one, review)
    given = say(two, review, {"text": "For Zoe."}, asked["if_match"], idempotency_key="k")
    again = say(one, review, "For Zoe.", asked["if_match"], idempotency_key="k")
    assert (given.status, given.json["state"], again.fields["idempotent-replayed"]) == (200, "pending", "true"), given.body
    with ThreadPoolExecutor(1) as caller:
        waiting = caller.submit(one.ask, "ann", "GET", f"/.lockgate/reviews/{review}", Prefer="wait=15")
        done = approve(two, review)
        assert (done.status, done.json["state"]) == (200, "done"), done.body
        end = waiting.result()
        assert (end.status, end.fields["x-lockgate-review"], end.json["target"]) == (200, "done", "/pay/1"), end
    assert [shown(node, review)["state"] for node in (one, two)] == ["done", "done"]
    assert {approve(node, review).status for node in (one, two)} == {200}
    assert len(one.arrived("/pay/1")) == 1
    until(lambda: outcomes(both, review), "its outcome was recorded")
    assert told(both, review) == ["held", "information_asked", "information_given", "approved", "dispatched"]


def test_approved_on_both_at_once_it_is_sent_once(both: Cluster) -> None:
    """Ten requests, each approved on both nodes at the same moment: one approval counts, and each is recorded and sent once."""
    one, two = both.nodes
    reviews = [held(one, f"/pay/{number}") for number in range(10)]
    with ThreadPoolExecutor(4) as people:
        for review in reviews:
            answers = list(people.map(lambda node, review=review: approve(node, review), (one, two)))
            assert sorted(answer.status for answer in answers) in ([200, 409], [200, 200]), [answer.body for answer in answers]
    for number, review in enumerate(reviews):
        state_of(two, review, "done")
        assert len(one.arrived(f"/pay/{number}")) == 1
        until(lambda review=review: outcomes(both, review), "its outcome was recorded")
        assert sorted(told(both, review)) == ["approved", "dispatched", "held"]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "became", "arrivals"), [("/later/1", "uncertain", 1), ("/once/1", "done", 2)])
def test_a_node_that_dies_while_it_sends_leaves_it_to_the_other(pair: Cluster, path: str, became: str, arrivals: int) -> None:
    """As after a crash of the only node: uncertain, or sent again under the same key where the service deduplicates. Its records are in
    the ledger once, though both nodes know of it."""
    one, two = pair.nodes
    review = held(one, path)
    with ThreadPoolExecutor(1) as somebody:
        approving = somebody.submit(approve, one, review)
        until(lambda: one.arrived(path), "it had been sent")
        assert shown(two, review)["state"] == "dispatching"
        one.process.kill()
        approving.exception()
    two.release()
    assert state_of(two, review, "uncertain", "done") == became
    keys = {dict(each["headers"])["idempotency-key"] for each in two.arrived(path)}
    assert (len(two.arrived(path)), keys) == (arrivals, {review})
    until(lambda: outcomes(pair, review), "its outcome was recorded")
    events = told(pair, review)
    assert len(events) == len(set(events)), events
    one.start()
    assert shown(one, review)["state"] == became


@pytest.mark.slow
def test_a_node_that_lives_is_not_taken_for_gone(pair: Cluster) -> None:
    """A service that takes its time is not asked again by the other node, however often that looks."""
    one, two = pair.nodes
    review = held(one, "/once/2")
    with ThreadPoolExecutor(1) as somebody:
        approving = somebody.submit(approve, one, review)
        until(lambda: one.arrived("/once/2"), "it had been sent")
        time.sleep(12)  # two rounds, once it has been in touch for long enough
        assert shown(two, review)["state"] == "dispatching"
        assert len(one.arrived("/once/2")) == 1
        one.release()
        approving.result()
        assert state_of(two, review, "done")
    assert len(one.arrived("/once/2")) == 1


def test_an_api_key_is_known_and_revoked_on_all_nodes(both: Cluster) -> None:
    """Made over the API of one it opens the other; made on the command line it opens both; revoked on the other it opens neither."""
    one, two = both.nodes
    wanted = {"name": "new", "subject": "ann", "roles": ["employee"], "scopes": ["gateway"]}
    made = one.control("POST", "/v1/keys", wanted)
    assert made.status == 201, made.body
    by_hand = command(two, "keys", "create", "--subject", "bob", "--role", "employee")
    assert by_hand.returncode == 0, by_hand.stderr
    for node in (one, two):
        object.__setattr__(node, "keys", {**node.keys, "new": made.json["key"], "hand": by_hand.stdout.strip()})
    opens = lambda who: lambda: {node.ask(who, "GET", "/echo/1").status for node in (one, two)}  # noqa: E731  # two lines
    until(lambda: opens("new")() == {200} and opens("hand")() == {200}, "both nodes knew both keys")
    assert two.control("DELETE", f"/v1/keys/{made.json['id']}").status == 204
    until(lambda: opens("new")() == {401}, "neither node took the revoked key")
    assert opens("hand")() == {200}
    assert not (one.state / "identity.sqlite").exists()


@pytest.mark.slow
def test_nodes_know_each_other_and_what_they_differ_in(pair: Cluster, tmp_path: Path) -> None:
    """All the same at first; a changed catalog on one is told by both with who and since when, on the command line and as a metric; so
    is a drained node, by its own name alone; a node that is killed is gone, and one that stopped is not listed."""
    one, two = pair.nodes
    listed = until(lambda: len((found := nodes(one))["nodes"]) == 2 and found, "both were there")
    assert ([(each["name"], each["alive"], each["own"]) for each in listed["nodes"]], listed["skew"]) == (
        [("node1", True, True), ("node2", True, False)],
        [],
    )
    catalog = two.yard.folder / "catalog.yaml"
    changed = load(catalog)
    changed["intents"]["look"]["description"] = "Looks at an item, and at no other."
    save(catalog, changed)
    told = lambda node: {each["property"]: each["values"] for each in nodes(node)["skew"]}  # noqa: E731  # used twice
    until(lambda: set(told(one)) == set(told(two)) == {"catalog_digest", "config_digest"}, "both saw the difference")
    assert [value["nodes"] for value in told(one)["catalog_digest"]] == [["node1"], ["node2"]]
    text = command(one, "nodes", "--key", one.keys["root"])
    assert text.returncode == 0, text.stderr
    assert "They differ in catalog_digest since 20" in text.stdout, text.stdout
    figures = lambda: one.control("GET", "/metrics").body.decode()  # noqa: E731  # once
    until(lambda: 'lockgate_nodes_skew{property="catalog_digest"} 1.0' in figures(), "the metric said so")
    assert one.control("POST", "/v1/nodes/node2/drain").code == "node_elsewhere"
    assert two.control("POST", "/v1/nodes/node2/drain").json["name"] == "node2"
    until(lambda: [each["state"] for each in nodes(one)["nodes"]][1] in ("draining", "drained"), "the other one heard of it")
    assert ", drain" in command(one, "nodes", "--key", one.keys["root"]).stdout
    two.process.kill()
    until(lambda: [each["alive"] for each in nodes(one)["nodes"]] == [True, False], "the killed one was gone")
    assert nodes(one)["skew"] == []
    two.start()
    until(lambda: sum(each["alive"] for each in nodes(one)["nodes"]) == 2, "it was back")
    assert two.process.stop() == 0
    assert [each["alive"] for each in nodes(one)["nodes"]].count(True) == 1
    assert one.control("GET", "/v1/nodes", who="max").status == 403


def nodes(node: Lockgate) -> Any:
    answer = node.control("GET", "/v1/nodes")
    assert answer.status == 200, answer.body
    return answer.json


def test_both_end_in_order_and_their_ledger_verifies(both: Cluster) -> None:
    """With what was held and approved on either of them, and what is personal in it."""
    one, two = both.nodes
    review = held(one)
    assert approve(two, review).status == 200
    until(lambda: outcomes(both, review), "its outcome was recorded")
    assert [node.process.stop() for node in both.nodes] == [0, 0]
    verified = command(one, "audit", "verify", "--personal")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.slow
def test_a_node_that_is_killed_and_never_comes_again_is_on_record(pair: Cluster) -> None:
    """The other says so, and since when nothing was heard of it; whoever asks when nodes were away hears it."""
    one, two = pair.nodes
    held(two)
    two.process.kill()
    told = until(lambda: [each for each in pair.place.leaves() if each.get("event") == "node_lost"], "it was missed", seconds=120)
    (lost,) = [each["details"] for each in told]
    gone = [each for each in one.control("GET", "/v1/nodes").json["nodes"] if not each["alive"]]
    assert [(each["node"], each["name"], each["seen"]) for each in gone] == [(lost["node"], lost["name"], lost["seen"][:19] + "Z")]
    shown = command(one, "audit", "degraded", "--json")
    away = [each for each in map(json.loads, shown.stdout.splitlines()) if each["part"] == "away"]
    assert [(each["node"], each["since"], each["reasons"]) for each in away] == [
        (lost["name"], lost["seen"], ["ended_without_stopping", "not_started_again"])
    ]
