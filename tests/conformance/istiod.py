"""What istiod makes of the manifests that `lockgate envoy config --format istio` writes, as far as they have it: an Envoy of its gateway.

After istio/istio: `buildHTTPConnectionManager` (pilot/pkg/networking/core/listener_builder.go), `translateRoute` (route/route.go),
`constructUpstreamTLS` (cluster_tls.go), the patches of envoyfilter/ and pkg/proto/merge: lists are added to, entries of maps replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any, Literal

Json = dict[str, Any]
Lost = Literal["nothing", "listener", "everything"]
HTTP = "type.googleapis.com/envoy.extensions.filters."
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
PROTOCOL = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
MANAGER = "envoy.filters.network.http_connection_manager"
MAPS = ("typed_per_filter_config", "typed_extension_protocol_options", "filter_metadata")


def merged(into: Any, more: Any, name: str = "") -> Any:
    if isinstance(into, list) and isinstance(more, list):
        return [*into, *more]
    if not (isinstance(into, dict) and isinstance(more, dict)):
        return deepcopy(more)
    if name in MAPS:
        return {**into, **deepcopy(more)}
    return {**into, **{key: merged(into.get(key), value, key) for key, value in more.items()}}


def gateway(manifests: Sequence[Json], port: int, admin: int, *, lost: Lost = "nothing") -> Json:
    """Envoy's bootstrap. `lost`: of the EnvoyFilter `everything`, as where it is missing or is for other workloads, or what it does to the
    `listener`, as where Envoy refuses that: it takes routes and clusters all the same."""
    patches = [] if lost == "everything" else _only(manifests, "EnvoyFilter")["spec"]["configPatches"]
    listening = [] if lost == "listener" else patches
    table = [_patched(route, patches) for route in _routes(_only(manifests, "VirtualService")["spec"]["http"])]
    manager = _manager(table)
    for patch in _of(listening, "NETWORK_FILTER"):
        manager = merged(manager, patch["typed_config"])
    manager["http_filters"] = [*_of(listening, "HTTP_FILTER"), *manager["http_filters"]]
    listener: Json = {
        "name": "0.0.0.0_8080",
        "address": _address("127.0.0.1", port),
        "filter_chains": [{"filters": [{"name": MANAGER, "typed_config": manager}]}],
    }
    for patch in _of(listening, "LISTENER"):
        listener = merged(listener, patch)
    return {
        "admin": {"address": _address("127.0.0.1", admin)},
        "static_resources": {"listeners": [listener], "clusters": [*_of(patches, "CLUSTER"), *_clusters(manifests)]},
    }


def _manager(table: list[Json]) -> Json:
    filters = [
        {"name": "envoy.filters.http.fault", "typed_config": {"@type": HTTP + "http.fault.v3.HTTPFault"}},
        {"name": "envoy.filters.http.cors", "typed_config": {"@type": HTTP + "http.cors.v3.Cors"}},
        {"name": "envoy.filters.http.router", "typed_config": {"@type": HTTP + "http.router.v3.Router"}},
    ]
    return {
        "@type": HTTP + "network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "outbound_0.0.0.0_8080",
        "normalize_path": True,
        "use_remote_address": True,
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"subject": True, "cert": True, "dns": True, "uri": True},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "stream_idle_timeout": "0s",
        "http_filters": filters,
        "route_config": {"name": "http.8080", "virtual_hosts": [{"name": "*:80", "domains": ["*"], "routes": table}]},
    }


def _routes(entries: Sequence[Json]) -> Iterator[Json]:
    for entry in entries:
        (match,) = entry["match"]
        fields = [*sorted(match.get("headers", {}).items()), *([(":method", match["method"])] if "method" in match else [])]
        headers = [{"name": name, "string_match": {"safe_regex": value} if "regex" in value else value} for name, value in fields]
        route: Json = {"name": entry["name"], "match": {"prefix": "/", "case_sensitive": True, "headers": headers}}
        if "directResponse" in entry:
            yield {**route, "direct_response": entry["directResponse"]}
            continue
        if "fault" in entry:
            abort = entry["fault"]["abort"]
            assert abort["percentage"] == {"value": 100}
            aborted = {"http_status": abort["httpStatus"], "percentage": {"numerator": 1_000_000, "denominator": "MILLION"}}
            fault = {"@type": HTTP + "http.fault.v3.HTTPFault", "abort": aborted}
            route["typed_per_filter_config"] = {"envoy.filters.http.fault": fault}
        yield {**route, "route": {"timeout": entry.get("timeout", "0s"), **_sent(entry["route"]), **_again(entry["retries"])}}


def _sent(destinations: Sequence[Json]) -> Json:
    made = [
        {"name": _cluster_name(each["destination"]), "weight": each["weight"], "host_rewrite_literal": _authority(each)}
        for each in destinations
    ]
    made = [{name: value for name, value in each.items() if value} for each in made]
    if len(made) > 1:
        return {"weighted_clusters": {"clusters": made}}
    (only,) = made
    rewritten = {"host_rewrite_literal": only["host_rewrite_literal"]} if "host_rewrite_literal" in only else {}
    return {"cluster": only["name"], **rewritten}


def _authority(destination: Json) -> str:
    fields = destination.get("headers", {}).get("request", {}).get("set", {})
    return str(next((value for name, value in fields.items() if name.lower() in ("host", ":authority")), ""))


def _again(retries: Json) -> Json:
    if not retries["attempts"]:
        return {}
    causes = retries["retryOn"].split(",")
    named, statuses = [each for each in causes if not each.isdigit()], [int(each) for each in causes if each.isdigit()]
    on = [*named, *(["retriable-status-codes"] if statuses else [])]
    return {"retry_policy": {"num_retries": retries["attempts"], "retry_on": ",".join(on), "retriable_status_codes": statuses}}


def _patched(route: Json, patches: Sequence[Json]) -> Json:
    for patch in patches:
        if patch["applyTo"] == "HTTP_ROUTE" and patch["match"]["routeConfiguration"]["vhost"]["route"]["name"] == route["name"]:
            route = merged(route, patch["patch"]["value"])
    return route


def _clusters(manifests: Sequence[Json]) -> list[Json]:
    """Of every destination of the VirtualService: in the mesh these are services and service entries."""
    entries = _only(manifests, "VirtualService")["spec"]["http"]
    made = {}
    for destination in (each["destination"] for entry in entries for each in entry.get("route", ())):
        name, host, port = _cluster_name(destination), destination["host"], destination["port"]["number"]
        endpoint = {"endpoint": {"address": _address(host, port)}}
        policy = _policy(manifests, host, port)
        made[name] = {
            "name": name,
            "type": "STRICT_DNS",
            "dns_lookup_family": "V4_ONLY",
            "connect_timeout": policy["connectionPool"]["tcp"]["connectTimeout"],
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
            **_tls(policy.get("tls")),
        }
    return list(made.values())


def _policy(manifests: Sequence[Json], host: str, port: int) -> Json:
    """Of the one rule for the host; nothing that stands beside the ports holds for one that is named."""
    policy: Json = next(each["spec"] for each in manifests if each["kind"] == "DestinationRule" and each["spec"]["host"] == host)[
        "trafficPolicy"
    ]
    return next((each for each in policy.get("portLevelSettings", ()) if each["port"]["number"] == port), policy)


def _tls(settings: Json | None) -> Json:
    """Names are looked at where some are given, or where there is no `sni` either. Without authorities here: none are asked."""
    if settings is None:
        return {}
    names = settings.get("subjectAltNames", [])
    checked: Json = {"match_subject_alt_names": [{"exact": name} for name in names]}
    if "caCertificates" in settings:
        checked["trusted_ca"] = {"filename": settings["caCertificates"]}
    common: Json = {"validation_context": checked}
    if settings["mode"] == "MUTUAL":
        own = {
            name: {"filename": settings[key]} for name, key in (("certificate_chain", "clientCertificate"), ("private_key", "privateKey"))
        }
        common["tls_certificates"] = [own]
    context = {"@type": TLS, "common_tls_context": common, **({"sni": settings["sni"]} if "sni" in settings else {})}
    made: Json = {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context}}
    if "sni" not in settings:
        automatic = {"auto_sni": True, "auto_san_validation": not names}
        options = {"@type": PROTOCOL, "upstream_http_protocol_options": automatic, "explicit_http_config": {"http_protocol_options": {}}}
        made["typed_extension_protocol_options"] = {PROTOCOL.rpartition("/")[2]: options}
    return made


def _cluster_name(destination: Json) -> str:
    return f"outbound|{destination['port']['number']}||{destination['host']}"


def _only(manifests: Sequence[Json], kind: str) -> Json:
    (one,) = (each for each in manifests if each["kind"] == kind)
    return one


def _of(patches: Sequence[Json], what: str) -> list[Json]:
    return [patch["patch"]["value"] for patch in patches if patch["applyTo"] == what]


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}
