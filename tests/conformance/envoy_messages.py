"""Reads JSON as a message of Envoy's published API: `python -m tests.conformance.envoy_messages MODULE:CLASS < FILE.json`.

A process of its own, with those messages and nothing of ours: they bring along what breaks other libraries. A field that Envoy does not
have is told by its name, and so is a message in an `Any` whose module is missing below.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.needs import needs_file

PUBLISHED = Path(sys.prefix) / "envoy-api"
MODULES = (
    "envoy.extensions.access_loggers.filters.cel.v3.cel_pb2",
    "envoy.extensions.access_loggers.grpc.v3.als_pb2",
    "envoy.extensions.access_loggers.stream.v3.stream_pb2",
    "envoy.extensions.filters.http.cors.v3.cors_pb2",
    "envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2",
    "envoy.extensions.filters.http.ext_proc.v3.ext_proc_pb2",
    "envoy.extensions.filters.http.fault.v3.fault_pb2",
    "envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2",
    "envoy.extensions.filters.http.router.v3.router_pb2",
    "envoy.extensions.filters.http.upstream_codec.v3.upstream_codec_pb2",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2",
    "envoy.extensions.http.original_ip_detection.xff.v3.xff_pb2",
    "envoy.extensions.load_balancing_policies.least_request.v3.least_request_pb2",
    "envoy.extensions.resource_monitors.downstream_connections.v3.downstream_connections_pb2",
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2",
    "envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2",
    "envoy.extensions.transport_sockets.tls.v3.tls_pb2",
    "envoy.extensions.upstreams.http.v3.http_protocol_options_pb2",
)
BOOTSTRAP = "envoy.config.bootstrap.v3.bootstrap_pb2:Bootstrap"
FILTER = "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2:HttpFilter"
NETWORK_FILTER = "envoy.config.listener.v3.listener_components_pb2:Filter"
ROUTE = "envoy.config.route.v3.route_components_pb2:Route"
CLUSTER = "envoy.config.cluster.v3.cluster_pb2:Cluster"


def fault(message: str, value: Mapping[str, Any]) -> str:
    """Why the value is no such message; nothing where it is one."""
    needs_file(PUBLISHED / "envoy" / "config" / "bootstrap" / "v3" / "bootstrap_pb2.py", "make test installs Envoy's messages")
    command = [sys.executable, "-m", "tests.conformance.envoy_messages", message]
    done = subprocess.run(command, input=json.dumps(value), capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"ended with {done.returncode}")


def main() -> int:
    sys.path.insert(0, str(PUBLISHED))
    json_format = import_module("google.protobuf.json_format")
    for name in MODULES:
        import_module(name)
    module, _, name = sys.argv[1].partition(":")
    try:
        json_format.Parse(sys.stdin.read(), getattr(import_module(module), name)())
    except json_format.ParseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
