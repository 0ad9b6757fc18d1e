"""A real Envoy before a Lockgate of the yard, configured here by hand, so that a test can get it wrong on purpose."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import yaml

from examples.halden.demo.company import free_ports
from tests.e2e.processes import Process, until
from tests.e2e.running import ENVOY_SERVER, Lockgate, company
from tests.e2e.wire import Answer, ask
from tests.needs import needs

HTTP = "type.googleapis.com/envoy.extensions"
STREAMS = 100 if ENVOY_SERVER == "zttp" else None
BUFFER = 32768
MODE = {"request_header_mode": "SEND", "response_header_mode": "SEND", "request_body_mode": "BUFFERED", "response_body_mode": "NONE"}


def binary() -> Path:
    needs("envoy", "make test installs it where it is built for")
    return Path(str(distribution("envoy-server").locate_file("envoy/_bin/envoy")))


@dataclass(slots=True)
class Envoy:
    process: Process
    ports: Mapping[str, int]
    lockgate: Lockgate

    def ask(self, who: str | None, method: str, path: str, body: Any = None, **fields: str) -> Answer:
        return ask(self.ports["envoy"], method, path, self.lockgate.keys[who] if who is not None else None, body, **fields)

    def entries(self) -> list[Any]:
        """Its own access log, read by nobody but tests."""
        log = self.process.log.with_name("access.log")
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def stats(self, prefix: str) -> dict[str, int]:
        page = ask(self.ports["admin"], "GET", f"/stats?filter={prefix}&format=json").json
        return {each["name"]: each["value"] for each in page["stats"] if "value" in each}


def processor(port_cluster: str = "lockgate", **changes: Any) -> dict[str, Any]:
    """The filter, as the documentation says it should be."""
    return {
        "name": "envoy.filters.http.ext_proc",
        "typed_config": {
            "@type": f"{HTTP}.filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": {"envoy_grpc": {"cluster_name": port_cluster}, "timeout": "3600s"},
            "failure_mode_allow": False,
            "processing_mode": MODE,
            "allow_mode_override": True,
            "message_timeout": "3s",
            "request_attributes": ["source.address"],
            "response_attributes": ["response.code_details"],
            "mutation_rules": {"allow_all_routing": True, "disallow_is_error": True},
            "metadata_options": {
                "receiving_namespaces": {"untyped": ["lockgate"]},
                "forwarding_namespaces": {"untyped": ["lockgate"]},
            },
            **changes,
        },
    }


def authorizer(**changes: Any) -> dict[str, Any]:
    return {
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": f"{HTTP}.filters.http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": "lockgate"}, "timeout": "3s"},
            "failure_mode_allow": False,
            "clear_route_cache": True,
            "with_request_body": {"max_request_bytes": BUFFER, "allow_partial_message": False, "pack_as_bytes": True},
            **changes,
        },
    }


def routes(names: Mapping[str, str], **more: Any) -> list[dict[str, Any]]:
    """By what Lockgate chose, and nowhere without it."""
    chosen = [
        {
            "match": {"prefix": "/", "headers": [{"name": "x-lockgate-route", "string_match": {"exact": name}}]},
            "route": {"cluster": cluster, "timeout": "0s", **more},
        }
        for name, cluster in names.items()
    ]
    nowhere = {"match": {"prefix": "/"}, "direct_response": {"status": 503, "body": {"inline_string": "not decided"}}}
    return [*chosen, nowhere]


def bootstrap(
    lockgate: Lockgate,
    ports: Mapping[str, int],
    folder: Path,
    filters: list[Any],
    table: list[Any],
    *,
    als: bool = True,
    lockgates: list[int] | None = None,
    streams: int | None = STREAMS,
    **manager: Any,
) -> dict[str, Any]:
    entry = {
        "id": "%DYNAMIC_METADATA(lockgate:decision_id)%",
        "intent": "%DYNAMIC_METADATA(lockgate:intent)%",
        "status": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "metadata": "%DYNAMIC_METADATA(lockgate)%",
    }
    logs: list[Any] = [
        {
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": f"{HTTP}.access_loggers.file.v3.FileAccessLog",
                "path": str(folder / "access.log"),
                "log_format": {"json_format": entry},
            },
        }
    ]
    if als:
        logs.append(
            {
                "name": "envoy.access_loggers.http_grpc",
                "typed_config": {
                    "@type": f"{HTTP}.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
                    "common_config": {
                        "log_name": "lockgate",
                        "transport_api_version": "V3",
                        "buffer_flush_interval": "0.2s",
                        "grpc_service": {"envoy_grpc": {"cluster_name": "lockgate"}},
                    },
                },
            }
        )
    connection_manager = {
        "@type": f"{HTTP}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "use_remote_address": True,
        "normalize_path": True,
        "access_log": logs,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [
            *filters,
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{HTTP}.filters.http.router.v3.Router"}},
        ],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": table}]},
        **manager,
    }
    return {
        "admin": {"address": _address(ports["admin"])},
        "static_resources": {
            "listeners": [
                {
                    "name": "in",
                    "address": _address(ports["envoy"]),
                    "per_connection_buffer_limit_bytes": BUFFER,
                    "filter_chains": [
                        {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connection_manager}]}
                    ],
                }
            ],
            "clusters": [
                cluster("lockgate", lockgates or [lockgate.ports["envoy"]], http2=True, streams=streams),
                cluster("service", [lockgate.ports["upstream"]]),
                cluster("chats", [lockgate.ports["sockets"]]),
                cluster("nobody", [lockgate.ports["nobody"]]),
            ],
        },
    }


def cluster(name: str, ports: list[int], *, http2: bool = False, streams: int | None = None, **more: Any) -> dict[str, Any]:
    """`streams`: how many a connection carries at once."""
    made = {
        "name": name,
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}} for port in ports]}],
        },
        **more,
    }
    if http2:
        protocol: dict[str, Any] = {
            "@type": f"{HTTP}.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {} if streams is None else {"max_concurrent_streams": streams}},
        }
        made["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol}
    return made


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


CLUSTERS = {"plain": "service", "streamed": "service", "once": "service", "chat": "chats", "secret": "chats", "lonely": "nobody"}


@contextmanager
def envoy_before(
    lockgate: Lockgate,
    folder: Path,
    filters: list[Any] | None = None,
    table: list[Any] | None = None,
    clusters: list[Any] | None = None,
    **changes: Any,
) -> Iterator[Envoy]:
    """A running Envoy, ended afterwards."""
    admin, port = free_ports(2)
    ports = {"admin": admin, "envoy": port}
    folder.mkdir(exist_ok=True)
    written = bootstrap(lockgate, ports, folder, [processor()] if filters is None else filters, table or routes(CLUSTERS), **changes)
    written["static_resources"]["clusters"] += clusters or []
    path = folder / "envoy.yaml"
    path.write_text(yaml.safe_dump(written, sort_keys=False))
    command = [str(binary()), "-c", str(path), "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"]
    process = Process(command, folder / "envoy.log")
    try:
        process.start()
        until(lambda: _ready(admin, process), f"Envoy was ready; it said:\n{process.said[-2000:]}")
        yield Envoy(process, ports, lockgate)
    finally:
        process.kill()


def _ready(port: int, process: Process) -> bool:
    if process.ended is not None:
        raise AssertionError(f"Envoy ended with {process.ended}:\n{process.said[-3000:]}")
    try:
        return ask(port, "GET", "/ready").status == 200
    except (OSError, http.client.HTTPException):
        return False


@contextmanager
def fronted(folder: Path, *arguments: str, envoy: Mapping[str, Any] | None = None, **changes: Any) -> Iterator[tuple[Lockgate, Envoy]]:
    """A Lockgate with its door for Envoy open, and an Envoy before it."""
    (port,) = free_ports(1)
    block = {"listen": f"127.0.0.1:{port}", "outcome_patience": "3s", "notice": "0ms", **(envoy or {})}
    with company(folder, *arguments, envoy=block) as lockgate:
        lockgate.ports = {**lockgate.ports, "envoy": port}
        with envoy_before(lockgate, folder / "envoy", **changes) as before:
            yield lockgate, before
