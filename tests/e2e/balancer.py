"""A real Envoy before several nodes: as a load balancer, as docs/many-nodes.md has it, or asking their doors, as `lockgate envoy config`
writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from examples.halden.demo.company import free_ports
from tests.e2e.envoy import HTTP, _address, _ready, binary
from tests.e2e.nodes import command
from tests.e2e.processes import Process, until
from tests.e2e.running import Lockgate

# Only what certainly was not sent is sent again, to another node: no request is doubled.
RETRY = {
    "retry_on": "connect-failure,refused-stream",
    "num_retries": 3,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {"@type": f"{HTTP}.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
        }
    ],
    "host_selection_retry_max_attempts": 5,
}
READY = {
    "timeout": "1s",
    "interval": "0.5s",
    "no_traffic_interval": "0.5s",
    "unhealthy_threshold": 1,
    "healthy_threshold": 1,
    "http_health_check": {"path": "/readyz", "host": "127.0.0.1"},
}


def bootstrap(nodes: Sequence[Lockgate], port: int, admin: int) -> dict[str, Any]:
    endpoints = [
        {
            "endpoint": {
                "address": _address(node.gateway),
                "health_check_config": {"port_value": node.ports["control"]},
            }
        }
        for node in nodes
    ]
    manager = {
        "@type": f"{HTTP}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": f"{HTTP}.filters.http.router.v3.Router"}}],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "nodes", "timeout": "30s", "retry_policy": RETRY}}],
                }
            ]
        },
    }
    return {
        "admin": {"address": _address(admin)},
        "static_resources": {
            "listeners": [
                {
                    "name": "in",
                    "address": _address(port),
                    "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "nodes",
                    "connect_timeout": "1s",
                    "health_checks": [READY],
                    "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
                    "load_assignment": {"cluster_name": "nodes", "endpoints": [{"lb_endpoints": endpoints}]},
                }
            ],
        },
    }


@contextmanager
def balanced(nodes: Sequence[Lockgate], folder: Path) -> Iterator[int]:
    """The port at which some node answers."""
    admin, port = free_ports(2)
    file = folder / "balancer.yaml"
    file.write_text(yaml.safe_dump(bootstrap(nodes, port, admin), sort_keys=False))
    with _running(file, admin):
        yield port


@contextmanager
def asking(nodes: Sequence[Lockgate], folder: Path) -> Iterator[int]:
    """The port of an Envoy that carries requests to the service itself, and asks any of the nodes about each."""
    admin, port = free_ports(2)
    file = folder / "envoy.yaml"
    doors = [part for node in nodes for part in ("--lockgate", f"127.0.0.1:{node.ports['envoy']}")]
    where = ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", "--output", str(file)]
    written = command(nodes[0], "envoy", "config", *doors, *where)
    assert written.returncode == 0, written.stderr
    with _running(file, admin):
        yield port


@contextmanager
def _running(file: Path, admin: int) -> Iterator[None]:
    envoy = [str(binary()), "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"]
    process = Process(envoy, file.with_suffix(".log"))
    try:
        process.start()
        until(lambda: _ready(admin, process), f"Envoy was ready; it said:\n{process.said[-2000:]}")
        yield
    finally:
        process.kill()
