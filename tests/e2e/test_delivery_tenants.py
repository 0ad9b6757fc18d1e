"""Deliveries of two tenants, as an operator of one of them sees them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.e2e.processes import until
from tests.e2e.running import Lockgate, Person, make_keys
from tests.e2e.test_deliveries import command
from tests.e2e.test_events import Target, lockgate, target
from tests.e2e.yard import load, save

__all__ = ["lockgate", "target"]  # fixtures
PEOPLE = (
    *(Person(f"buyer-{tenant}", ("employee",), tenant=tenant) for tenant in ("lund", "malmo")),
    *(Person(f"operator-{tenant}", ("operator",), ("control",), tenant) for tenant in ("lund", "malmo")),
)


@pytest.mark.slow
def test_an_operator_of_a_tenant_sees_and_retries_that_tenants(lockgate: Lockgate, target: Target) -> None:
    """Page by page, in the command and in the console; another tenant's, or nobody's, are not there, whatever cursor or id is tried."""
    lockgate.process.stop()
    config = load(lockgate.yard.config)
    config.setdefault("control", {})["tenants"] = "own"
    save(lockgate.yard.config, config)
    keys = {**lockgate.keys, **make_keys(lockgate.state, PEOPLE)}
    apart = replace(lockgate, keys=keys)
    apart.start()
    target.answer = lambda _: 400
    whose = ("ann", "buyer-lund", "buyer-malmo", "buyer-lund", "buyer-malmo")
    ids = [apart.ask(who, "POST", "/orders/7", {"amount": 1}).decision for who in whose]

    def listed(who: str, query: str = "") -> Any:
        return apart.control("GET", f"/v1/deliveries{query}", who=who).json

    until(lambda: len(listed("root", "?state=dead")["deliveries"]) == 5, "all were given up")
    assert [each["tenant"] for each in listed("root")["deliveries"]] == [None, "lund", "malmo", "lund", "malmo"]
    first = listed("operator-lund", "?limit=1")
    second = listed("operator-lund", f"?limit=1&cursor={first['next']}")
    assert [each["id"] for each in (*first["deliveries"], *second["deliveries"])] == [ids[1], ids[3]]
    for cursor in range(8):
        assert all(each["tenant"] == "lund" for each in listed("operator-lund", f"?state=dead&cursor={cursor}")["deliveries"])
    shown = command(apart, "list", who="operator-malmo").stdout
    assert [each in shown for each in ids] == [False, False, True, False, True]
    page = apart.control("GET", "/console/deliveries", who="operator-lund").body.decode()
    assert [each in page for each in ids] == [False, True, False, True, False]
    for other in (ids[0], ids[2], "nothing"):
        for method, path in (("GET", ""), ("POST", "/retry"), ("POST", "/drop")):
            assert apart.control(method, f"/v1/deliveries/{other}{path}", who="operator-lund").code == "delivery_not_found"
    target.answer = lambda _: 200
    assert apart.control("POST", f"/v1/deliveries/{ids[1]}/retry", who="operator-lund").status == 200
    until(lambda: [each["id"] for each in listed("operator-lund")["deliveries"]] == [ids[3]], "it was delivered")
