"""Two real nodes with one ledger that take up a new signed policy bundle, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.bundle_server import Shelf, serving
from tests.e2e.nodes import Cluster, cluster, command
from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.test_policy_bundles import KEYS, bundle, in_force, put
from tests.e2e.test_shared_nodes import nodes
from tests.postgres_server import PostgresServer
from tests.unit.bundle.making import PUBLIC

FILE = "b.tar.gz"
OF_A_BUNDLE = {"bundle_revision", "bundle_sequence", "policy_digest", "config_digest"}  # the last is over all files that a node reads


def test_nodes_differ_until_both_have_the_new_bundle(postgres: PostgresServer, tmp_path: Path) -> None:
    """While one has it each decides, and records, by its own; both tell the difference, with who has which, on the command line, too. When
    the other has it they decide by the same, the ledger has two activations of the same digest, and no difference is told."""
    policy = {"bundle": {"from": FILE, "keys": KEYS, "attested": "required"}}
    with cluster(postgres, tmp_path, policy=policy) as pair:
        one, two = pair.nodes
        older, newer = bundle(1), bundle(2, closed=True)  # signed once: no two signatures are the same
        for node in pair.nodes:
            (node.yard.folder / "k.pub").write_bytes(PUBLIC)
            put(node.yard.folder / FILE, older)
        pair.start()
        until(lambda: [_told(node) for node in pair.nodes] == [{}, {}] and len(nodes(one)["nodes"]) == 2, "both ran the same")
        assert [_decided(pair, node) for node in pair.nodes] == [("r1", "allow"), ("r1", "allow")]

        put(one.yard.folder / FILE, newer)
        until(lambda: in_force(one)["revision"] == "r2", "one had the new bundle")
        until(lambda: set(_told(one)) == set(_told(two)) == OF_A_BUNDLE, "both told the difference")
        assert _told(one)["bundle_revision"] == _told(two)["bundle_revision"] == [("r1", ["node2"]), ("r2", ["node1"])]
        assert [_decided(pair, node) for node in pair.nodes] == [("r2", "deny"), ("r1", "allow")]
        shown = command(two, "nodes", "--key", pair.keys["root"]).stdout
        assert "They differ in bundle_revision since 20" in shown, shown
        assert ": r1 on node2; r2 on node1." in shown, shown

        put(two.yard.folder / FILE, newer)
        until(lambda: in_force(two)["revision"] == "r2", "the other had it, too")
        assert [_decided(pair, node) for node in pair.nodes] == [("r2", "deny"), ("r2", "deny")]
        until(lambda: [_told(node) for node in pair.nodes] == [{}, {}], "nothing differed")
        assert "All living nodes run the same." in command(one, "nodes", "--key", pair.keys["root"]).stdout
        activated = [leaf["details"] for leaf in pair.place.leaves() if leaf.get("event") == "policy_activated"]
    digest = _digest_of(activated, 2)
    assert digest != _digest_of(activated, 1)


def test_a_node_that_is_new_takes_no_older_bundle_than_the_other_has(postgres: PostgresServer, tmp_path: Path) -> None:
    """Its server is behind: it does not start, and the ledger says why; once the server has caught up it does."""
    with serving(Shelf(bundle(2))) as shelf:
        policy = {"bundle": {"from": shelf.url, "keys": KEYS, "attested": "required"}}
        with cluster(postgres, tmp_path, policy=policy) as pair:
            one, two = pair.nodes
            for node in pair.nodes:
                (node.yard.folder / "k.pub").write_bytes(PUBLIC)
            one.process.start()
            one.until_ready()
            shelf.put(bundle(1))
            two.process.start()
            until(lambda: two.process.ended is not None, "the new node ended")
            assert "2 was in force before" in two.process.said
            ended = [leaf["details"] for leaf in pair.place.leaves() if leaf.get("event") == "stopped"]
            assert [each.get("failed") for each in ended] == ["bundle_rolled_back"]
            shelf.put(bundle(2))
            two.process.start()
            two.until_ready()
            assert in_force(two)["revision"] == "r2"


def _digest_of(activated: list[Any], sequence: int) -> str:
    """Of the bundle with that number, which both nodes put on record, signed by the same."""
    of = [(each["digest"], each["signer"]) for each in activated if each["sequence"] == sequence]
    assert of == [(of[0][0], "release")] * 2, activated
    return str(of[0][0])


def _told(node: Lockgate) -> dict[str, list[tuple[Any, list[str]]]]:
    """Which nodes have which value of what they differ in."""
    return {each["property"]: [(value["value"], value["nodes"]) for value in each["values"]] for each in nodes(node)["skew"]}


def _decided(pair: Cluster, node: Lockgate) -> tuple[str, str]:
    """By which revision that node's next decision was made, and how, as it is on record."""
    answer = node.ask("ann", "GET", "/items/1")
    verdict = next(leaf["verdict"] for leaf in pair.place.leaves() if leaf.get("id") == answer.decision)
    assert (answer.status == 200) == (verdict["effect"] == "allow")
    return verdict["revision"], verdict["effect"]
