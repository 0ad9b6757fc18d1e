"""What the chart's alerts and dashboard ask Prometheus for."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from tests.helm.rendering import CHART

ALERTS = CHART / "files" / "alerts.yaml"
TRIED = ("alerts_test.yaml", "alerts_days_test.yaml", "alerts_steady_test.yaml")
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = [rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SHOWN = [target["expr"] for panel in PANELS for target in panel["targets"]]


def series(expression: str) -> set[str]:
    return set(re.findall(r"\b(lockgate[a-z_:0-9]+)\b", re.sub(r'"[^"]*"', '""', expression)))


def asked_series() -> set[str]:
    """Of Lockgate; what the rules themselves record is left out."""
    return {name for expression in (*(rule["expr"] for rule in RULES), *SHOWN) for name in series(expression)} - RECORDED
