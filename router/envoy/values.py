"""Shapes that stand in many places of Envoy's configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from router.settings import Address

Json = dict[str, Any]
OWN_PREFIX = "x-lockgate-"
TYPE = "type.googleapis.com/"


def typed(message: str, **fields: Any) -> Json:
    return {"@type": TYPE + message, **fields}


def extension(name: str, message: str, **fields: Any) -> Json:
    return {"name": name, "typed_config": typed(message, **fields)}


def seconds(span: float) -> str:
    """A protobuf duration, without exponents and superfluous digits."""
    millis = max(round(span * 1000), 1) if span > 0 else 0
    return f"{millis // 1000}.{millis % 1000:03d}".rstrip("0").rstrip(".") + "s"


def socket_address(address: Address) -> Json:
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def endpoint(address: Address, weight: int | None = None, *, hostname: str | None = None, tls: str | None = None) -> Json:
    """`hostname`: the `Host` that it is asked for. `tls`: which of the cluster's TLS settings are for it."""
    made: Json = {"endpoint": {"address": socket_address(address)}}
    if hostname is not None:
        made["endpoint"]["hostname"] = hostname
    if tls is not None:
        made["metadata"] = {"filter_metadata": {"envoy.transport_socket_match": {"name": tls}}}
    if weight is not None:
        made["load_balancing_weight"] = weight
    return made


def assignment(name: str, endpoints: Sequence[Json]) -> Json:
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": list(endpoints)}]}


def removed_prefix(prefix: str) -> Json:
    return {"remove_on_match": {"key_matcher": {"prefix": prefix, "ignore_case": True}}}


def http_protocol(explicit: Json, filters: Sequence[Json] = (), **common: Any) -> Json:
    options = typed("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
    if common:
        options["common_http_protocol_options"] = common
    options["explicit_http_config"] = explicit
    if filters:
        options["http_filters"] = list(filters)
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}


def file_source(path: str) -> Json:
    return {"filename": path}
