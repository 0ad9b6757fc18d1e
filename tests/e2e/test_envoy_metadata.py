"""What is said beside a request, through a real Envoy: to its later filters what was decided, and by its routes how to ask."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from examples.halden.demo.company import free_ports
from tests.e2e.envoy import CLUSTERS, HTTP, authorizer, envoy_before, processor, routes
from tests.e2e.running import Lockgate, prepared
from tests.e2e.yard import load, save

PATIENCE = {"message_timeout": "13s"}
FILTERS = {
    "ext_proc": processor(**PATIENCE),
    "ext_authz": authorizer(grpc_service={"envoy_grpc": {"cluster_name": "lockgate"}, "timeout": "13s"}),
}
NAMESPACES = {"ext_proc": "lockgate", "ext_authz": "envoy.filters.http.ext_authz"}
both_filters = pytest.mark.parametrize("asking", FILTERS)


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    """Its door takes up to ten seconds for a decision; its catalog has another intent that passes."""
    (port,) = free_ports(1)
    block = {"listen": f"127.0.0.1:{port}", "outcome_patience": "3s", "notice": "0ms", "deadline": "10s"}
    with prepared(tmp_path_factory.mktemp("patient"), envoy=block) as lockgate:
        path = lockgate.yard.folder / "catalog.yaml"
        catalog = load(path)
        catalog["intents"]["glance"] = {"description": "Sees that an item is there.", "risk": "low", "route": "plain"}
        catalog["rules"].append({"name": "glance", "match": {"method": "GET", "path": "/glances/{id}"}, "intent": "glance"})
        save(path, catalog)
        lockgate.start()
        lockgate.ports = {**lockgate.ports, "envoy": port}
        yield lockgate


@pytest.fixture
def lockgate(patient: Lockgate) -> Lockgate:
    patient.forget()
    return patient


@both_filters
def test_a_later_filter_refuses_by_what_was_decided(lockgate: Lockgate, tmp_path: Path, asking: str) -> None:
    """Envoy's RBAC filter matches the intent in the metadata: of two intents that Lockgate lets pass it refuses one, the other reaches the
    service; and the outcome of the refused one says that Envoy answered by itself."""
    with envoy_before(lockgate, tmp_path / "rbac", [FILTERS[asking], _rbac(NAMESPACES[asking], "intent", "look")]) as envoy:
        passed, refused = envoy.ask("ann", "GET", "/glances/1"), envoy.ask("ann", "GET", "/items/1")
        assert (passed.status, passed.json["target"]) == (200, "/glances/1")
        assert (refused.status, refused.body) == (403, b"RBAC: access denied")
        assert not lockgate.arrived("/items/1")
        outcome = lockgate.outcome(refused.decision)
    assert (outcome["result"], outcome["status"], outcome["reason"]) == ("failed", 403, "envoy_local_reply")


@both_filters
def test_a_later_filter_limits_what_was_decided(lockgate: Lockgate, tmp_path: Path, asking: str) -> None:
    """Envoy's local rate limit has a descriptor from the metadata: a second request of one intent is a 429, those of another pass."""
    with envoy_before(lockgate, tmp_path / "limited", [FILTERS[asking], _limit(NAMESPACES[asking], "intent", "look")]) as envoy:
        statuses = [envoy.ask("ann", "GET", path).status for path in ("/items/1", "/items/2", "/glances/1", "/glances/2")]
    assert statuses == [200, 429, 200, 200]


@both_filters
def test_a_route_gives_less_time_for_a_decision(lockgate: Lockgate, tmp_path: Path, asking: str) -> None:
    """While the ledger stands still, a request of the route that allows a second is a 503 `decision_late` and never reaches the service;
    one of another route, asked at the same time, waits within the door's own deadline and goes on."""
    table = _before_decision("/items/", asking, {"deadline": "1s"})
    with envoy_before(lockgate, tmp_path / "hasty", [FILTERS[asking]], table) as envoy, ThreadPoolExecutor(1) as other:
        assert envoy.ask("ann", "GET", "/items/1").status == 200
        lockgate.forget()
        lockgate.process.signal(signal.SIGSTOP)
        try:
            waiting = other.submit(envoy.ask, "ann", "GET", "/glances/1")
            time.sleep(0.2)
            late = envoy.ask("ann", "GET", "/items/2")
            assert (late.status, late.code, waiting.done()) == (503, "decision_late", False)
        finally:
            lockgate.process.signal(signal.SIGCONT)
        assert waiting.result().status == 200
        assert [each["target"] for each in lockgate.arrivals()] == ["/glances/1"]


def test_a_route_says_how_ext_authz_asks(lockgate: Lockgate, tmp_path: Path) -> None:
    """By `context_extensions`: its bodies go unread, and others' do not; what is not understood refuses the request."""
    with envoy_before(
        lockgate, tmp_path / "unread", [FILTERS["ext_authz"]], _before_decision("/echo/", "ext_authz", {"body": "none"})
    ) as envoy:
        assert envoy.ask("ann", "POST", "/echo/1", {"n": 1}).code == "request.body_truncated"
        assert envoy.ask("ann", "POST", "/forge/1", {"n": 1}).status == 200
    for number, wrong in enumerate(({"bodies": "none"}, {"body": "some"}, {"deadline": "11s"}, {"deadline": "soon"})):
        with envoy_before(
            lockgate, tmp_path / f"wrong{number}", [FILTERS["ext_authz"]], _before_decision("/echo/", "ext_authz", wrong)
        ) as envoy:
            refused = envoy.ask("ann", "GET", "/echo/1")
            assert (refused.status, refused.code) == (500, "envoy_metadata_invalid")
            assert envoy.ask("ann", "GET", "/items/1").status == 200


def _before_decision(prefix: str, asking: str, wanted: Mapping[str, str]) -> list[Any]:
    """The routes by decision, and before the last resort one that a request has before it is decided, which says how to ask."""
    if asking == "ext_proc":
        pairs = [{"key": f"x-lockgate-{name}", "value": value} for name, value in wanted.items()]
        says = {"@type": f"{HTTP}.filters.http.ext_proc.v3.ExtProcPerRoute", "overrides": {"grpc_initial_metadata": pairs}}
    else:
        says = {"@type": f"{HTTP}.filters.http.ext_authz.v3.ExtAuthzPerRoute", "check_settings": {"context_extensions": dict(wanted)}}
    *chosen, nowhere = routes(CLUSTERS)
    asks = {**nowhere, "match": {"prefix": prefix}, "typed_per_filter_config": {f"envoy.filters.http.{asking}": says}}
    return [*chosen, asks, nowhere]


def _rbac(namespace: str, name: str, value: str) -> dict[str, Any]:
    """Refuses where the metadata have that value."""
    told = {"filter": namespace, "path": [{"key": name}], "value": {"string_match": {"exact": value}}}
    policy = {"permissions": [{"metadata": told}], "principals": [{"any": True}]}
    return {
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": f"{HTTP}.filters.http.rbac.v3.RBAC",
            "rules": {"action": "DENY", "policies": {"by-decision": policy}},
        },
    }


def _limit(namespace: str, name: str, value: str) -> dict[str, Any]:
    """One request an hour where the metadata have that value, a thousand elsewhere."""
    action = {"metadata": {"descriptor_key": name, "metadata_key": {"key": namespace, "path": [{"key": name}]}, "source": "DYNAMIC"}}
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return {
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": f"{HTTP}.filters.http.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "by_decision",
            "token_bucket": _bucket(1000),
            "filter_enabled": always,
            "filter_enforced": always,
            "rate_limits": [{"actions": [action]}],
            "descriptors": [{"entries": [{"key": name, "value": value}], "token_bucket": _bucket(1)}],
        },
    }


def _bucket(tokens: int) -> dict[str, Any]:
    return {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": "3600s"}
