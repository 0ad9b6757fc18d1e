"""What Kubernetes' ways of running Envoy are told, and what they cannot be."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import pytest

from router.envoy.gateway_api import resources
from router.envoy.istio import resources as for_istio
from router.envoy.options import Options
from router.errors import ConfigError
from router.settings import Address
from tests.conformance.envoy_workspaces import EVERYTHING, PLAIN, workspace

OPTIONS = Options(lockgate=(Address("lockgate.lockgate.svc.cluster.local", 50051),))
OTHER = {**PLAIN, "upstreams": [{"url": "https://other.internal"}]}
BOTH = pytest.mark.parametrize("make", [resources, for_istio])
PAYMENTS = "The destination 'pay_ments' and the destination 'pay-ments' would both be the {} 'lockgate-pay-ments-0' in Kubernetes; rename"


@pytest.mark.parametrize(("make", "kind"), [(resources, "Backend"), (for_istio, "DestinationRule")])
def test_two_destinations_are_never_one(make: Any, kind: str, tmp_path: Path) -> None:
    """Of names that are the same once they are Kubernetes', one's requests would go to the other's upstreams."""
    made = workspace(
        tmp_path, {"pay_ments": PLAIN, "pay-ments": OTHER}, {"one": {"destination": "pay_ments"}, "two": {"destination": "pay-ments"}}
    )
    with pytest.raises(ConfigError) as refused:
        make(made, OPTIONS)
    assert str(refused.value) == PAYMENTS.format(kind) + " one of them."


@pytest.mark.parametrize(
    ("routes", "sentence"),
    [
        (("a_b", "a-b"), "The route 'a_b' and the route 'a-b' would both be the HTTPRoute 'lockgate-a-b'"),
        (("pay", "pay_"), "The route 'pay' and the route 'pay_' would both be the HTTPRoute 'lockgate-pay'"),
        (("undecided",), "What Lockgate needs itself and the route 'undecided' would both be the HTTPRoute 'lockgate-undecided'"),
    ],
)
def test_two_routes_are_never_one(routes: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    """Nor is any the one in which everything undecided ends. Istio has one resource for them all, where names are as they are written."""
    made = workspace(tmp_path, None, {name: {"destination": "desk"} for name in routes})
    with pytest.raises(ConfigError, match=sentence):
        resources(made, OPTIONS)
    (service,) = (each for each in for_istio(made, OPTIONS) if each["kind"] == "VirtualService")
    names = [each["name"] for each in service["spec"]["http"]]
    assert len(set(names)) == len(names) == 2 * len(routes) + 1


@BOTH
def test_each_resource_is_written_once(make: Any, tmp_path: Path) -> None:
    """Also where several routes lead to one destination."""
    made = workspace(tmp_path, {"all": EVERYTHING}, {name: {"destination": "all"} for name in ("one", "two")})
    found = Counter((each["kind"], each["metadata"]["name"]) for each in make(made, OPTIONS))
    assert set(found.values()) == {1}


def test_a_method_that_gateway_api_does_not_know_is_refused(tmp_path: Path) -> None:
    """A route matches its own: no other can be sent there."""
    routes = {"ask": {"destination": "desk", "method": "PUT"}, "find": {"destination": "desk", "method": "PROPFIND"}}
    with pytest.raises(ConfigError, match="The route 'find' has the method 'PROPFIND', which Gateway API does not know"):
        resources(workspace(tmp_path / "find", None, routes), OPTIONS)
    routes.pop("find")
    found = resources(workspace(tmp_path / "ask", None, routes), OPTIONS)
    (match,) = next(each["spec"]["rules"][0]["matches"] for each in found if each["metadata"]["name"] == "lockgate-ask")
    assert match["method"] == "PUT"


def rules(destinations: dict[str, Any], folder: Path, options: Options = OPTIONS) -> dict[str, dict[int, Any]]:
    """What Istio is told of TLS, by host and port."""
    found = [each["spec"] for each in for_istio(workspace(folder, destinations), options) if each["kind"] == "DestinationRule"]
    ports = {each["host"]: each["trafficPolicy"]["portLevelSettings"] for each in found}
    assert len(ports) == len(found)
    return {host: {each["port"]["number"]: each.get("tls") for each in settings} for host, settings in ports.items()}


def to(url: str, **more: Any) -> dict[str, Any]:
    return {"adapter": "http", "upstreams": [{"url": url}], **more}


def test_istio_is_told_of_every_port(tmp_path: Path) -> None:
    """A host has one rule, and in it each port its own TLS: whose names a certificate must have, and who may have signed it."""
    tls = {"ca": "tls/ca.pem", "certificate": "tls/own.pem", "key": "tls/own.key", "server_name": "pay.example"}
    destinations = {
        "plain": to("http://svc.internal:8080"),
        "safe": to("https://svc.internal:8443"),
        "mutual": to("https://10.0.0.1", tls=tls),
        "address": to("https://10.0.0.2"),
    }
    system = {"mode": "SIMPLE", "caCertificates": "/etc/ssl/certs/ca-certificates.crt"}
    assert rules(destinations, tmp_path, replace(OPTIONS, files=PurePath("/etc/lockgate"))) == {
        "svc.internal": {8080: None, 8443: {**system, "sni": "svc.internal", "subjectAltNames": ["svc.internal"]}},
        "10.0.0.1": {
            443: {
                "mode": "MUTUAL",
                "sni": "pay.example",
                "subjectAltNames": ["pay.example"],
                "caCertificates": "/etc/lockgate/tls/ca.pem",
                "clientCertificate": "/etc/lockgate/tls/own.pem",
                "privateKey": "/etc/lockgate/tls/own.key",
            }
        },
        "10.0.0.2": {443: {**system, "subjectAltNames": ["10.0.0.2"]}},
    }


def test_what_istio_cannot_be_told_is_refused(tmp_path: Path) -> None:
    """Two ways of speaking to one port, and files of which nobody said where they are."""
    same = {"one": to("https://svc.internal"), "two": to("https://svc.internal", tls={"server_name": "other.example"})}
    with pytest.raises(ConfigError, match=r"The routes 'one' and 'two' reach svc\.internal:443 with different settings"):
        rules(same, tmp_path / "same")
    with pytest.raises(ConfigError, match="The destination 'desk' has TLS files; say with --files in which folder"):
        rules({"desk": to("https://svc.internal", tls={"ca": "ca.pem"})}, tmp_path / "files")


def test_envoy_gateway_asks_upstreams_for_their_own_host(tmp_path: Path) -> None:
    """Every route has the filter that says so, and an address is a host only where it is called one."""
    destinations = {"named": to("http://svc.internal:8080"), "address": to("http://10.0.0.1:8080")}
    found = resources(workspace(tmp_path, destinations), OPTIONS)
    specs = {(each["kind"], each["metadata"]["name"]): each["spec"] for each in found}
    assert specs["HTTPRouteFilter", "lockgate-host"] == {"urlRewrite": {"hostname": {"type": "Backend"}}}
    for name in destinations:
        (asked,) = specs["HTTPRoute", f"lockgate-{name}"]["rules"][0]["filters"]
        assert asked["extensionRef"] == {"group": "gateway.envoyproxy.io", "kind": "HTTPRouteFilter", "name": "lockgate-host"}
    assert specs["Backend", "lockgate-named-0"]["endpoints"] == [{"fqdn": {"hostname": "svc.internal", "port": 8080}}]
    assert specs["Backend", "lockgate-address-0"]["endpoints"] == [{"ip": {"address": "10.0.0.1", "port": 8080}, "hostname": "10.0.0.1"}]
    with pytest.raises(ConfigError, match="The destination 'six' has an IPv6 address"):
        resources(workspace(tmp_path / "six", {"six": to("http://[fd00::1]:8080")}), OPTIONS)


@pytest.mark.parametrize(
    ("timeouts", "websocket", "total", "idle"),
    [
        ({"total": "120s", "idle": "90s"}, False, "120s", "90s"),
        ({"total": None, "idle": None}, False, "0s", "0s"),
        ({"total": "120s", "idle": "90s"}, True, "0s", "3600s"),
    ],
)
def test_envoy_gateway_has_no_default_of_its_own(timeouts: dict[str, Any], websocket: bool, total: str, idle: str, tmp_path: Path) -> None:
    """Neither 15 seconds for what is without end, nor the pause of a caller's body for a service's."""
    made = workspace(tmp_path, {"desk": {**PLAIN, "timeouts": timeouts}}, {"chat": {"destination": "desk", "websocket": websocket}})
    specs = {(each["kind"], each["metadata"]["name"]): each["spec"] for each in resources(made, OPTIONS)}
    assert specs["HTTPRoute", "lockgate-chat"]["rules"][0]["timeouts"] == {"request": total}
    assert specs["BackendTrafficPolicy", "lockgate-chat"]["timeout"]["http"] == {"streamIdleTimeout": idle}


@pytest.mark.parametrize(
    ("timeouts", "total", "action"),
    [
        (
            {"total": "120s", "idle": "90s"},
            "120s",
            {"append_x_forwarded_host": True, "idle_timeout": "90s", "retry_policy": {"per_try_idle_timeout": "90s"}},
        ),
        ({"total": None, "idle": None}, None, {"append_x_forwarded_host": True, "idle_timeout": "0s"}),
    ],
)
def test_istio_is_told_how_long_a_pause_may_be(timeouts: dict[str, Any], total: str | None, action: dict[str, Any], tmp_path: Path) -> None:
    """By the patch of each route; and a WebSocket has its own, beside the other requests of its route."""
    made = workspace(tmp_path, {"desk": {**PLAIN, "timeouts": timeouts}}, {"chat": {"destination": "desk", "websocket": True}})
    filters, service, _ = (each["spec"] for each in for_istio(made, OPTIONS))
    patched = {
        each["match"]["routeConfiguration"]["vhost"]["route"]["name"]: each["patch"]["value"]["route"]
        for each in filters["configPatches"]
        if each["applyTo"] == "HTTP_ROUTE"
    }
    socket = {"append_x_forwarded_host": True, "idle_timeout": "3600s"}
    assert patched == {"lockgate/chat/websocket": socket, "lockgate/chat/idempotent": action, "lockgate/chat": action}
    assert [each.get("timeout") for each in service["http"]] == [None, total, total, None]


@pytest.mark.parametrize(("idle", "silence"), [("20s", "30s"), ("90s", "90s"), (None, "3600s")])
def test_a_stream_may_be_silent_for_as_long_as_its_service(idle: str | None, silence: str, tmp_path: Path) -> None:
    """Before its first byte a route's own time does not hold yet; and never for less than a caller may pause in its body."""
    made = workspace(tmp_path, {"desk": {**PLAIN, "timeouts": {"idle": idle}}, "quick": {**PLAIN, "timeouts": {"idle": "1s"}}})
    (policy,) = (each["spec"] for each in resources(made, OPTIONS) if each["kind"] == "ClientTrafficPolicy")
    assert policy["timeout"] == {"http": {"streamIdleTimeout": silence}}
    (patch,) = (each["patch"]["value"] for each in istio_patches(tmp_path, idle) if each["applyTo"] == "NETWORK_FILTER")
    assert patch["typed_config"]["stream_idle_timeout"] == silence


def istio_patches(folder: Path, idle: str | None) -> list[dict[str, Any]]:
    made = workspace(folder / "istio", {"desk": {**PLAIN, "timeouts": {"idle": idle}}})
    patches: list[dict[str, Any]] = for_istio(made, OPTIONS)[0]["spec"]["configPatches"]
    return patches
