"""A node that is told to stop while what it would wait for hangs: it ends by itself, within the time that Kubernetes and systemd leave it,
says what it could not do, and what it acknowledged is there."""

from __future__ import annotations

import http.client
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from examples.halden.demo.company import free_ports
from router.processes.stopping import STOP_S
from tests.e2e.envoy import envoy_before
from tests.e2e.load import load
from tests.e2e.nodes import cluster
from tests.e2e.processes import group, until
from tests.e2e.running import Lockgate, prepared
from tests.e2e.test_events import SOURCES, Target, leads, shop
from tests.e2e.yard import load as load_yaml
from tests.e2e.yard import save
from tests.postgres_server import PostgresServer, running

SLACK_S = 20.0  # a busy machine's
LONGEST_S = 90.0
KILLED = "did not finish in time and is ended"


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def hanging(server: PostgresServer) -> Iterator[None]:
    """Its port takes connections, and nobody is answered."""
    assert server.process is not None
    stopped = [server.process.pid]
    os.kill(server.process.pid, signal.SIGSTOP)  # first: it makes no further ones
    try:
        for each in children(server.process.pid):
            os.kill(each, signal.SIGSTOP)
            stopped.append(each)
        yield
    finally:
        for each in stopped:
            os.kill(each, signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patience", "status", "told"),
    [
        ("10s", 2, ("That this node stopped is not on record", "the next erasure waits", "the other nodes take this one for gone")),
        ("5m", 1, ("waits no longer for its last records", f"has not stopped within {STOP_S:g} seconds")),
    ],
    ids=["as by default", "longer than anybody waits"],
)
def test_a_node_stops_while_its_database_hangs(tmp_path: Path, patience: str, status: int, told: tuple[str, ...]) -> None:
    """Ledger, keys, held requests and the table of nodes wait for one server that is silent: the node ends in time, its workers by
    themselves, and says what it could not do. What was acknowledged is on record when the server answers again, and it
    starts anew."""
    bounds = {"answer_within": patience}
    with (
        running() as server,
        cluster(server, tmp_path, 1, audit={"store": bounds}, nodes={"store": {"adapter": "postgres"} | bounds}) as one,
    ):
        (node,) = one.nodes
        one.start()
        with load(node) as seen:
            until(lambda: seen.answered > 50, "it served")
            with hanging(server):
                node.process.signal(signal.SIGTERM)
                ended = node.process.wait(STOP_S + SLACK_S)
        assert ended == status, node.process.said
        assert group(node.process.pid) == []
        assert KILLED not in node.process.said
        assert [each for each in told if each not in node.process.said] == []
        assert set(seen.acknowledged) <= one.place.decisions()
        node.start()
        assert node.ask("ann", "GET", "/echo/again").status == 200
        assert node.process.stop() == 0


@pytest.fixture
def target() -> Iterator[Target]:
    made = Target()
    yield made
    made.close()


@pytest.mark.slow
def test_a_worker_ends_by_itself_however_long_all_of_it_takes(target: Target, tmp_path: Path) -> None:
    """A request and a delivery that nobody answers, and an Envoy that does not report: the worker is not killed, each request that was cut
    has its outcome on record, the delivery is given back for the next start, and `stopped` is the last record."""
    let = threading.Event()
    target.answer = lambda _: 200 if let.wait(LONGEST_S) else 500
    (port,) = free_ports(1)
    block = {"listen": f"127.0.0.1:{port}", "outcome_patience": "60s", "notice": "60s"}
    with prepared(tmp_path, events={"sources": SOURCES}, envoy=block) as lockgate, ExitStack() as stack:
        leads(lockgate, target)
        waits_long(lockgate)
        lockgate.start()
        lockgate.ports = {**lockgate.ports, "envoy": port}
        envoy = stack.enter_context(envoy_before(lockgate, tmp_path / "envoy"))
        for each in (lockgate.gateway, envoy.ports["envoy"]):
            stack.enter_context(asking(each, f"/dawdle/{LONGEST_S:g}", lockgate.keys["ann"]))
        delivery = shop(lockgate, "msg_1", amount=3).json["decision_id"]
        until(lambda: len(lockgate.arrivals()) == 2 and target.came, "all were under way")
        os.kill(envoy.process.pid, signal.SIGSTOP)
        try:
            lockgate.process.signal(signal.SIGTERM)
            assert lockgate.process.wait(STOP_S + SLACK_S) == 0
        finally:
            os.kill(envoy.process.pid, signal.SIGCONT)
        assert KILLED not in lockgate.process.said, lockgate.process.said
        leaves = lockgate.leaves()
        ends = {leaf["id"]: leaf["outcome"]["reason"] for leaf in leaves if leaf["schema"] == "lockgate.outcome.v1"}
        decided = {leaf["id"] for leaf in leaves if leaf["schema"] == "lockgate.decision.v1"}
        assert decided - {delivery} == set(ends)
        assert sorted(ends.values()) == ["envoy_unreported", "interrupted"]
        assert leaves[-1]["event"] == "stopped"
        assert lockgate.verify().returncode == 0
        let.set()
        lockgate.start()
        until(lambda: target.keys().count(delivery) == 2, "the delivery was sent again", 20)


def waits_long(lockgate: Lockgate) -> None:
    """For whatever is silent."""
    path = lockgate.yard.folder / "catalog.yaml"
    catalog = load_yaml(path)
    for name in ("service", "target"):
        catalog["destinations"][name]["timeouts"] = {"idle": "5m", "total": "5m"}
    save(path, catalog)


@contextmanager
def asking(port: int, path: str, key: str) -> Iterator[None]:
    """A request whose caller waits for its answer, and does not hear it before the end."""
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("GET", path, headers={"authorization": f"Bearer {key}"})
        yield
