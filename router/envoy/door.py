"""The cluster of Lockgate's own door, and the filter that asks it about every request."""

from __future__ import annotations

from typing import Any

from router.envoy.options import CLUSTER, EXT_AUTHZ_FILTER, EXT_PROC_FILTER, Options, door_addresses, door_of, is_address
from router.envoy.tls import towards
from router.envoy.values import Json, assignment, endpoint, extension, http_protocol, seconds, typed
from router.workspace import Workspace

MARGIN_S = 0.5  # the door's own answer that it is late has to arrive before Envoy stops waiting for it
CONNECT_S = 1.0
STREAMS = 100  # at once on one connection to zttp, which refuses the 129th also before Envoy has heard of it
MANY = 1_000_000  # what is under way is bounded where it comes in
ATTRIBUTES = ("source.address", "connection.mtls", "connection.uri_san_peer_certificate")
ANSWER_ATTRIBUTES = ("response.code_details",)
# Told as well as done: the door cannot see whether there is a body that it is not shown.
UNREAD = {"disable_request_body_buffering": True, "context_extensions": {"body": "none"}}
# Who cannot be connected to has nothing to do, so that as the least busy it would be asked first until its health check has failed twice.
# Nothing that it answers counts, and a check that passes brings it back.
UNREACHABLE: Json = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 2,
    "enforcing_consecutive_local_origin_failure": 100,
    "enforcing_consecutive_5xx": 0,
    "enforcing_success_rate": 0,
    "enforcing_local_origin_success_rate": 0,
    "max_ejection_percent": 100,
    "interval": "1s",
    "base_ejection_time": "5s",
}
EXT_PROC = "envoy.extensions.filters.http.ext_proc.v3."
EXT_AUTHZ = "envoy.extensions.filters.http.ext_authz.v3."


def door_cluster(workspace: Workspace, options: Options) -> Json:
    """The least busy worker is asked, and only one whose gRPC health check passes: it fails while a worker starts and drains."""
    addresses = door_addresses(workspace, options)
    cluster: Json = {
        "name": CLUSTER,
        "type": "STATIC" if all(is_address(each.host) for each in addresses) else "STRICT_DNS",
        "connect_timeout": seconds(CONNECT_S),
        "lb_policy": "LEAST_REQUEST",
        # Without the window Envoy would go on for a second with a worker that it knows is going, if another's health had just changed.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "typed_extension_protocol_options": http_protocol(
            {"http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "5s"}, **_bounds(workspace)}}
        ),
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 30, "keepalive_interval": 5}},
        "circuit_breakers": {"thresholds": [{"max_connections": MANY, "max_pending_requests": MANY, "max_requests": MANY}]},
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "1s",  # twice within `envoy.notice`
                "no_traffic_interval": "1s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ],
        "outlier_detection": UNREACHABLE,
        "load_assignment": assignment(CLUSTER, [endpoint(each) for each in addresses]),
    }
    if door_of(workspace).tls is not None:
        cluster["transport_socket"] = towards(addresses[0].host, options.door, "h2", options.system_ca)
    return cluster


def _bounds(workspace: Workspace) -> dict[str, Any]:
    most = streams(workspace)
    return {"max_concurrent_streams": most} if most else {}


def streams(workspace: Workspace) -> int | None:
    """How many calls a connection to the door may carry at once; None where Envoy hears of that early enough from the door itself."""
    return STREAMS if door_of(workspace).server == "zttp" else None


def asking(workspace: Workspace, options: Options, *, own_routes: bool = True) -> Json:
    """The HTTP filter. Without an answer nothing is let through. `own_routes`: the routes are these of `routes`, which say more."""
    if options.filter == "ext_authz":
        return ext_authz(workspace)
    kept = keeps_answers(workspace) and not own_routes
    return ext_proc(workspace, processing_mode(options, answers="SKIP" if own_routes else "SEND", kept=kept))


def ext_proc(workspace: Workspace, mode: Json) -> Json:
    return extension(
        EXT_PROC_FILTER,
        EXT_PROC + "ExternalProcessor",
        grpc_service=grpc_service(),
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
        message_timeout=seconds(patience(workspace)),
        processing_mode=mode,
        allow_mode_override=True,
        request_attributes=list(ATTRIBUTES),
        response_attributes=list(ANSWER_ATTRIBUTES),
        mutation_rules=mutation_rules(workspace),
        metadata_options={
            "forwarding_namespaces": {"untyped": [CLUSTER]},
            "receiving_namespaces": {"untyped": [CLUSTER]},
        },
    )


def keeps_answers(workspace: Workspace) -> bool:
    return any(route.idempotency is not None for route in workspace.catalog.routes.values())


def processing_mode(options: Options, *, answers: str = "SEND", unread: bool = False, kept: bool = False) -> Json:
    """`answers`: whether the door is told of response headers. Without a route it shall not: what Envoy refuses by itself would wait for
    the door, and be lost where the connection is closed. `kept`: some answers are, and the door is to be shown them. It asks for those
    alone, which Envoy does not hear where requests' bodies are streamed: then it is shown all."""
    streamed = options.bodies == "streamed" and not unread
    return {
        "request_header_mode": "SEND",
        "request_body_mode": "NONE" if unread else "FULL_DUPLEX_STREAMED" if streamed else "BUFFERED",
        "request_trailer_mode": "SEND" if streamed else "SKIP",
        "response_header_mode": answers,
        "response_body_mode": "STREAMED" if streamed and kept else "NONE",
        "response_trailer_mode": "SEND" if streamed and kept else "SKIP",
    }


def asked_by_route(options: Options, *, unread: bool, kept: bool) -> Json:
    """What a route that a request has before the decision says of how it is asked about. `unread`: without its body."""
    if options.filter == "ext_proc":
        own = typed(EXT_PROC + "ExtProcPerRoute", overrides={"processing_mode": processing_mode(options, unread=unread, kept=kept)})
        return {EXT_PROC_FILTER: own}
    if unread:
        return {EXT_AUTHZ_FILTER: typed(EXT_AUTHZ + "ExtAuthzPerRoute", check_settings=UNREAD)}
    return {}


def ext_authz(workspace: Workspace) -> Json:
    """A byte more than the view is asked for: the last piece of a body over HTTP/2 is cut at the limit without a word about it, and so the
    door sees that there is more. Fields as they are: as text, Envoy shows a `!` for each byte that is no UTF-8, and sends the byte on."""
    view = workspace.config.gateway.limits.view + 1
    return extension(
        EXT_AUTHZ_FILTER,
        EXT_AUTHZ + "ExtAuthz",
        transport_api_version="V3",
        grpc_service=grpc_service(timeout=seconds(patience(workspace))),
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
        with_request_body={"max_request_bytes": view, "allow_partial_message": False, "pack_as_bytes": True},
        clear_route_cache=True,
        encode_raw_headers=True,
        include_peer_certificate=True,
        metadata_context_namespaces=[CLUSTER],
    )


def grpc_service(**more: Any) -> Json:
    return {"envoy_grpc": {"cluster_name": CLUSTER}, **more}


def patience(workspace: Workspace) -> float:
    """How long Envoy waits for an answer, in seconds."""
    return door_of(workspace).deadline + MARGIN_S


def mutation_rules(workspace: Workspace) -> Json:
    """Host, scheme and method are the caller's, unless a route of the catalog sends another method."""
    rules: Json = {"disallow_is_error": True}
    if any(route.method is not None for route in workspace.catalog.routes.values()):
        rules = {"allow_all_routing": True, **rules}
    return rules
