"""The chart as Helm's own library renders it, offline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from router.yaml_source import read_yaml
from tests.needs import needs

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm"
VALUES = Path(__file__).parent / "values"
GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.stem for path in VALUES.glob("*.yaml"))
NOTES = "NOTES.txt"


def values(case: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((VALUES / f"{case}.yaml").read_text(encoding="utf-8"))
    return found


def rendered(given: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Texts by the template's name; those without a manifest left out. Raises Helm's error."""
    needs("helm_python", "pip install -r requirements/dev.lock, on Linux")
    from helm_python import Chart

    with Chart.load(CHART) as chart:
        texts = chart.render(dict(given or {}), name="demo", namespace="edge")
    return {Path(name).name: text for name, text in texts.items() if text.strip()}


def manifests(given: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Every manifest; read as strictly as a workspace's files, so that no key stands twice."""
    return [manifest for name, text in rendered(given).items() if name != NOTES for manifest in documents(name, text)]


def documents(name: str, text: str) -> list[dict[str, Any]]:
    for part in text.split("\n---\n"):
        _, faults = read_yaml(name, part.encode(), None)
        assert not faults, faults
    return [document for document in yaml.safe_load_all(text) if document is not None]


def of_kind(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in found if manifest["kind"] == kind]


def one(found: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (manifest,) = of_kind(found, kind)
    return manifest


def golden_text(case: str) -> str:
    return "".join(f"# {name}\n{text.strip()}\n" for name, text in sorted(rendered(values(case)).items()))


def configuration(found: list[dict[str, Any]]) -> dict[str, Any]:
    (text,) = [
        each["data"]["lockgate.yaml"] for each in of_kind(found, "ConfigMap") if each["metadata"]["name"] in ("demo-lockgate", "demo-gate")
    ]
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded
