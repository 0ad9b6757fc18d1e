"""Envoy's listener: HTTP with one meaning, as much of it as Lockgate's own gateway would take, and the filters in their order."""

from __future__ import annotations

from router.envoy.destinations import longest_silence
from router.envoy.door import asking
from router.envoy.logs import access_logs
from router.envoy.options import Options, TlsFiles
from router.envoy.replies import local_replies
from router.envoy.routes import has_sockets, route_configuration
from router.envoy.tls import listening
from router.envoy.values import OWN_PREFIX, Json, extension, removed_prefix, seconds, socket_address
from router.workspace import Workspace

LEAST_WINDOW = 65535  # of HTTP/2
CONNECTION_IDLE_S = 3600.0
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
OVERRIDES = ("x-http-method", "x-http-method-override", "x-method-override", "x-original-method", "x-original-url", "x-rewrite-url")


def listener(workspace: Workspace, options: Options) -> Json:
    chain: Json = {"filters": [connection_manager(workspace, options)]}
    if options.downstream != TlsFiles():
        chain["transport_socket"] = listening(options.downstream)
    return {
        "name": "requests",
        "address": socket_address(options.listen),
        "per_connection_buffer_limit_bytes": buffered(workspace),
        "filter_chains": [chain],
    }


def buffered(workspace: Workspace) -> int:
    """What is read of a body before the decision; a longer one is a 413."""
    return workspace.config.gateway.limits.view


def connection_manager(workspace: Workspace, options: Options) -> Json:
    upgrades = {"upgrade_configs": [{"upgrade_type": "websocket"}]} if has_sockets(workspace) else {}
    return extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="requests",
        codec_type="AUTO",
        server_header_transformation="PASS_THROUGH",
        **strictness(workspace, options),
        **upgrades,
        **_client_address(workspace),
        http_filters=filters(workspace, options),
        route_config=route_configuration(workspace, options),
        local_reply_config=local_replies(workspace, options),
        access_log=access_logs(workspace, options),
    )


def strictness(workspace: Workspace, options: Options) -> Json:
    """One meaning of every request, and bounds for what it may take. Also merged into another's connection manager, whose lists are kept
    and added to: nothing may be in a list here that is in its own, too."""
    limits = workspace.config.gateway.limits
    window = max(buffered(workspace), LEAST_WINDOW)
    made: Json = {
        "max_request_headers_kb": max(1, limits.header_bytes >> 10),
        "common_http_protocol_options": {
            "idle_timeout": seconds(CONNECTION_IDLE_S),
            "max_headers_count": limits.header_count,
            "headers_with_underscores_action": "DROP_HEADER",
        },
        "http_protocol_options": {"accept_http_10": True},
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": window,
            "initial_connection_window_size": max(1 << 20, window),
        },
        "request_headers_timeout": seconds(limits.header_timeout),
        "stream_idle_timeout": seconds(longest_silence(workspace)),
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "early_header_mutation_extensions": [_unbelieved(workspace)],
    }
    if not (options.http2 or any(route.stream for route in workspace.catalog.routes.values())):  # these may send for as long as they like
        made["request_timeout"] = seconds(limits.body_timeout)
    return made


def filters(workspace: Workspace, options: Options) -> list[Json]:
    return [
        asking(workspace, options),
        extension("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=True),
    ]


def _unbelieved(workspace: Workspace) -> Json:
    """What no caller may say: anything in Lockgate's or Envoy's own name, another method or path than the request's, and whom it comes
    from."""
    names = OVERRIDES if workspace.config.gateway.trusted_proxies else (*OVERRIDES, *FORWARDED)
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[*(removed_prefix(prefix) for prefix in (OWN_PREFIX, "x-envoy-")), *({"remove": name} for name in names)],
    )


def _client_address(workspace: Workspace) -> Json:
    """The peer's own, unless the peer is a trusted proxy: then the right-most one that no trusted proxy vouches for."""
    trusted = workspace.config.gateway.trusted_proxies
    if not trusted:
        return {"use_remote_address": True}
    networks = [network.partition("/") for network in trusted]
    cidrs = [{"address_prefix": address, "prefix_len": int(length)} for address, _, length in networks]
    detection = extension(
        "envoy.http.original_ip_detection.xff",
        "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig",
        xff_trusted_cidrs={"cidrs": cidrs},
        skip_xff_append=False,
    )
    return {"use_remote_address": False, "original_ip_detection_extensions": [detection]}
