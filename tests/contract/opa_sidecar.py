"""An OPA server for tests: our shim over OPA's own engine in a process of its own, or the real one that `OPA_URL` names."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

ROOT = Path(__file__).parents[2]


class RefusedError(Exception):
    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status} {body.decode()}")
        self.status = status


class _OverSocket(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def _connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return _OverSocket(parts.path)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.netloc, timeout=30)


class Sidecar:
    """Spoken to by OPA's REST API alone, except for `bundles` and `mode`, which only the shim has."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        connection = _connection(self.url)
        try:
            connection.request(method, path, body, {"content-type": kind})
            response = connection.getresponse()
            found = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise RefusedError(response.status, found)
        return json.loads(found) if found else None

    def fill(self, policies: Mapping[str, str], data: Mapping[str, Any] | None = None) -> None:
        """Nothing but these. Each change has to compile, so what depends on others comes once these are there."""
        for each in self.policies():
            self.ask("PUT", f"/v1/policies/{quote(each)}", b"package gone", "text/plain")
        for each in self.policies():
            self.ask("DELETE", f"/v1/policies/{quote(each)}")
        config = (data or {}).get("lockgate", {}).get("config", {})
        self.ask("PUT", "/v1/data/lockgate", json.dumps({"config": config} if data else {}).encode())
        waiting = dict(policies)
        while waiting:
            left = {name: text for name, text in waiting.items() if not self._took(name, text)}
            assert len(left) < len(waiting), f"do not compile: {sorted(left)}"
            waiting = left

    def policies(self) -> list[str]:
        return [each["id"] for each in self.ask("GET", "/v1/policies")["result"]]

    def bundles(self, bundles: Mapping[str, str], policies: Mapping[str, str], data: Mapping[str, Any] | None = None) -> None:
        wanted = {"bundles": dict(bundles), "policies": dict(policies), "data": dict(data or {})}
        self.ask("POST", "/test/bundles", json.dumps(wanted).encode())

    def mode(self, mode: str, times: int = -1) -> None:
        self.ask("POST", "/test/mode", json.dumps({"mode": mode, "times": times}).encode())

    def asked(self) -> list[str]:
        found: list[str] = self.ask("GET", "/test/asked")
        return found

    def _took(self, name: str, text: str) -> bool:
        try:
            self.ask("PUT", f"/v1/policies/{quote(name)}", text.encode(), "text/plain")
        except RefusedError as error:
            if error.status != 400:
                raise
            return False
        return True


@contextmanager
def sidecar(*options: str) -> Iterator[Sidecar]:
    """The shim, until the end of the block."""
    with process(*options) as (_, url):
        yield Sidecar(url)


@contextmanager
def process(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "tests.contract.opa_server", *options]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert started.stdout is not None
    assert started.stdin is not None
    try:
        url = started.stdout.readline().strip()
        assert url, "the OPA server did not start"
        yield started, url
    finally:
        started.kill()
        started.wait()
        started.stdin.close()
        started.stdout.close()
