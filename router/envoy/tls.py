"""TLS of Envoy's own listener, towards the door and towards destinations."""

from __future__ import annotations

from typing import Any

from router.envoy.options import TlsFiles, is_address
from router.envoy.values import Json, extension, file_source

NAME = "envoy.transport_sockets.tls"
PREFIX = "envoy.extensions.transport_sockets.tls.v3."


def towards(name: str, files: TlsFiles, alpn: str, system_ca: str) -> Json:
    """`name`: what the other side's certificate must carry, a host name or an address."""
    san: Json = {"san_type": "IP_ADDRESS" if is_address(name) else "DNS", "matcher": {"exact": name}}
    trusted: Json = {"trusted_ca": file_source(files.ca or system_ca)}
    common: dict[str, Any] = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "alpn_protocols": [alpn],
        "validation_context": {**trusted, "match_typed_subject_alt_names": [san]},
    }
    if (own := _own(files)) is not None:
        common["tls_certificates"] = [own]
    named = {} if is_address(name) else {"sni": name}
    return extension(NAME, PREFIX + "UpstreamTlsContext", **named, common_tls_context=common)


def listening(files: TlsFiles) -> Json:
    common = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificates": [_own(files)],
    }
    return extension(NAME, PREFIX + "DownstreamTlsContext", common_tls_context=common)


def _own(files: TlsFiles) -> Json | None:
    if files.certificate is None or files.key is None:
        return None
    return {"certificate_chain": file_source(files.certificate), "private_key": file_source(files.key)}
