"""Starts the services and Lockgate as processes of their own, on free ports of this machine, and ends them again."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from examples.halden.demo.interrupts import postponed

HERE = Path(__file__).parent.parent
SERVICES = ("payments", "people", "itdesk", "backoffice")
LISTENERS = ("gateway", "decide", "control", "events")
SERVERS = ("postgres", "redis", "nats", "temporal")
SERVER_PORTS = (*SERVERS, "temporal_http")
READY_S = 240.0  # the first start trains a model, beside whatever else this machine does
STOP_S = 40.0
PORTS = range(10_000, 32_000)
ENDS = {"postgres": signal.SIGINT}  # at the other signal it would wait for those who are connected


class NotReadyError(Exception):
    """A process did not come up; the message says which. `log` is where its output is."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


def listens(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def ports_in_turn(share: int = 0, shares: int = 1) -> Iterator[int]:
    """None comes a second time before all others have, for what was promised one may not listen on it yet. Of processes that look for
    ports beside each other every one takes a `share` of its own."""
    own = PORTS[share::shares]
    return itertools.cycle(random.sample(own, len(own)))  # any order will do


port_turns = ports_in_turn()


def free_ports(count: int) -> list[int]:
    """Below those that systems give to connections, for one of these could take a port before its server does."""
    found: list[socket.socket] = []
    try:
        while len(found) < count:
            sock = socket.socket()
            try:
                sock.bind(("127.0.0.1", next(port_turns)))
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
    def at_size(self) -> bool:
        """With servers of its own: PostgreSQL, Redis, NATS, Temporal."""
        return "temporal" in self.ports

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

    def start(
        self, name: str, command: list[str], *, user: str | None = None, folder: Path | None = None, home: Path | None = None
    ) -> None:
        """In a session of its own, so that Ctrl-C reaches this process alone, which then ends the others in order."""
        told = self.environment if home is None else {**self.environment, "HOME": str(home)}
        with self.log(name).open("ab") as log, postponed():
            self.processes[name] = subprocess.Popen(
                command, env=told, cwd=folder, user=user, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self, name: str, url: str) -> None:
        """Returns when `url` answers 200."""

        def answers() -> bool:
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # a URL of ours on this machine
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):
                return False

        self.until(name, answers)

    def until(self, name: str, question: Callable[[], bool]) -> None:
        """Returns when the process is there and the answer is yes. Raises NotReadyError."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and self.processes[name].poll() is None:
            if question():
                return
            time.sleep(0.05)
        raise NotReadyError(f"{name} did not come up; it said:", self.log(name))

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def secret(self, name: str, text: str) -> Path:
        """A file for our user's eyes."""
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_text(text)
        return file

    def stop(self) -> None:
        """Who was started last ends first: the front, so that what is under way can finish, then the services, then the servers."""
        for name, process in reversed(self.processes.items()):
            if process.poll() is not None:
                continue
            process.send_signal(ENDS.get(name, signal.SIGTERM))
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
