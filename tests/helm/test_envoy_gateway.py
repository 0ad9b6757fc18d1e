"""What the chart writes for Envoy Gateway is what `lockgate envoy config --format envoy-gateway` writes, as far as both write it."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from router.config import EnvoyConfig, GatewayLimits
from router.envoy.gateway_api import resources
from router.envoy.kubernetes import OWN_FIELDS
from router.envoy.options import Options
from router.settings import Address
from tests.conformance.envoy_workspaces import PLAIN, workspace
from tests.helm.rendering import manifests, of_kind, one, rendered, values

GATEWAY: dict[str, Any] = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "payments"}
ROUTE = {**GATEWAY, "kind": "HTTPRoute", "name": "people"}
OPTIONS = Options(lockgate=(Address("demo-lockgate-envoy.edge.svc.cluster.local", 50051),), gateway="payments")
LIMITS: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "units": {"view": "1MiB", "body_timeout": "2m"},
    "bytes and a fraction": {"view": 50000, "body_timeout": "1.5s"},
    "bytes with their unit": {"view": "96000B", "body_timeout": "250ms"},
}


def given(**ways: Any) -> dict[str, Any]:
    """Values behind Envoy Gateway: `extProc` and `extAuth` changed, further keys of `gatewayApi`, `config`."""
    made = values("postgres-envoy")
    made["config"] = ways.pop("config", {})
    for name, more in ways.items():
        made["gatewayApi"][name] = {**made["gatewayApi"].get(name, {}), **more}
    return made


def generated(folder: Path, limits: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Of a service that pauses for less than callers may: the chart knows no services."""
    desk = {**PLAIN, "timeouts": {"idle": "250ms"}}
    return resources(workspace(folder, {"desk": desk}, gateway={"limits": limits}, **more), OPTIONS)


@pytest.mark.parametrize("server", ["grpc", "zttp"])
def test_the_policy_that_asks_is_the_generators(server: str, tmp_path: Path) -> None:
    """Attributes, body, namespaces of metadata, failing closed, what is targeted, how the door is reached: all but its name and how long is
    waited."""
    apart = ("backendRefs", "messageTimeout")
    envoy = {"server": server}
    found = (manifests(given(config={"envoy": envoy})), generated(tmp_path, {}, envoy=envoy))
    ours, theirs = (deepcopy(one(each, "EnvoyExtensionPolicy")["spec"]) for each in found)
    for spec in (ours, theirs):
        (asked,) = spec["extProc"]
        assert all(asked.pop(name) for name in apart)
    assert ours == theirs
    assert theirs["extProc"][0]["metadata"]["writableNamespaces"] == ["lockgate"]


@pytest.mark.parametrize("case", LIMITS)
def test_the_policy_for_callers_is_the_generators(case: str, tmp_path: Path) -> None:
    """Field by field, with limits from `config` in every way of writing them, and with Lockgate's own defaults without."""
    found = manifests(given(config={"gateway": {"limits": LIMITS[case]}}, extAuth={"enabled": False}))
    assert one(found, "ClientTrafficPolicy")["spec"] == one(generated(tmp_path, LIMITS[case]), "ClientTrafficPolicy")["spec"]


def test_limits_that_only_the_pod_knows_are_left_to_envoy() -> None:
    """What comes from a variable cannot be written; callers' fields are dropped all the same."""
    limits = {"view": "${VIEW}", "body_timeout": "${PAUSE}"}
    spec = one(manifests(given(config={"gateway": {"limits": limits}, "envoy": {"deadline": "${DEADLINE}"}})), "ClientTrafficPolicy")[
        "spec"
    ]
    assert set(spec) == {"targetRefs", "headers", "path"}
    assert spec["headers"]["earlyRequestHeaders"]["remove"] == list(OWN_FIELDS)


@pytest.mark.parametrize(
    ("ways", "named"),
    [
        ({"extAuth": {"targetRefs": [GATEWAY]}}, [GATEWAY]),
        ({"extAuth": {"targetRefs": [{**GATEWAY, "sectionName": "https"}]}}, [GATEWAY, {**GATEWAY, "sectionName": "https"}]),
        ({"extProc": {"enabled": False}, "extAuth": {"targetRefs": [ROUTE, GATEWAY]}}, [GATEWAY]),
        ({"extProc": {"targetRefs": [ROUTE]}}, None),
        ({"extProc": {"enabled": False}}, None),
        ({"clientTraffic": {"enabled": False}}, None),
    ],
)
def test_each_gateway_that_is_named_has_it_once(ways: dict[str, Any], named: list[dict[str, Any]] | None) -> None:
    """Gateways and their listeners, of both policies; none where only routes are named, which it cannot target, or where it is off."""
    found = of_kind(manifests(given(**ways)), "ClientTrafficPolicy")
    assert [policy["spec"]["targetRefs"] for policy in found] == ([] if named is None else [named])


def test_lockgate_is_shown_what_callers_say_in_its_name() -> None:
    """ext_authz takes off only what it sees: where `headers` names some, callers' `x-lockgate-*` are among them. Without, all are shown."""
    (policy,) = of_kind(manifests(given()), "SecurityPolicy")
    assert policy["spec"]["extAuth"]["headersToExtAuth"] == ["x-tenant", *OWN_FIELDS]
    (policy,) = of_kind(manifests(given(extAuth={"headers": []})), "SecurityPolicy")
    assert "headersToExtAuth" not in policy["spec"]["extAuth"]


@pytest.mark.parametrize(("way", "wait"), [("extProc", "messageTimeout"), ("extAuth", "timeout")])
@pytest.mark.parametrize(
    ("deadline", "late", "enough"), [(None, "2s", "2001ms"), ("1.5s", "1500ms", "1501ms"), ("90s", "1m30s", "1m30s1ms")]
)
def test_envoy_waits_longer_than_a_decision_may_take(way: str, wait: str, deadline: str | None, late: str, enough: str) -> None:
    """As long as `envoy.deadline`, Lockgate's own without one, is refused, in a sentence that names both; a millisecond more is taken."""
    rendered()  # skips where Helm is missing
    from helm_python import HelmError

    assert deadline or EnvoyConfig().deadline == 2
    config = {"envoy": {"deadline": deadline} if deadline else None}
    long = {"extProc": {"messageTimeout": "1h"}, "extAuth": {"timeout": "1h"}}
    with pytest.raises(HelmError, match=rf"gatewayApi\.{way}\.{wait} \({late}\) must be longer than config\.envoy\.deadline"):
        rendered(given(config=config, **{**long, way: {wait: late}}))
    assert rendered(given(config=config, **{**long, way: {wait: enough}}))


@pytest.mark.parametrize(("limits", "least"), [({}, GatewayLimits().view + 1), ({"view": "1MiB"}, (1 << 20) + 1)])
def test_ext_authz_is_shown_a_byte_more_than_is_judged(limits: dict[str, Any], least: int) -> None:
    """Otherwise a longer body, which Envoy cuts there, would be taken for a whole one. The chart's own is right for Lockgate's own."""
    rendered()  # skips where Helm is missing
    from helm_python import HelmError

    config = {"gateway": {"limits": limits}}
    with pytest.raises(HelmError, match=rf"set it to {least} or more"):
        rendered(given(config=config, extAuth={"maxRequestBytes": least - 1}))
    (policy,) = of_kind(manifests(given(config=config, extAuth={"maxRequestBytes": least})), "SecurityPolicy")
    assert policy["spec"]["extAuth"]["bodyToExtAuth"] == {"maxRequestBytes": least}
    if not limits:
        assert one(manifests(given()), "SecurityPolicy")["spec"]["extAuth"]["bodyToExtAuth"] == {"maxRequestBytes": least}
