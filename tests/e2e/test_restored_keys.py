"""An older copy of the subjects' keys, or of the ledger, put back on a real node: who was erased stays erased, and it is on record."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.processes import until
from tests.e2e.running import Lockgate, company
from tests.e2e.test_backup import backed_up, command, erase, found, origin

OLD = ("keys.sqlite", "ledger.sqlite")


@dataclass(frozen=True, slots=True)
class Erased:
    """`backup` has keys, ledger and checkpoints of before bob was erased; `decision` is his."""

    node: Lockgate
    backup: Path
    decision: str


@pytest.fixture
def erased(tmp_path: Path) -> Iterator[Erased]:
    """Stopped, after the erasure."""
    with company(tmp_path, audit={"checkpoint": {"every": "200ms", "records": 5}}) as node:
        assert node.control("POST", "/v1/audit/holds", {"on": "intent", "target": "pay", "case": "Case 7"}).status == 201
        assert node.ask("bob", "GET", "/echo/1").status == 200
        decision = node.leaves()[-1]["id"]
        assert node.process.stop() == 0
        backup = tmp_path / "old"
        backup.mkdir()
        for name in OLD:
            backed_up(node.state / name, backup / name)
        shutil.copytree(node.state / "checkpoints", backup / "checkpoints")
        node.start()
        erase(node)
        assert node.process.stop() == 0
        yield Erased(node, backup, decision)


def put_back(erased: Erased, name: str) -> None:
    for leftover in erased.node.state.glob(f"{name}*"):
        leftover.unlink()
    shutil.copy(erased.backup / name, erased.node.state / name)


def shown(erased: Erased) -> set[tuple[str, object]]:
    """How bob's records are shown by the command that opens them."""
    there = found("--personal", "--decision", erased.decision, "--state", str(erased.node.state))
    assert there
    return {(each["sealed"], each.get("personal")) for each in there}


def test_old_keys_open_nothing_before_a_start_and_are_destroyed_by_it(erased: Erased) -> None:
    """Commands say erased though the key is there, and a verification finds it; the start records how many and why, destroys them, counts
    them, and then all verifies; a second start finds nothing."""
    node = erased.node
    put_back(erased, "keys.sqlite")
    assert shown(erased) == {("erased", None)}
    bundle = node.state.parent / "bundle.json"
    proven = command(node, "audit", "prove", erased.decision, "--personal", "--out", str(bundle))
    assert (proven.returncode, '"opened"' in bundle.read_text(), '"erased"' in bundle.read_text()) == (0, False, True), proven.stderr
    verified = command(node, "audit", "verify", "--personal")
    assert (verified.returncode, "erased_present" in verified.stdout) == (1, True), verified.stdout
    node.start()
    (said,) = node.system("erased_keys_found")
    assert (said["reason"], said["count"], len(node.system("erasure_repeated"))) == ("older_keys", 1, 1)
    assert "lockgate_audit_keys_returned 1.0" in node.control("GET", "/metrics").body.decode()
    assert "1 keys that were destroyed are there again" in node.process.said
    told = node.control("GET", f"/v1/audit/decisions/{erased.decision}?personal=true")
    assert (told.status, told.body.count(b"bob"), told.body.count(b'"erased"') > 0) == (200, 0, True), told
    assert node.process.stop() == 0
    assert shown(erased) == {("erased", None)}
    verified = command(node, "audit", "verify", "--personal")
    assert verified.returncode == 0, verified.stdout
    node.start()
    assert len(node.system("erased_keys_found")) == 1
    assert node.process.stop() == 0


def test_a_node_that_is_killed_while_it_destroys_goes_on_at_the_next_start(erased: Erased) -> None:
    """At whatever moment: the record that names the key comes before it goes, and after the last start it is gone."""
    node = erased.node
    put_back(erased, "keys.sqlite")
    node.process.start()
    until(lambda: node.system("erased_keys_found"), "the record was there")
    node.process.kill()
    (said,) = node.system("erased_keys_found")
    node.start()
    assert {key_id for each in node.system("erased_keys_found") for key_id in each["key_ids"]} == set(said["key_ids"])
    assert node.process.stop() == 0
    with closing(sqlite3.connect(node.state / "keys.sqlite")) as file:
        assert file.execute("SELECT 1 FROM keys WHERE key_id = ?", (said["key_ids"][0],)).fetchall() == []
    assert shown(erased) == {("erased", None)}


def test_a_ledger_that_is_older_than_the_keys_is_not_gone_on_with(erased: Erased) -> None:
    """Put back with its checkpoints, so that nothing else tells: it does not start, records and signs nothing. The ledger after it has the
    erasure from the keys, and with the older keys put back as well it destroys what they bring."""
    node = erased.node
    put_back(erased, "ledger.sqlite")
    shutil.rmtree(node.state / "checkpoints")
    shutil.copytree(erased.backup / "checkpoints", node.state / "checkpoints")
    size = len(node.indexes())
    node.process.start()
    assert node.process.wait() == 2
    assert "it is older than the keys" in node.process.said
    assert len(node.indexes()) == size
    origin(node.yard, "yard.example/ledger-2")
    recovered = command(node, "audit", "recover")
    assert recovered.returncode == 0, recovered.stderr
    assert "Carried over: 0 erasures and 1 that only the subjects' keys tell of, 1 legal holds." in recovered.stdout
    put_back(erased, "keys.sqlite")
    node.start()
    (said,) = node.system("erased_keys_found")
    assert said["count"] == 1
    assert [each["on"] for each in node.control("GET", "/v1/audit/holds").json["holds"]] == ["intent"]
    assert node.process.stop() == 0
