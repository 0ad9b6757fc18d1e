"""Starts the services and Lockgate as processes of their own, on free ports of this machine, and ends them again."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent.parent
SERVICES = ("payments", "people", "itdesk", "backoffice")
LISTENERS = ("gateway", "decide", "control", "events")
READY_S = 60.0
STOP_S = 40.0
PORTS = (10_000, 32_000)


class NotReadyError(Exception):
    """A process did not come up; the message says which and where its output is."""


def free_ports(count: int) -> list[int]:
    """Below those that systems give to connections, for one of these could take a port before its server does."""
    found: list[socket.socket] = []
    try:
        while len(found) < count:
            sock = socket.socket()
            try:
                sock.bind(("127.0.0.1", random.randrange(*PORTS)))  # any will do
            except OSError:
                sock.close()
            else:
                found.append(sock)
        return [sock.getsockname()[1] for sock in found]
    finally:
        for sock in found:
            sock.close()


@dataclass(slots=True)
class Company:
    """`folder` holds state, keys and what the processes print; `workspace` is where Lockgate's configuration is. `settings` are put into
    the processes' environment, secrets among them."""

    folder: Path
    ports: Mapping[str, int]
    workspace: Path = HERE
    services: Sequence[str] = SERVICES
    settings: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.own_environment}

    @property
    def own_environment(self) -> dict[str, str]:
        own = {f"HALDEN_{name.upper()}_URL": self.url(name) for name in self.services}
        own |= {f"HALDEN_{name.upper()}_PORT": str(self.ports[name]) for name in LISTENERS}
        own |= {"HALDEN_STATE": str(self.folder / "state"), "HALDEN_JWKS": str(self.folder / "jwks.json")}
        return own | {"HALDEN_EVIDENCE_URL": self.url("control") + "/v1/evidence"} | self.settings

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def start_services(self) -> None:
        for name in self.services:
            self.start(name, [sys.executable, "-m", f"examples.halden.services.{name}", "--port", str(self.ports[name])])
        for name in self.services:
            self.wait(name, self.url(name) + "/healthz")

    def start_lockgate(self) -> None:
        self.start("lockgate", [sys.executable, "-m", "lockgate", "serve", "--config", str(self.workspace / "lockgate.yaml")])
        self.wait("lockgate", self.url("control") + "/readyz")

    def start(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)

    def wait(self, name: str, url: str) -> None:
        """Returns when `url` answers 200."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if self.processes[name].poll() is not None:
                break
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # a URL of ours on this machine
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise NotReadyError(f"{name} did not come up; what it said is in {self.folder / (name + '.log')}")

    def stop(self) -> None:
        """The front first, so that what is under way can finish."""
        for name in ("envoy", "lockgate", *self.services):
            process = self.processes.get(name)
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
