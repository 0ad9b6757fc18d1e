"""One Envoy before two nodes: it reports to one of them how requests ended, and every decision gets its whole outcome."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.envoy import authorizer, envoy_before, processor
from tests.e2e.nodes import Cluster, cluster
from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.postgres_server import PostgresServer

REQUESTS = 12
PATIENCE_S = 30
"""Far more than a report needs on its way: one that is lost is then an outcome that does not come."""


@pytest.fixture
def pair(postgres: PostgresServer, tmp_path: Path) -> Iterator[Cluster]:
    with cluster(postgres, tmp_path, envoy={"outcome_patience": f"{PATIENCE_S}s", "notice": "0ms"}) as made:
        made.start()
        yield made


def outcomes(pair: Cluster, decisions: list[str]) -> dict[str, Any]:
    return {
        leaf["id"]: leaf["outcome"] for leaf in pair.place.leaves() if leaf["schema"] == "lockgate.outcome.v1" and leaf["id"] in decisions
    }


def reports(node: Lockgate, result: str) -> float:
    lines = node.control("GET", "/metrics").body.decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f'lockgate_envoy_reports_total{{result="{result}"}}'))


@pytest.mark.parametrize("asks", [processor, authorizer])
def test_whichever_node_decided_the_outcome_is_what_envoy_says(pair: Cluster, tmp_path: Path, asks: Any) -> None:
    """Envoy asks both in turns and reports to one. Each record of an outcome has what only the access log knows, also of a request that
    reached no service; each node says in the metadata that it decided."""
    one = pair.nodes[0]
    upstream = f"127.0.0.1:{one.ports['upstream']}"
    with envoy_before(one, tmp_path / "envoy", [asks()], lockgates=[each.ports["envoy"] for each in pair.nodes]) as envoy:
        decisions = [envoy.ask("ann", "GET", f"/items/{number}").decision for number in range(REQUESTS)]
        lonely = [envoy.ask("ann", "GET", "/lonely/1") for _ in range(4)]
        assert {each.status for each in lonely} == {503}
        told = until(lambda: len(found := outcomes(pair, decisions)) == REQUESTS and found, "every decision had its outcome")
        failed = until(lambda: len(found := _failed(pair)) == 4 and found, "and each that failed")
        assert {each["reason"] for each in failed} == {"connect_failed"}
    assert {(each["result"], each["complete"], each["attempts"], each["upstream"]) for each in told.values()} == {
        ("routed", True, 1, upstream)
    }
    sent, taken = [reports(each, "sent") for each in pair.nodes], [reports(each, "taken") for each in pair.nodes]
    assert sum(sent) == sum(taken) >= 4, "both decided"
    assert sorted(sent)[0] == 0, "Envoy reports to one"
    assert sent != taken


@pytest.mark.parametrize("stops", ["told", "other"])
def test_a_node_that_stops_hears_how_its_requests_ended(pair: Cluster, tmp_path: Path, stops: str) -> None:
    """Whether it is the one that Envoy reports to or the other one: it waits for what is still to come, over the other where need be."""
    with envoy_before(pair.nodes[0], tmp_path / "envoy", lockgates=[each.ports["envoy"] for each in pair.nodes]) as envoy:
        asked = lambda: [envoy.ask("ann", "GET", f"/items/{number}").decision for number in range(REQUESTS)]  # noqa: E731  # twice
        first = asked()
        until(lambda: len(outcomes(pair, first)) == REQUESTS, "Envoy had chosen whom it tells")
        told, other = sorted(pair.nodes, key=lambda node: -reports(node, "sent"))
        decisions = asked()
        assert (told if stops == "told" else other).process.stop() == 0
        ended = until(lambda: len(found := outcomes(pair, decisions)) == REQUESTS and found, "every decision had its outcome")
    assert {(each["complete"], each["attempts"]) for each in ended.values()} == {(True, 1)}


def _failed(pair: Cluster) -> list[Any]:
    ended = (leaf["outcome"] for leaf in pair.place.leaves() if leaf["schema"] == "lockgate.outcome.v1")
    return [each for each in ended if each["result"] == "failed"]
