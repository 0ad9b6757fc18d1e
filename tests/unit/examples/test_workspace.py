"""What is different about the company at its real size is put where the shipped files have a place for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from examples.halden.demo.company import HERE
from examples.halden.demo.workspace import CHANGES, changed, copied
from router.workspace import Workspace, parse, read
from tests.needs import wanted

SERVERS = {
    "HALDEN_LEDGER_URL": "postgresql://postgres:pw@127.0.0.1:1/ledger",
    "HALDEN_KEYS_URL": "postgresql://postgres:pw@127.0.0.1:1/ledger_keys",
    "HALDEN_REDIS": "127.0.0.1:2",
    "HALDEN_REDIS_PASSWORD": "pw",
    "HALDEN_REDIS_KEY": "0" * 64,
    "HALDEN_NATS": "nats://127.0.0.1:3",
    "HALDEN_NATS_PASSWORD": "pw",
    "HALDEN_TEMPORAL": "127.0.0.1:4",
}
JWKS = '{"keys": []}'
needed = pytest.mark.skipif(not all(map(wanted, ("psycopg", "hiredis", "nats", "temporalio"))), reason="extras of these servers")


def parsed(folder: Path) -> Workspace:
    (folder / "jwks.json").write_text(JWKS)
    environment = {**SERVERS, "HALDEN_STATE": str(folder / "state"), "HALDEN_JWKS": str(folder / "jwks.json")}
    return parse(read(folder / "examples/halden/lockgate.yaml", environment), environment)


@needed
def test_the_company_at_its_size_has_no_fault(tmp_path: Path) -> None:
    """Everything durable is in PostgreSQL, what is counted in Redis, and nothing leads to the back office any more."""
    changed(copied(tmp_path))
    workspace = parsed(tmp_path)
    config, catalog = workspace.config, workspace.catalog
    assert config.audit.store is not None
    assert config.nodes is not None
    assert config.shared_state is not None
    assert config.events is not None
    assert config.events.listen is None
    adapters = {name: catalog.destinations[route.destination].adapter for name, route in catalog.routes.items() if route.delivery}
    assert adapters == {"disputes": "temporal", "lost_devices": "temporal", "failed_payments": "temporal", "notices": "nats"}


@needed
def test_nothing_else_is_changed(tmp_path: Path) -> None:
    """Intents, rules, policies and every other route are the shipped ones."""
    copied(tmp_path / "shipped")
    changed(copied(tmp_path / "changed"))
    before, after = parsed(tmp_path / "shipped"), parsed(tmp_path / "changed")
    assert before.catalog.intents == after.catalog.intents
    assert before.catalog.rules == after.catalog.rules
    told = yaml.safe_load(CHANGES.read_text())["catalog.yaml"]["put"]
    named = {place.split("/")[1] for place in told if place.startswith("routes/")}
    assert {name: route for name, route in before.catalog.routes.items() if name not in named} == {
        name: route for name, route in after.catalog.routes.items() if name not in named
    }
    for each in (HERE / "policies").iterdir():
        assert (tmp_path / "changed/examples/halden/policies" / each.name).read_bytes() == each.read_bytes()


def test_a_place_that_the_shipped_file_has_no_more_is_an_error(tmp_path: Path) -> None:
    workspace = copied(tmp_path)
    changes = tmp_path / "changes.yaml"
    changes.write_text("catalog.yaml: {put: {routes/gone/destination: elsewhere}}")
    with pytest.raises(KeyError, match="gone"):
        changed(workspace, changes)
