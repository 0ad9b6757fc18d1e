"""Log lines of the running processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.e2e.processes import until
from tests.e2e.running import Lockgate
from tests.e2e.yard import load, save

Starter = Callable[..., Lockgate]
TRACE = "0af7651916cd43dd8448eb211c80319c"


def lines(lockgate: Lockgate, logger: str) -> list[Any]:
    """What that logger said as JSON."""
    return [line for line in map(json.loads, filter(_is_json, lockgate.process.said.splitlines())) if line["logger"] == logger]


def _is_json(line: str) -> bool:
    return line.startswith("{")


def configure(lockgate: Lockgate, **telemetry: Any) -> None:
    save(lockgate.yard.config, load(lockgate.yard.config) | {"telemetry": telemetry})


def test_every_request_has_a_line_with_its_trace(start: Starter) -> None:
    """Routed, refused and only decided requests have a line each, as JSON where that is wanted, and none says who or where."""
    lockgate = start(telemetry={"log": "json", "access_log": True})
    answer = lockgate.ask("ann", "GET", "/items/7", traceparent=f"00-{TRACE}-00f067aa0ba902b7-00")
    lockgate.ask(None, "GET", "/items/7")
    lockgate.decide("checkout", {"method": "GET", "path": "/items/7"})
    until(lambda: len(lines(lockgate, "lockgate.access")) == 3, "they were said")
    found = lines(lockgate, "lockgate.access")
    assert (found[0]["trace_id"], found[0]["lockgate.decision.id"]) == (TRACE, answer.decision)
    assert [each["http.response.status_code"] for each in found] == [200, 401, 200]
    assert [each.get("lockgate.outcome.result") for each in found] == ["routed", None, "decided"]
    assert not [word for word in ("ann", "/items", "127.0.0.1") if word in str(found)]


def test_the_access_log_is_switched_on_while_serving(start: Starter) -> None:
    """Whoever hunts a fault need not restart; the control process's own lines change their form as well."""
    lockgate = start()
    lockgate.ask("ann", "GET", "/items/7")
    configure(lockgate, log="json", access_log=True)
    until(lambda: lines(lockgate, "lockgate.reload"), "it was live")
    answer = lockgate.ask("ann", "GET", "/items/8")
    (found,) = until(lambda: lines(lockgate, "lockgate.access"), "it was said")
    assert found["lockgate.decision.id"] == answer.decision


def test_another_collector_needs_a_restart(start: Starter) -> None:
    """A change that is not taken up is refused whole, and said; it is not quietly half taken up."""
    lockgate = start()
    configure(lockgate, otlp="https://collector.example:4318")
    until(lambda: "telemetry.otlp needs a restart" in lockgate.process.said, "it was refused")
    assert lockgate.ask("ann", "GET", "/items/7").status == 200
