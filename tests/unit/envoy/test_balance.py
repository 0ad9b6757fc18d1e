"""How upstreams are chosen, for Kubernetes' ways of running Envoy; a real Envoy by itself is asked in the conformance tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router.envoy.gateway_api import resources
from router.envoy.istio import resources as for_istio
from router.envoy.options import Options
from router.errors import ConfigError
from router.settings import Address
from tests.conformance.envoy_workspaces import PLAIN, workspace

OPTIONS = Options(lockgate=(Address("lockgate.lockgate.svc.cluster.local", 50051),))
TWO = [{"url": "http://one.internal"}, {"url": "http://two.internal"}]
OUTLIERS = {"consecutive": 3, "interval": "5s", "ejection": "20s", "most": 0.25}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "turns": ({}, {"type": "RoundRobin"}, {"simple": "ROUND_ROBIN"}),
    "least": ({"balance": "least_requests"}, {"type": "LeastRequest"}, {"simple": "LEAST_REQUEST"}),
    "subject": (
        {"balance": "hash", "hash_by": "subject"},
        {"type": "ConsistentHash", "consistentHash": {"type": "Header", "header": {"name": "x-lockgate-subject"}}},
        {"consistentHash": {"httpHeaderName": "x-lockgate-subject"}},
    ),
}


def only(found: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (one,) = (each["spec"] for each in found if each["kind"] == kind)
    return one


def port(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What Istio is told of the only port."""
    (settings,) = only(found, "DestinationRule")["trafficPolicy"]["portLevelSettings"]
    return settings


@pytest.mark.parametrize("case", CASES)
def test_behind_a_service_it_is_told(case: str, tmp_path: Path) -> None:
    more, gateway, istio = CASES[case]
    made = workspace(tmp_path, {"desk": {**PLAIN, **more}})
    assert only(resources(made, OPTIONS), "BackendTrafficPolicy")["loadBalancer"] == gateway
    assert port(for_istio(made, OPTIONS))["loadBalancer"] == istio


def test_who_answers_worse_than_it_may_is_left_alone(tmp_path: Path) -> None:
    """With the settings of `outliers`; without them never because of another 500."""
    plain, strict = workspace(tmp_path / "plain"), workspace(tmp_path / "strict", {"desk": {**PLAIN, "outliers": OUTLIERS}})
    passive = [only(resources(made, OPTIONS), "BackendTrafficPolicy")["healthCheck"]["passive"] for made in (plain, strict)]
    assert passive == [
        {"consecutiveGatewayErrors": 5, "consecutive5XxErrors": 0, "baseEjectionTime": "10s", "interval": "1s", "maxEjectionPercent": 100},
        {"consecutiveGatewayErrors": 5, "consecutive5XxErrors": 3, "baseEjectionTime": "20s", "interval": "5s", "maxEjectionPercent": 25},
    ]
    istio = [port(for_istio(made, OPTIONS))["outlierDetection"] for made in (plain, strict)]
    assert [each["consecutive5xxErrors"] for each in istio] == [0, 3]
    assert [each["baseEjectionTime"] for each in istio] == ["10s", "20s"]


@pytest.mark.parametrize("make", [resources, for_istio])
@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"upstreams": TWO, "balance": "least_requests"}, "has several upstreams and 'balance: least_requests'"),
        ({"upstreams": TWO, "balance": "hash", "hash_by": "subject"}, "has several upstreams and 'balance: hash'"),
        ({"balance": "hash", "hash_by": "path"}, "is balanced by path, which is written for --format bootstrap"),
    ],
)
def test_what_these_resources_cannot_say_is_refused(make: Any, more: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make(workspace(tmp_path, {"desk": {**PLAIN, **more}}), OPTIONS)
