"""What is announced of TLS is what Lockgate does on that port, and certificates have the names by which it is asked."""

from __future__ import annotations

from typing import Any

import pytest

from router.config import Config
from tests.helm.rendering import CASES, configuration, manifests, of_kind, values

CERTIFICATE = {"certificate": "/run/lockgate/tls/tls.crt", "key": "/run/lockgate/tls/tls.key"}
ENCRYPTED: dict[str, Any] = {
    "tls": {"source": "certManager", "certManager": {"issuerRef": {"name": "internal"}}},
    "config": {"gateway": {"tls": CERTIFICATE}, "decide": {"tls": CERTIFICATE}, "events": {"tls": CERTIFICATE, "sources": {"shop": {}}}},
    "events": {"enabled": True},
    "tiles": {"enabled": True},
    "envoy": {"enabled": True},
    "decide": {"enabled": True},
    "gatewayApi": {"backendTls": {"enabled": True, "caConfigMap": "ca"}},
}
CERTIFIED = {"everything": ENCRYPTED, "decide alone": ENCRYPTED | {"gateway": {"enabled": False}}, "envoy": values("postgres-envoy")}


def services(found: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    return {each["metadata"]["name"]: each["spec"]["ports"] for each in of_kind(found, "Service")}


@pytest.mark.parametrize("case", [None, *CASES, "encrypted"])
def test_ports_say_tls_where_lockgate_serves_it(case: str | None) -> None:
    """Proxies and meshes go by a Service's `appProtocol`: plain HTTP to a port with TLS is answered by nobody."""
    found = manifests(ENCRYPTED if case == "encrypted" else values(case) if case else {})
    config = Config.model_validate(configuration(found))
    serves = {
        "gateway": config.gateway.tls,
        "decide": config.decide.tls if config.decide is not None else None,
        "control": config.control.tls,
        "events": config.events.tls if config.events is not None else None,
        "tiles": config.audit.tiles.tls if config.audit.tiles is not None else None,
    }
    told = {port["name"]: port.get("appProtocol") for ports in services(found).values() for port in ports if port["name"] in serves}
    assert told == {name: "http" if serves[name] is None else "https" for name in told}
    assert "control" in told


@pytest.mark.parametrize("case", CERTIFIED)
def test_a_certificate_is_for_every_service_of_the_release(case: str) -> None:
    """By the names that callers in other namespaces have for it, and no Service that there is not."""
    found = manifests(CERTIFIED[case])
    (certificate,) = of_kind(found, "Certificate")
    names = {name for name in certificate["spec"]["dnsNames"] if name.endswith(".svc")}
    assert names == {f"{name}.edge.svc" for name in services(found)}
    assert {f"{name}.cluster.local" for name in names} <= set(certificate["spec"]["dnsNames"])


@pytest.mark.parametrize("case", ["both-vault-opa", "postgres-envoy", "encrypted"])
def test_envoy_believes_every_door_that_is_encrypted(case: str) -> None:
    """A BackendTLSPolicy for each, of a port that its Service has, by a name that the certificate has; and for no other Service."""
    found = manifests(ENCRYPTED if case == "encrypted" else values(case))
    config, ports = configuration(found), services(found)
    doors = [(name, port["name"]) for name in ports for port in ports[name] if port["name"] in ("gateway", "grpc")]
    encrypted = {(name, port) for name, port in doors if (config[{"grpc": "envoy"}.get(port, port)] or {}).get("tls")}
    policies = of_kind(found, "BackendTLSPolicy")
    assert {
        (each["targetRefs"][0]["name"], each["targetRefs"][0]["sectionName"]) for each in (one["spec"] for one in policies)
    } == encrypted
    for policy in policies:
        assert policy["spec"]["validation"]["hostname"] == f"{policy['spec']['targetRefs'][0]['name']}.edge.svc"


def test_names_of_doors_can_be_others() -> None:
    """Where the certificate is somebody else's."""
    tls = {"enabled": True, "caConfigMap": "ca", "hostname": "door.example.com", "gatewayHostname": "api.example.com"}
    found = of_kind(manifests(ENCRYPTED | {"gatewayApi": {"backendTls": tls}}), "BackendTLSPolicy")
    assert {each["spec"]["validation"]["hostname"] for each in found} == {"door.example.com", "api.example.com"}
