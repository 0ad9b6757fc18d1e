"""An Envoy with the routes that `lockgate envoy config --format envoy-gateway` wrote, and the real door, which it asks as Envoy Gateway has
it ask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from examples.halden.demo.company import free_ports
from router.envoy.gateway_api import resources
from router.envoy.options import Options
from router.settings import Address
from router.workspace import parse, read
from tests.e2e.envoy import CLUSTERS, Envoy, envoy_before, processor
from tests.e2e.running import prepared
from tests.e2e.yard import load, save


def table(manifests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Envoy's routes, the more conditions the earlier, as Gateway API has it."""
    rules = [(each["metadata"]["name"], rule) for each in manifests if each["kind"] == "HTTPRoute" for rule in each["spec"]["rules"]]
    for name, rule in sorted(rules, key=lambda each: -len(each[1]["matches"][0])):
        (match,) = rule["matches"]
        headers = [{"name": each["name"], "string_match": {"exact": each["value"]}} for each in match.get("headers", ())]
        if "method" in match:
            headers.append({"name": ":method", "string_match": {"exact": match["method"]}})
        action = {"route": {"cluster": CLUSTERS[name.removeprefix("lockgate-")]}} if headers else {"direct_response": {"status": 503}}
        yield {"match": {"prefix": match["path"]["value"], "headers": headers}, **action}


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Envoy]:
    """Before a catalog whose route `plain` has a method."""
    folder = tmp_path_factory.mktemp("gateway-api")
    (folder / "lockgate").mkdir()
    (port,) = free_ports(1)
    with prepared(folder / "lockgate", envoy={"listen": f"127.0.0.1:{port}", "notice": "0ms"}) as lockgate:
        file = lockgate.yard.folder / "catalog.yaml"
        catalog = load(file)
        catalog["routes"]["plain"]["method"] = "PUT"
        save(file, catalog)
        lockgate.ports = {**lockgate.ports, "envoy": port}
        lockgate.start()
        made = resources(parse(read(lockgate.yard.folder, os.environ), os.environ), Options(lockgate=(Address("127.0.0.1", port),)))
        asking = processor()
        asking["typed_config"].pop("mutation_rules")
        with envoy_before(lockgate, folder / "envoy", [asking], list(table(made))) as envoy:
            yield envoy


def test_no_request_arrives_with_another_method_than_was_decided(envoy: Envoy) -> None:
    """Envoy does not take the route's from the filter, and says nothing of it: such a request ends where undecided ones do."""
    for method in ("GET", "POST"):
        assert envoy.ask("ann", method, f"/echo/{method}").status == 503
        assert envoy.lockgate.arrived(f"/echo/{method}") == []


def test_one_that_has_it_goes_on(envoy: Envoy) -> None:
    """As do those by other routes."""
    assert envoy.ask("ann", "PUT", "/echo/1", {"message": "hello"}).json["method"] == "PUT"
    assert envoy.ask("ann", "POST", "/upload/1", b"x").status == 200
