"""Several real nodes on one PostgreSQL, with one service behind them: the ledger, held requests and API keys are shared."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapters.postgres.api_keys import PostgresApiKeys
from adapters.postgres.connection import Server
from examples.halden.demo.company import free_ports
from router.audit.keys.files import ensure_sealing_key, ensure_signing_key
from router.decision import Subject
from router.identity import api_keys
from router.system import SystemClock
from tests.e2e.processes import until
from tests.e2e.running import HOUR_NS, PEOPLE, Lockgate, Person, cli, listens, service
from tests.e2e.test_postgres import Place, place_on
from tests.e2e.yard import NAMES, Yard, load, merged, save
from tests.forked import Forked
from tests.postgres_server import PostgresServer

DOORS = ("gateway", "decide", "control")
ENVOY = "envoy"
"""A door that a node has where its configuration does."""


@dataclass(slots=True)
class Cluster:
    place: Place
    nodes: list[Lockgate]
    folder: Path

    @property
    def keys(self) -> Mapping[str, str]:
        return self.nodes[0].keys

    def start(self) -> None:
        for node in self.nodes:
            node.process.start()
        for node in self.nodes:
            node.until_ready()


def shared_keys(url: str, people: tuple[Person, ...] = PEOPLE) -> dict[str, str]:
    """A key for everybody, in the database that all nodes ask."""
    store, now = PostgresApiKeys(Server(url)), SystemClock().now_ns()
    store.open()
    try:
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


@contextmanager
def cluster(server: PostgresServer, folder: Path, count: int = 2, people: tuple[Person, ...] = PEOPLE, **changes: Any) -> Iterator[Cluster]:
    """Not started yet. `changes` are merged into every node's configuration, whose text is the same on all: ports come from the
    environment."""
    place = place_on(server)
    keys = shared_keys(place.url, people)
    ports = dict(zip(NAMES, free_ports(len(NAMES)), strict=True))
    made = [_node(folder / f"node{number}", ports, place, keys, changes) for number in range(1, count + 1)]
    shared = folder / "keys"
    ensure_signing_key(shared / "ledger.key")
    ensure_sealing_key(shared / "sealing.key")
    for node in made:
        shutil.copytree(shared, node.state / "keys")
    behind = service(replace(made[0].yard, state=folder / "nothing"), folder)
    try:
        behind.start()
        until(lambda: listens(ports["upstream"]) and listens(ports["sockets"]), f"the service listened; it said:\n{behind.said}")
        yield Cluster(place, made, folder)
    finally:
        for node in made:
            if node.process.ended is None:
                node.process.kill()
        behind.kill()


def _node(folder: Path, common: Mapping[str, int], place: Place, keys: Mapping[str, str], changes: Mapping[str, Any]) -> Lockgate:
    folder.mkdir(parents=True)
    doors = (*DOORS, ENVOY) if ENVOY in changes else DOORS
    ports = {**common, **dict(zip(doors, free_ports(len(doors)), strict=True))}
    yard = Yard(folder, folder / "state", ports)
    (folder / "ledger-url").write_text(place.url + "\n")
    (folder / "keys-url").write_text(place.server.url(f"{place.name}_keys"))
    store = {"adapter": "postgres", "url": {"file": "ledger-url"}, "keys": {"file": "keys-url"}}
    yard.write(**merged({"audit": {"store": store}, "nodes": {}}, changes))
    written = load(yard.config)
    for door in doors:
        written[door]["listen"] = f"${{{door.upper()}}}"
    save(yard.config, {**written, "state": "state"})
    environment = _addresses(ports) | {"LOCKGATE_NODE": folder.name}
    process = Forked(("serve", "--config", str(yard.config)), folder / "lockgate.log", environment)
    return Lockgate(process, ports, keys, yard.state, yard)


def command(node: Lockgate, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line with this node's configuration."""
    return cli(*arguments, "--config", str(node.yard.config), **_addresses(node.ports))


def _addresses(ports: Mapping[str, int]) -> dict[str, str]:
    return {door.upper(): f"127.0.0.1:{ports[door]}" for door in (*DOORS, ENVOY) if door in ports}
