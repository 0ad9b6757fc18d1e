"""OPA's own engine (`opa-golib-python-bindings`, OPA 1.20) and the policies that ship, without the library, for tests that compare."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from opa_bindings import OpaEngine

ROOT = Path(__file__).parents[2]
POLICIES = ROOT / "policies"


def texts(folder: Path = POLICIES / "lockgate", *, tests: bool = False) -> dict[str, str]:
    files = sorted(folder.rglob("*.rego"))
    return {str(file.relative_to(ROOT)): file.read_text() for file in files if tests or not file.name.endswith("_test.rego")}


def settings(file: Path = POLICIES / "data.yaml") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


def opa(policies: Mapping[str, str], data: Mapping[str, Any] | None = None) -> OpaEngine:
    engine = OpaEngine()
    for path, text in policies.items():
        engine.add_policy(path, text)
    engine.add_data(data or {})
    return engine
