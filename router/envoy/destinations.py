"""The catalog's destinations as Envoy's clusters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from urllib.parse import urlsplit

from adapters.http_upstream.config import Config as HttpSettings
from adapters.http_upstream.config import HealthConfig, UpstreamConfig
from router.catalog import Route
from router.envoy.options import Options, TlsFiles, is_address
from router.envoy.tls import towards
from router.envoy.values import OWN_PREFIX, Json, assignment, endpoint, extension, http_protocol, removed_prefix, seconds
from router.errors import ConfigError
from router.settings import Address, duration_text
from router.workspace import Workspace

PREFIX = "destination."
WITHOUT_END_S = 3600.0
_LEAST = extension(
    "envoy.load_balancing_policies.least_request",
    "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
    selection_method="FULL_SCAN",  # else the less busy of two that were drawn, which may be one twice
)
BALANCE: dict[str, Json] = {
    "round_robin": {"lb_policy": "ROUND_ROBIN"},
    "least_requests": {"load_balancing_policy": {"policies": [{"typed_extension_config": _LEAST}]}},
    "hash": {"lb_policy": "RING_HASH"},
}


@dataclass(frozen=True, slots=True)
class Sending:
    """A route to one of its destinations, with the time-outs that hold for it, seconds; None is without end. `chosen`: the route has two
    destinations, and the decision says which."""

    name: str
    route: Route
    destination: str
    chosen: bool
    settings: HttpSettings
    connect: float
    idle: float | None
    total: float | None

    @property
    def cluster(self) -> str:
        """A route with another time to connect needs a cluster of its own: Envoy has that time nowhere else."""
        own = "" if self.connect == self.settings.timeouts.connect else f".connect-{duration_text(self.connect)}"
        return f"{PREFIX}{self.destination}{own}"


def sendings(workspace: Workspace) -> Iterator[Sending]:
    """Every route of the catalog. Raises ConfigError for a destination that Envoy cannot reach."""
    for name, route in workspace.catalog.routes.items():
        if route.canary is not None:
            yield _sending(workspace, name, route, route.canary.destination)
        yield _sending(workspace, name, route, route.destination)


def _sending(workspace: Workspace, name: str, route: Route, destination: str) -> Sending:
    settings = http_settings(workspace, destination)
    own, common = route.timeouts, settings.timeouts
    return Sending(
        name,
        route,
        destination,
        route.canary is not None,
        settings,
        (own and own.connect) or common.connect,
        (own and own.idle) or common.idle,
        (own and own.total) or common.total,
    )


def longest_silence(workspace: Workspace) -> float:
    """How long a stream may be silent, seconds. The time of the route that was decided holds only from the next byte on: without a body
    there is none before the service's first, so that no route's `idle` may be longer than this. What never ends has an hour for that."""
    pauses = [WITHOUT_END_S if way.idle is None else way.idle for way in sendings(workspace)]
    return max(workspace.config.gateway.limits.body_timeout, *pauses)


def http_settings(workspace: Workspace, destination: str) -> HttpSettings:
    """Raises ConfigError."""
    settings = workspace.destinations[destination]
    if not isinstance(settings, HttpSettings):
        adapter = workspace.catalog.destinations[destination].adapter
        raise ConfigError(f"The destination '{destination}' is of the kind '{adapter}', which Envoy cannot send to.")
    return settings


def destination_clusters(workspace: Workspace, options: Options) -> list[Json]:
    made: dict[str, Json] = {}
    for sending in sendings(workspace):
        if sending.cluster not in made:
            made[sending.cluster] = _cluster(workspace, options, sending.cluster, sending.destination, sending.connect)
    for name in dict.fromkeys(route.mirror.destination for route in workspace.catalog.routes.values() if route.mirror is not None):
        cluster, connect = PREFIX + name, http_settings(workspace, name).timeouts.connect
        made.setdefault(cluster, _cluster(workspace, options, cluster, name, connect))
    return list(made.values())


def _cluster(workspace: Workspace, options: Options, name: str, destination: str, connect: float) -> Json:
    settings = http_settings(workspace, destination)
    hosts = [authority_of(each) for each in settings.upstreams]
    http2 = destination in options.http2
    cluster: Json = {
        "name": name,
        "type": "STATIC" if all(is_address(host.host) for host in hosts) else "STRICT_DNS",
        "connect_timeout": seconds(connect),
        **BALANCE[settings.balance],
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": http_protocol(
            {"http2_protocol_options": {}} if http2 else {"http_protocol_options": {}}, _answered(), idle_timeout=seconds(settings.keep)
        ),
        "per_connection_buffer_limit_bytes": 1 << 20,
        "circuit_breakers": {"thresholds": [_bounds(settings)]},
        "outlier_detection": _outliers(settings),
    }
    if settings.health is not None:
        cluster["health_checks"] = [_health(settings.health)]
    tls = _tls(workspace, options, settings, "h2" if http2 else "http/1.1")
    if len(tls) == 1 and None not in tls:
        cluster["transport_socket"] = next(iter(tls.values()))
    elif any(tls.values()):
        cluster["transport_socket_matches"] = [_match(name, socket) for name, socket in tls.items()]
    several = len(tls) > 1
    cluster["load_assignment"] = assignment(
        name,
        [
            endpoint(host, each.weight, hostname=host_field(each), tls=(tls_name(settings, each) or "none") if several else None)
            for each, host in zip(settings.upstreams, hosts, strict=True)
        ],
    )
    return cluster


def _answered() -> list[Json]:
    """No upstream speaks in Lockgate's name, and behind a body, which the door is not shown, no caller. Here, and not before the door,
    through which Lockgate's own answers come too."""
    message = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
    parts = ("response_mutations", "response_trailers_mutations", "request_trailers_mutations")
    removed = {part: [removed_prefix(OWN_PREFIX)] for part in parts}
    return [
        extension("envoy.filters.http.header_mutation", message, mutations=removed),
        extension("envoy.filters.http.upstream_codec", "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"),
    ]


def _bounds(settings: HttpSettings) -> Json:
    """Envoy counts them in its whole process. The budget of retries is a share of the requests under way, not of ten seconds."""
    most, retries = settings.concurrency, settings.retries
    budget = {"budget_percent": {"value": round(retries.budget * 100, 4)}, "min_retry_concurrency": retries.floor}
    return {"max_connections": most, "max_pending_requests": most, "max_requests": most, "retry_budget": budget}


def _outliers(settings: HttpSettings) -> Json:
    """A circuit: after so many failures in a row an upstream is left alone for so long. Failures are 502, 503, 504 and those of the
    connection, never another 500. Envoy has one time and one share for all that it puts out: with `outliers` they are those of these. The
    only upstream has its circuit alone, for Envoy would put it out for neither."""
    circuit, outliers = settings.circuit, settings.outliers
    made = {
        "consecutive_gateway_failure": circuit.failures,
        "enforcing_consecutive_gateway_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_success_rate": 0,
        "enforcing_failure_percentage": 0,
        "interval": "1s",
        "base_ejection_time": seconds(circuit.open),
        "max_ejection_time": seconds(circuit.open),
        "max_ejection_percent": 100,
    }
    several = len(settings.upstreams)
    most = 0 if outliers is None else min(int(several * outliers.most), several - 1)
    if outliers is None or most == 0:
        return made
    return made | {
        "consecutive_5xx": outliers.consecutive,
        "enforcing_consecutive_5xx": 100,
        "failure_percentage_threshold": at_least(outliers.failures),
        "failure_percentage_request_volume": outliers.requests,
        "failure_percentage_minimum_hosts": 1,
        "enforcing_failure_percentage": 100,
        "interval": seconds(outliers.interval),
        "base_ejection_time": seconds(min(outliers.ejection, outliers.longest)),
        "max_ejection_time": seconds(outliers.longest),
        "max_ejection_percent": at_least(most / several),
    }


def at_least(share: float) -> int:
    """The least percentage, in whole numbers, that is no less than the share; never 0, which would be every upstream that is asked."""
    return max(1, ceil(round(share * 100, 6)))


def _health(health: HealthConfig) -> Json:
    """Every status under 400 is healthy, and another one counts towards `unhealthy` instead of being believed at once."""
    return {
        "timeout": seconds(health.timeout),
        "interval": seconds(health.interval),
        "no_traffic_interval": seconds(health.interval),
        "unhealthy_threshold": health.unhealthy,
        "healthy_threshold": health.healthy,
        "http_health_check": {
            "path": health.path,
            "expected_statuses": [{"start": 200, "end": 400}],
            "retriable_statuses": [{"start": 400, "end": 600}],
        },
    }


def authority_of(upstream: UpstreamConfig) -> Address:
    """Host and port to connect to."""
    parts = urlsplit(upstream.url)
    return Address(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


def host_field(upstream: UpstreamConfig) -> str:
    """What goes into `Host`: as the gateway's own client writes it, without a port that says nothing."""
    host = authority_of(upstream)
    usual = 443 if upstream.url.startswith("https:") else 80
    named = f"[{host.host}]" if ":" in host.host else host.host
    return named if host.port == usual else f"{named}:{host.port}"


def tls_name(settings: HttpSettings, upstream: UpstreamConfig) -> str | None:
    """The name that the upstream's certificate must carry; None where there is no TLS."""
    return (settings.tls.server_name or authority_of(upstream).host) if upstream.url.startswith("https:") else None


def _tls(workspace: Workspace, options: Options, settings: HttpSettings, alpn: str) -> dict[str | None, Json | None]:
    """By the name that a certificate must carry."""

    def placed(path: str | None) -> str | None:
        return None if path is None else options.path(workspace, path)

    files = TlsFiles(placed(settings.tls.ca), placed(settings.tls.certificate), placed(settings.tls.key))
    names = dict.fromkeys(tls_name(settings, each) for each in settings.upstreams)
    return {name: None if name is None else towards(name, files, alpn, options.system_ca) for name in names}


def _match(name: str | None, socket: Json | None) -> Json:
    if name is None or socket is None:
        plain = {"name": "envoy.transport_sockets.raw_buffer", "typed_config": {"@type": _RAW}}
        return {"name": "none", "match": {"name": "none"}, "transport_socket": plain}
    return {"name": name, "match": {"name": name}, "transport_socket": socket}


_RAW = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
