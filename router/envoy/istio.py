"""For Istio's ingress gateway: patches of its listener, and routes for it.

Envoy gets listeners and routes separately, and keeps a listener whose patch it refuses as it was, without the filter that asks and with
callers' `x-lockgate-*`. So nothing may be reached by a field alone:

1. By itself a route of the VirtualService aborts every request (`fault`).
2. The EnvoyFilter's patch of that route takes the abort away, and has it want dynamic metadata, which only the filter can set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from adapters.http_upstream.config import Config as HttpSettings
from adapters.http_upstream.config import UpstreamConfig
from router.envoy.destinations import Sending, at_least, authority_of, host_field, sendings, tls_name
from router.envoy.door import asking, door_cluster
from router.envoy.kubernetes import Made, check_routes, distinct, door_address, dropping_none, manifest
from router.envoy.listener import buffered, strictness
from router.envoy.logs import access_logs
from router.envoy.options import ROUTE, Options, is_address
from router.envoy.replies import local_replies
from router.envoy.routes import IDEMPOTENT, SOCKET_IDLE_S, retry_policy
from router.envoy.values import Json, seconds, typed
from router.errors import ConfigError
from router.workspace import Workspace

NETWORKING = "networking.istio.io/v1"
FILTERS = "networking.istio.io/v1alpha3"
MANAGER = "envoy.filters.network.http_connection_manager"
FAULT = "envoy.filters.http.fault"
SHUT: Json = {"abort": {"percentage": {"value": 100}, "httpStatus": 503}}  # 1.


def resources(workspace: Workspace, options: Options) -> list[Json]:
    """Raises ConfigError for what Istio cannot be told."""
    door_address(options)
    ways = list(sendings(workspace))
    check_routes(ways)
    return [_patches(workspace, options, ways), _virtual_service(options, ways), *distinct(_destination_rules(workspace, options, ways))]


def _patches(workspace: Workspace, options: Options, ways: list[Sending]) -> Json:
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        **strictness(workspace, options),
        "local_reply_config": local_replies(workspace, options),
        "access_log": access_logs(workspace, options),
    }
    patches = [
        {"applyTo": "CLUSTER", "match": {"context": "GATEWAY"}, "patch": {"operation": "ADD", "value": door_cluster(workspace, options)}},
        {
            "applyTo": "LISTENER",
            "match": {"context": "GATEWAY"},
            "patch": {"operation": "MERGE", "value": {"per_connection_buffer_limit_bytes": buffered(workspace)}},
        },
        _patch("NETWORK_FILTER", {"name": MANAGER}, "MERGE", {"name": MANAGER, "typed_config": manager}),
        _patch("HTTP_FILTER", {"name": MANAGER}, "INSERT_FIRST", asking(workspace, options, own_routes=False)),
        *(_opened(options, way, entry) for way in ways for entry in _entries(way)),
    ]
    selector = {"labels": {"istio": options.gateway}}
    return manifest("EnvoyFilter", FILTERS, "lockgate", {"workloadSelector": selector, "configPatches": patches})


def _patch(what: str, where: Mapping[str, object], operation: str, value: Json) -> Json:
    match = {"context": "GATEWAY", "listener": {"filterChain": {"filter": dict(where)}}}
    return {"applyTo": what, "match": match, "patch": {"operation": operation, "value": value}}


def _opened(options: Options, way: Sending, entry: _Entry) -> Json:
    """2. And what a VirtualService cannot say: how long a pause may be from the first byte on."""
    decided = {"filter": options.namespace, "path": [{"key": "route"}], "value": {"string_match": {"exact": way.name}}}
    action: Json = {"append_x_forwarded_host": True, "idle_timeout": seconds(SOCKET_IDLE_S if entry.socket else way.idle or 0)}
    if way.idle is not None and not entry.socket:
        action["retry_policy"] = {"per_try_idle_timeout": seconds(way.idle)}
    value = {
        "match": {"dynamic_metadata": [decided]},
        "typed_per_filter_config": {FAULT: typed("envoy.extensions.filters.http.fault.v3.HTTPFault")},
        "route": action,
    }
    match = {"context": "GATEWAY", "routeConfiguration": {"vhost": {"route": {"name": entry.name}}}}
    return {"applyTo": "HTTP_ROUTE", "match": match, "patch": {"operation": "MERGE", "value": value}}


def _virtual_service(options: Options, ways: list[Sending]) -> Json:
    """What no decision leads anywhere is refused, also where another VirtualService of the gateway would take it."""
    http = [_way(way, entry) for way in ways for entry in _entries(way)]
    http.append({"name": "undecided", "match": [{"uri": {"prefix": "/"}}], "directResponse": {"status": 503}})
    return manifest("VirtualService", NETWORKING, "lockgate", {"hosts": ["*"], "gateways": [options.gateway], "http": http})


class _Entry(NamedTuple):
    """Patches go by the name, in every VirtualService of the gateway: no name of the catalog has a stroke, so that none is another's."""

    name: str
    headers: Json
    more: Json
    repeatable: bool
    socket: bool = False


def _entries(way: Sending) -> Iterator[_Entry]:
    """Of a route several, where it depends on the request what may be done."""
    name = f"lockgate/{way.name}"
    if way.route.websocket:
        yield _Entry(f"{name}/websocket", {"upgrade": {"regex": "(?i)websocket"}}, {}, repeatable=False, socket=True)
    if not way.route.deduplicates:
        yield _Entry(f"{name}/idempotent", {}, {"method": {"regex": IDEMPOTENT}}, repeatable=True)
    yield _Entry(name, {}, {}, repeatable=way.route.deduplicates)


def _way(way: Sending, entry: _Entry) -> Json:
    policy = {} if entry.socket else retry_policy(way, repeatable=entry.repeatable)
    statuses = [str(each) for each in policy.get("retriable_status_codes", ())]
    causes = [cause for cause in str(policy.get("retry_on", "")).split(",") if cause and cause != "retriable-status-codes"]
    made = {
        "name": entry.name,
        "match": [{"uri": {"prefix": "/"}, "headers": {ROUTE: {"exact": way.name}, **entry.headers}, **entry.more}],
        "fault": SHUT,
        "route": [_destination(each) for each in way.settings.upstreams],
        "timeout": None if way.total is None or entry.socket else seconds(way.total),
        "retries": {"attempts": policy.get("num_retries", 0), "retryOn": ",".join([*causes, *statuses])} if causes else {"attempts": 0},
    }
    return dropping_none(made)


def _destination(upstream: UpstreamConfig) -> Json:
    """With the host that is asked for there, whatever the caller asked for."""
    where = authority_of(upstream)
    return {
        "destination": {"host": where.host, "port": {"number": where.port}},
        "weight": upstream.weight,
        "headers": {"request": {"set": {"host": host_field(upstream)}}},
    }


def _destination_rules(workspace: Workspace, options: Options, ways: list[Sending]) -> Iterator[Made]:
    """One for each host, of which Istio takes one. All stands with the ports: nothing beside them would hold for one that is named."""
    hosts: dict[str, dict[int, _Port]] = {}
    for way in ways:
        for index, upstream in enumerate(way.settings.upstreams):
            where = authority_of(upstream)
            port = _Port(way, index, _policy(workspace, options, way, upstream))
            first = hosts.setdefault(where.host, {}).setdefault(where.port, port)
            if first.policy != port.policy:
                raise ConfigError(
                    f"The routes '{first.way.name}' and '{way.name}' reach {where} with different settings (TLS, time to connect, circuit, "
                    "balancing), and Istio has one set for each host and port."
                )
    for host, ports in hosts.items():
        settings = [{"port": {"number": number}, **port.policy} for number, port in ports.items()]
        first = next(iter(ports.values()))
        spec = {"host": host, "trafficPolicy": {"portLevelSettings": settings}}
        name = f"lockgate-{first.way.destination}-{first.place}"
        yield Made(manifest("DestinationRule", NETWORKING, name, spec), f"the destination '{first.way.destination}'")


class _Port(NamedTuple):
    """`place`: among the upstreams of the way's destination."""

    way: Sending
    place: int
    policy: Json


def _policy(workspace: Workspace, options: Options, way: Sending, upstream: UpstreamConfig) -> Json:
    settings = way.settings
    policy = {
        "connectionPool": {
            "tcp": {"maxConnections": settings.concurrency, "connectTimeout": seconds(way.connect)},
            "http": {"http1MaxPendingRequests": settings.concurrency, "http2MaxRequests": settings.concurrency},
        },
        "outlierDetection": _outliers(settings),
        "loadBalancer": _balance(settings),
    }
    name = tls_name(settings, upstream)
    return policy if name is None else policy | {"tls": _tls(workspace, options, way, name)}


def _tls(workspace: Workspace, options: Options, way: Sending, name: str) -> Json:
    """The certificate's name and who may have signed it, in words: left out, Istio does not look at the one where there is an `sni`, and in
    older versions at neither."""
    files = way.settings.tls
    if options.files is None and (files.ca or files.certificate):
        raise ConfigError(
            f"The destination '{way.destination}' has TLS files; say with --files in which folder the gateway's pod has them."
        )

    def placed(path: str | None) -> str | None:
        return None if path is None else options.path(workspace, path)

    return dropping_none(
        {
            "mode": "SIMPLE" if files.certificate is None else "MUTUAL",
            "sni": None if is_address(name) else name,
            "subjectAltNames": [name],
            "caCertificates": placed(files.ca) or options.system_ca,
            "clientCertificate": placed(files.certificate),
            "privateKey": placed(files.key),
        }
    )


def _outliers(settings: HttpSettings) -> Json:
    outliers = settings.outliers
    return {
        "consecutiveGatewayErrors": settings.circuit.failures,
        "consecutive5xxErrors": 0 if outliers is None else outliers.consecutive,
        "interval": "1s" if outliers is None else seconds(outliers.interval),
        "baseEjectionTime": seconds(settings.circuit.open if outliers is None else min(outliers.ejection, outliers.longest)),
        "maxEjectionPercent": 100 if outliers is None else at_least(outliers.most),
        "minHealthPercent": 0,
    }


def _balance(settings: HttpSettings) -> Json:
    if settings.balance == "hash":
        return {"consistentHash": {"httpHeaderName": settings.hashed_header}}
    return {"simple": "LEAST_REQUEST" if settings.balance == "least_requests" else "ROUND_ROBIN"}
