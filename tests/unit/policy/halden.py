"""Halden's policies, and the documents that its people cause."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from adapters.rego.embedded import EmbeddedRego, load
from router.decision import BodyView, Classification, Finding, Level, Request, Risk, Route, Signals, Status, Subject
from router.stages.policy import policy_input
from router.stages.routing import IntentEntry

ROOT = Path(__file__).parents[3]
HALDEN = ROOT / "examples" / "halden"
CATALOG = yaml.safe_load((HALDEN / "catalog.yaml").read_text())


def rego(folder: Path) -> dict[str, str]:
    files = (file for file in sorted(folder.rglob("*.rego")) if not file.name.endswith("_test.rego"))
    return {str(file.relative_to(folder)): file.read_text() for file in files}


def engine() -> EmbeddedRego:
    return load(rego(ROOT / "policies"), yaml.safe_load((HALDEN / "policies" / "data.yaml").read_text()), deadline_s=10)


def request(*roles: str, tenant: str | None = "halden-eu", **changes: Any) -> Request:
    subject = Subject("p1", "user", roles, (), tenant, {}, "api_key")
    values: dict[str, Any] = {"method": "POST", "host": "gate", "path": "/ask", "body": BodyView(b"hello", "0" * 64, text="hello")}
    return Request("r1", 1_790_000_000_000_000_000, "gateway", subject, **(values | changes))


def asking(
    intent: str,
    *roles: str,
    confidence: float | None = 0.97,
    findings: tuple[Finding, ...] = (),
    level: str | None = None,
    tenant: str = "halden-eu",
) -> dict[str, Any]:
    """The decision document of an intent that was found; the risk level is the catalog's unless given."""
    entry = CATALOG["intents"][intent]
    route = entry["route"]
    return policy_input(
        request(*roles, tenant=tenant),
        Signals(findings, text_chars=5),
        Classification(Status.CLASSIFIED, intent, confidence, 0.5, 0.9, tier="encoder"),
        Risk(Level(level or entry["risk"]), 0.5),
        IntentEntry(intent, route, entry["risk"], entry["owner"]),
        Route(route, CATALOG["routes"][route]["destination"], "intent"),
    )
