"""For Envoy Gateway: Gateway API routes, and its own policies beside them."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.http_upstream.config import Config as HttpSettings
from router.envoy.destinations import Sending, at_least, authority_of, longest_silence, sendings
from router.envoy.door import ANSWER_ATTRIBUTES, ATTRIBUTES, UNREACHABLE, patience, streams
from router.envoy.kubernetes import (
    OWN_FIELDS,
    Made,
    check_routes,
    distinct,
    door_address,
    dropping_none,
    duration,
    lasting,
    manifest,
    quantity,
    resource_name,
)
from router.envoy.options import CLUSTER, ROUTE, Options, door_of, is_address
from router.envoy.routes import SOCKET_IDLE_S
from router.envoy.values import Json
from router.errors import ConfigError
from router.settings import Address
from router.workspace import Workspace

API = "gateway.networking.k8s.io"
ENVOY = "gateway.envoyproxy.io"
V1, ALPHA = f"{API}/v1", f"{ENVOY}/v1alpha1"
UNDECIDED, DOOR, HOST = "lockgate-undecided", "lockgate-door", "lockgate-host"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
OWN = "what Lockgate needs itself"


def resources(workspace: Workspace, options: Options) -> list[Json]:
    """Raises ConfigError for what Envoy Gateway cannot be told."""
    if options.filter != "ext_proc" or door_of(workspace).tls is not None:
        raise ConfigError(
            "For Envoy Gateway only --filter ext_proc and a door without TLS (or with a BackendTLSPolicy of yours) are written."
        )
    ways = list(sendings(workspace))
    check_routes(ways)
    for way in ways:
        if way.route.method not in (None, *METHODS):
            raise ConfigError(f"The route '{way.name}' has the method '{way.route.method}', which Gateway API does not know.")
    own = [
        _asking(workspace, options),
        _clients(workspace, options),
        manifest("HTTPRouteFilter", ALPHA, UNDECIDED, {"directResponse": {"statusCode": 503}}),
        manifest("HTTPRouteFilter", ALPHA, HOST, {"urlRewrite": {"hostname": {"type": "Backend"}}}),
        _undecided(options),
        manifest("Backend", ALPHA, DOOR, {"endpoints": [_endpoint(door_address(options))], "appProtocols": [f"{ENVOY}/h2c"]}),
    ]
    return distinct(
        [
            *(Made(each, OWN) for each in own),
            *_backends(ways, options),
            *(Made(made, f"the route '{way.name}'") for way in ways for made in (_route(options, way), _policy(way))),
            *(Made(each, OWN) for each in _proxy(workspace, options)),
        ]
    )


def _asking(workspace: Workspace, options: Options) -> Json:
    """On the whole gateway, so that no route of it can be reached without a decision."""
    asked = {
        "backendRefs": [_reference(DOOR)],
        "backendSettings": _towards_door(workspace),
        "failOpen": False,
        "messageTimeout": duration(patience(workspace)),
        "processingMode": {
            "allowModeOverride": True,
            "request": {"body": "Buffered", "attributes": list(ATTRIBUTES)},
            "response": {"attributes": list(ANSWER_ATTRIBUTES)},
        },
        "metadata": {"accessibleNamespaces": [CLUSTER], "writableNamespaces": [CLUSTER]},
    }
    return manifest("EnvoyExtensionPolicy", ALPHA, "lockgate", {"targetRefs": [_gateway(options)], "extProc": [asked]})


def _towards_door(workspace: Workspace) -> Json:
    """As `door.door_cluster`: who cannot be connected to is left out at once, and a connection carries no more than it may. Never all: the
    only one may be a service, behind which others answer, and no health check of the door's brings it back."""
    passive = {
        "splitExternalLocalOriginErrors": True,
        "consecutiveLocalOriginFailures": UNREACHABLE["consecutive_local_origin_failure"],
        "consecutive5XxErrors": 0,  # else five
        "baseEjectionTime": UNREACHABLE["base_ejection_time"],
        "interval": UNREACHABLE["interval"],
        "maxEjectionPercent": UNREACHABLE["max_ejection_percent"] - 1,
    }
    bounds = streams(workspace)
    return {"healthCheck": {"passive": passive, "panicThreshold": 0}, **({"http2": {"maxConcurrentStreams": bounds}} if bounds else {})}


def _clients(workspace: Workspace, options: Options) -> Json:
    limits = workspace.config.gateway.limits
    spec = {
        "targetRefs": [_gateway(options)],
        "headers": {"withUnderscoresAction": "DropHeader", "earlyRequestHeaders": {"remove": list(OWN_FIELDS)}},
        "path": {"escapedSlashesAction": "RejectRequest"},
        "connection": {"bufferLimit": quantity(limits.view)},
        "timeout": {"http": {"streamIdleTimeout": duration(longest_silence(workspace))}},
    }
    return manifest("ClientTrafficPolicy", ALPHA, "lockgate", spec)


def _undecided(options: Options) -> Json:
    """What every request matches until there is a decision: it has to match something, or nobody is asked."""
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "filters": [_extension(UNDECIDED)]}
    return manifest("HTTPRoute", V1, UNDECIDED, {"parentRefs": [_parent(options)], "rules": [rule]})


def _route(options: Options, way: Sending) -> Json:
    chosen: Json = {"path": {"type": "PathPrefix", "value": "/"}, "headers": [{"type": "Exact", "name": ROUTE, "value": way.name}]}
    if way.route.method is not None:  # Envoy takes no other method from a filter without `mutation_rules`, which cannot be written
        chosen["method"] = way.route.method
    backends = [
        {**_reference(_backend_name(way.destination, index)), "weight": upstream.weight}
        for index, upstream in enumerate(way.settings.upstreams)
    ]
    rule: Json = {
        "matches": [chosen],
        "filters": [_extension(HOST)],
        "backendRefs": backends,
        "timeouts": {"request": lasting(None if way.route.websocket else way.total)},
    }
    return manifest("HTTPRoute", V1, f"lockgate-{way.name}", {"parentRefs": [_parent(options)], "rules": [rule]})


def _policy(way: Sending) -> Json:
    settings = way.settings
    spec = {
        "targetRefs": [{"group": API, "kind": "HTTPRoute", "name": resource_name(f"lockgate-{way.name}")}],
        "timeout": {
            "tcp": {"connectTimeout": duration(way.connect)},
            "http": {"streamIdleTimeout": lasting(SOCKET_IDLE_S if way.route.websocket else way.idle)},  # from its first byte on
        },
        "circuitBreaker": {
            "maxConnections": settings.concurrency,
            "maxPendingRequests": settings.concurrency,
            "maxParallelRequests": settings.concurrency,
        },
        "retry": _retry(way),
        "healthCheck": _health(settings),
        "loadBalancer": _balance(settings),
    }
    return manifest("BackendTrafficPolicy", ALPHA, f"lockgate-{way.name}", dropping_none(spec))


def _balance(settings: HttpSettings) -> Json:
    """Among what is behind a service."""
    if settings.balance == "least_requests":
        return {"type": "LeastRequest"}
    if settings.balance == "hash":
        return {"type": "ConsistentHash", "consistentHash": {"type": "Header", "header": {"name": settings.hashed_header}}}
    return {"type": "RoundRobin"}


def _retry(way: Sending) -> Json | None:
    """One policy holds for every method of a route, so that only what was certainly not sent is sent again, unless the service
    deduplicates."""
    retries = way.settings.retries
    statuses = [int(cause) for cause in retries.on if cause.isdigit()] if way.route.deduplicates else []
    triggers = ["connect-failure"] if "connect" in retries.on else []
    if way.route.deduplicates and "reset" in retries.on:
        triggers.append("reset")
    if statuses:
        triggers.append("retriable-status-codes")
    if retries.attempts < 2 or not triggers:
        return None
    when = {"triggers": triggers, **({"httpStatusCodes": statuses} if statuses else {})}
    backoff = {"baseInterval": duration(retries.backoff), "maxInterval": duration(retries.max_backoff)}
    return {"numRetries": retries.attempts - 1, "retryOn": when, "perRetry": {"backOff": backoff}}


def _health(settings: HttpSettings) -> Json:
    outliers = settings.outliers
    circuit: Json = {
        "consecutiveGatewayErrors": settings.circuit.failures,
        "consecutive5XxErrors": 0,  # else five
        "baseEjectionTime": duration(settings.circuit.open),
        "interval": "1s",
        "maxEjectionPercent": 100,
    }
    if outliers is not None:
        circuit |= {
            "consecutive5XxErrors": outliers.consecutive,
            "baseEjectionTime": duration(min(outliers.ejection, outliers.longest)),
            "interval": duration(outliers.interval),
            "maxEjectionPercent": at_least(outliers.most),
        }
    if (health := settings.health) is None:
        return {"passive": circuit, "panicThreshold": 0}
    active = {
        "type": "HTTP",
        "http": {"path": health.path},
        "interval": duration(health.interval),
        "timeout": duration(health.timeout),
        "unhealthyThreshold": health.unhealthy,
        "healthyThreshold": health.healthy,
    }
    return {"active": active, "passive": circuit, "panicThreshold": 0}


def _backends(ways: list[Sending], options: Options) -> Iterator[Made]:
    """Each once, however many routes lead there."""
    for destination, settings in {way.destination: way.settings for way in ways}.items():
        for index, upstream in enumerate(settings.upstreams):
            spec: Json = {"endpoints": [_named(destination, authority_of(upstream))]}
            if upstream.url.startswith("https:"):
                spec["tls"] = {"wellKnownCACertificates": "System"}
            if destination in options.http2:
                spec["appProtocols"] = [f"{ENVOY}/h2c"]
            yield Made(manifest("Backend", ALPHA, _backend_name(destination, index), spec), f"the destination '{destination}'")


def _backend_name(destination: str, index: int) -> str:
    return resource_name(f"lockgate-{destination}-{index}")


def _named(destination: str, where: Address) -> Json:
    """With what requests there have as `Host`: an address is none by itself, and the caller's would be left."""
    if ":" in where.host:
        raise ConfigError(
            f"The destination '{destination}' has an IPv6 address, which Envoy Gateway cannot be told as the host that is asked for; give "
            "the upstream a name."
        )
    return _endpoint(where) | ({"hostname": where.host} if is_address(where.host) else {})


def _endpoint(where: Address) -> Json:
    if is_address(where.host):
        return {"ip": {"address": where.host, "port": where.port}}
    return {"fqdn": {"hostname": where.host, "port": where.port}}


def _proxy(workspace: Workspace, options: Options) -> Iterator[Json]:
    """Only a service of the cluster can be sent access logs."""
    where = door_address(options)
    service, _, rest = where.host.partition(".")
    namespace, _, domain = rest.partition(".")
    if not (door_of(workspace).access_log and domain.startswith("svc")):
        return
    reference = {"group": "", "kind": "Service", "name": service, "namespace": namespace, "port": where.port}
    sink = {"type": "ALS", "als": {"type": "HTTP", "logName": CLUSTER, "backendRefs": [reference]}}
    log = {"settings": [{"sinks": [sink], "format": {"type": "JSON", "json": {"status": "%RESPONSE_CODE%"}}}]}
    yield manifest("EnvoyProxy", ALPHA, "lockgate", {"telemetry": {"accessLog": log}})


def _reference(name: str) -> Json:
    return {"group": ENVOY, "kind": "Backend", "name": name}


def _extension(name: str) -> Json:
    return {"type": "ExtensionRef", "extensionRef": {"group": ENVOY, "kind": "HTTPRouteFilter", "name": name}}


def _gateway(options: Options) -> Json:
    return {"group": API, "kind": "Gateway", "name": options.gateway}


def _parent(options: Options) -> Json:
    return {"name": options.gateway}
