"""Lockgate as a process, with what a test asks of it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.sqlite.api_keys import SqliteApiKeys
from examples.halden.demo.company import free_ports
from router.decision import Subject
from router.identity import api_keys
from router.system import SystemClock
from tests import forked
from tests.e2e.processes import Process, group, inherited, until
from tests.e2e.wire import Answer, ask
from tests.e2e.yard import NAMES, Settings, Yard

HOUR_NS = 3_600_000_000_000
READY_S = 60.0
ENVOY_SERVER = os.environ.get("LOCKGATE_TEST_ENVOY_SERVER", "grpc")  # what speaks to Envoy where a test does not say


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("gateway",)
    tenant: str | None = None


PEOPLE = (
    Person("ann", ("employee",)),
    Person("bob", ("employee",)),
    Person("eve"),
    Person("mia", ("employee", "manager", "reviewer"), ("gateway", "control")),
    Person("max", ("manager", "reviewer"), ("control",)),
    Person("checkout", ("employee",), ("decide",)),
    Person("portal", (), ("decide", "delegate")),
    Person("root", ("admin", "manager"), ("control",)),
    Person("idle", ("viewer",), ("control",)),
)


def make_keys(state: Path, people: tuple[Person, ...] = PEOPLE) -> dict[str, str]:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    clock = SystemClock()
    store = SqliteApiKeys(state / "identity.sqlite", clock)
    store.open()
    try:
        now = clock.now_ns()
        return {
            each.id: api_keys.create(
                store,
                each.id,
                Subject(each.id, "user", each.roles, (), each.tenant, {}, "api_key"),
                frozenset(each.scopes),
                now,
                now + HOUR_NS,
                "test",
            )[1]
            for each in people
        }
    finally:
        store.close()


@dataclass(slots=True)
class Lockgate:
    """`keys` by person."""

    process: Process
    ports: Mapping[str, int]
    keys: Mapping[str, str]
    state: Path
    yard: Yard

    @property
    def gateway(self) -> int:
        return self.ports["gateway"]

    def start(self) -> None:
        self.process.start()
        self.until_ready()

    def until_ready(self) -> None:
        until(self.ready, f"Lockgate was ready; it said:\n{self.process.said[-3000:]}", READY_S)

    def ready(self) -> bool:
        if self.process.ended is not None:
            raise AssertionError(f"Lockgate ended with {self.process.ended}:\n{self.process.said[-3000:]}")
        try:
            return ask(self.ports["control"], "GET", "/readyz").status == 200
        except (OSError, http.client.HTTPException):  # one that ends in the middle of its answer among them
            return False

    def accepts(self) -> bool:
        return listens(self.gateway)

    def workers(self) -> list[int]:
        return sorted(pid for pid in group(self.process.pid) if b"router.processes.worker" in _command(pid) or _name(pid) == forked.WORKER)

    def ask(self, who: str | None, method: str, path: str, body: Any = None, **fields: str) -> Answer:
        return ask(self.gateway, method, path, self.keys[who] if who is not None else None, body, **fields)

    def decide(self, who: str, wanted: Any) -> Answer:
        return ask(self.ports["decide"], "POST", "/v1/decide", self.keys[who], wanted)

    def control(self, method: str, path: str, body: Any = None, who: str = "root") -> Answer:
        return ask(self.ports["control"], method, path, self.keys[who], body)

    def story(self, decision: str) -> list[Any]:
        """The leaves about a decision, from the ledger itself, in order."""
        return [leaf for leaf in self.leaves() if leaf.get("id") == decision]

    def outcome(self, decision: str) -> Any:
        """The outcome of a dispatched request. It is recorded when the answer is through, so it may come a moment later."""

        def found() -> Any:
            return next((leaf["outcome"] for leaf in self.story(decision) if leaf["schema"] == "lockgate.outcome.v1"), None)

        return until(found, "the outcome was recorded")

    def leaves(self) -> list[Any]:
        with closing(sqlite3.connect(f"{(self.state / 'ledger.sqlite').as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            return [json.loads(leaf) for (leaf,) in connection.execute("SELECT leaf FROM records ORDER BY idx")]

    def indexes(self) -> list[int]:
        with closing(sqlite3.connect(f"{(self.state / 'ledger.sqlite').as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            return [index for (index,) in connection.execute("SELECT idx FROM records ORDER BY idx")]

    def system(self, event: str) -> list[Any]:
        """Details of the system records of that kind."""
        return [leaf["details"] for leaf in self.leaves() if leaf["schema"] == "lockgate.system.v1" and leaf["event"] == event]

    def verify(self) -> subprocess.CompletedProcess[str]:
        return cli("audit", "verify", "--state", str(self.state))

    def arrivals(self) -> list[Any]:
        """What reached the upstream."""
        return list(self._upstream("/_arrivals")["arrivals"])

    def closes(self) -> list[int | None]:
        return list(self._upstream("/_arrivals")["closes"])

    def gone(self) -> int:
        return int(self._upstream("/_arrivals")["gone"])

    def arrived(self, path: str) -> list[Any]:
        return [each for each in self.arrivals() if each["target"].partition("?")[0] == path]

    def release(self) -> None:
        self._upstream("/_release")

    def forget(self) -> None:
        self._upstream("/_forget")

    def _upstream(self, path: str) -> Any:
        return ask(self.ports["upstream"], "GET", path).json


def cli(*arguments: str, folder: Path | None = None, timeout_s: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    return forked.lockgate(arguments, folder, inherited(environment), timeout_s)


def serve(yard: Yard, folder: Path, keys: Mapping[str, str], *arguments: str, prefix: tuple[str, ...] = (), anew: bool = False) -> Lockgate:
    """`prefix`: a command that is to run it. With one, and where the start itself is what a test is about (`anew`), Python begins anew."""
    command, log = ("serve", "--config", str(yard.config), *arguments), folder / "lockgate.log"
    alone = [*prefix, sys.executable, "-m", "lockgate", *command]
    process = Process(alone, log) if prefix or anew else forked.Forked(command, log)
    return Lockgate(process, yard.ports, keys, yard.state, yard)


def service(yard: Yard, folder: Path) -> Process:
    command = [sys.executable, "-m", "tests.e2e.upstream", *(str(yard.ports[name]) for name in ("upstream", "sockets")), str(yard.ledger)]
    return Process(command, folder / "upstream.log")


@contextmanager
def company(folder: Path, *arguments: str, people: tuple[Person, ...] = PEOPLE, **changes: Settings) -> Iterator[Lockgate]:
    """A yard, its service and its keys, with Lockgate ready in front of it. Nothing of them runs afterwards."""
    with prepared(folder, *arguments, people=people, **changes) as lockgate:
        lockgate.start()
        yield lockgate


@contextmanager
def prepared(
    folder: Path, *arguments: str, prefix: tuple[str, ...] = (), people: tuple[Person, ...] = PEOPLE, **changes: Settings
) -> Iterator[Lockgate]:
    """As `company`, with Lockgate not started yet."""
    yard = Yard(folder, folder / "state", dict(zip(NAMES, free_ports(len(NAMES)), strict=True)))
    if isinstance(block := changes.get("envoy"), dict):
        changes["envoy"] = {"server": ENVOY_SERVER, **block}
    yard.write(**changes)
    behind = service(yard, folder)
    lockgate = serve(yard, folder, make_keys(yard.state, people), *arguments, prefix=prefix)
    try:
        behind.start()
        until(lambda: listens(yard.ports["upstream"]) and listens(yard.ports["sockets"]), f"the service listened; it said:\n{behind.said}")
        yield lockgate
    finally:
        lockgate.process.kill()
        behind.kill()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended since
        return b""


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
