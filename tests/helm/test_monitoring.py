"""Alerts, dashboard and runbooks: Prometheus takes the rules, each alert was seen firing and quiet, every metric that they name exists."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from router.buckets import SLOW
from router.telemetry.metrics import Metrics
from router.telemetry.names import METRICS
from tests.helm.monitored import ALERTS, DASHBOARD, PANELS, RECORDED, RULES, SHOWN, TRIED, asked_series, series
from tests.helm.rendering import ROOT, manifests, of_kind, one, values
from tests.needs import needs_program
from tests.unit.docs.pages import headings, page

HERE = Path(__file__).parent
UNITS = {".age": "_seconds", ".expiry": "_days", ".free": "_bytes", ".capacity": "_bytes"}
NAMED = [rule for rule in RULES if "alert" in rule]
HOW = "`make debian` installs it"
# A quarter of its work would be to collect garbage that there is room for.
ROOMY = {"GOGC": "800", "GOMAXPROCS": "1"}


def promtool(*arguments: str) -> None:
    needs_program("promtool", HOW)
    command, environment = ["promtool", *arguments], {**os.environ, **ROOMY}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def served() -> set[str]:
    """Names of series on Prometheus' page: of workers as they are made, of the control process as the table of names has them."""
    found = set()
    kinds = {family.name: family.type for family in Metrics().registry.collect()}
    for name in METRICS:
        base = name.replace(".", "_")
        if kinds.get(f"{base}_seconds", kinds.get(base)) == "histogram":
            stem = base if f"{base}_seconds" not in kinds else f"{base}_seconds"
            found |= {f"{stem}_{part}" for part in ("bucket", "count", "sum")}
        elif kinds.get(base) == "counter" or name.endswith(("failures", "notices")):
            found.add(f"{base}_total")
        else:
            unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
            found.add(f"{base}{unit}")
    return found


def test_prometheus_takes_the_rules() -> None:
    """`promtool check rules` finds nothing."""
    promtool("check", "rules", str(ALERTS))


@pytest.mark.parametrize("file", TRIED)
def test_alerts_fire_when_they_should_and_only_then(file: str) -> None:
    """`promtool test rules`: each in its own trouble, none in good times or in another's."""
    promtool("test", "rules", file)


def test_what_rules_record_is_there_before_it_is_asked_for() -> None:
    """`promtool` evaluates groups in any order unless told, and what looks a short time back then sees one value fewer, now and then."""
    groups = [group["name"] for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]]
    for file in TRIED:
        assert yaml.safe_load((HERE / file).read_text(encoding="utf-8"))["group_eval_order"] == groups, file


def test_every_alert_is_tried() -> None:
    """Each one's name is expected to fire somewhere; what is expected of a name that no rule has is a mistake."""
    text = "".join((HERE / file).read_text(encoding="utf-8") for file in TRIED)
    expected = set(re.findall(r"labels: '\{alertname=\"([A-Za-z]+)\"\}'", text))
    assert expected == {rule["alert"] for rule in NAMED}


def test_rules_and_dashboard_name_what_is_served() -> None:
    """A metric that is renamed or removed takes its alerts and panels along."""
    assert asked_series() - served() == set()
    assert {name for expression in (*(rule["expr"] for rule in RULES), *SHOWN) for name in series(expression)} >= RECORDED


def test_thresholds_are_bounds_of_the_buckets() -> None:
    """A bound that the histogram does not have would never be counted."""
    bounds = {float(bound) for rule in RULES for bound in re.findall(r'le="([0-9.]+)"', rule["expr"])}
    assert bounds == {0.1}
    assert bounds <= set(SLOW)


def test_every_alert_has_a_runbook_and_no_runbook_is_of_another() -> None:
    """The link in each leads to a heading of the page."""
    names = [rule["alert"] for rule in NAMED]
    assert headings(page("runbooks.md")) == ["Runbooks", *names]
    for rule in NAMED:
        assert rule["annotations"]["runbook_url"] == f"https://lockgate.example/docs/runbooks.md#{rule['alert'].lower()}"
        assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_every_alert_has_a_panel() -> None:
    """A panel's description names the alerts that it shows; a name that ends in `…` stands for all that begin so."""
    told = re.findall(r"Lockgate[A-Za-z]+…?", " ".join(panel["description"] for panel in PANELS))
    for rule in NAMED:
        assert any(rule["alert"] == name or (name.endswith("…") and rule["alert"].startswith(name[:-1])) for name in told), rule["alert"]


def test_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    """Grafana shows them all."""
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


def test_panels_are_of_the_chosen_namespace_and_job() -> None:
    """Releases in several namespaces have one name, and so one job; where there are no namespaces, all of them is nothing."""
    for expression in SHOWN:
        assert len(re.findall(r"\blockgate[a-z_:0-9]+\{", expression)) == expression.count('{namespace=~"$namespace",job=~"$job"') > 0
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "namespace", "job"]
    assert variables["namespace"]["allValue"] == ".*"
    assert 'namespace=~"$namespace"' in variables["job"]["query"]["query"]


def test_the_chart_has_both_as_they_are() -> None:
    """With the links to where runbooks are kept, and nothing else changed."""
    found = manifests(values("postgres-gateway"))
    text = ALERTS.read_text(encoding="utf-8").replace("https://lockgate.example/docs", "https://wiki.example.com/lockgate")
    assert one(found, "PrometheusRule")["spec"] == yaml.safe_load(text)
    (board,) = [each for each in of_kind(found, "ConfigMap") if "lockgate.json" in each["data"]]
    assert json.loads(board["data"]["lockgate.json"]) == DASHBOARD


def test_the_pages_lead_to_each_other() -> None:
    """Who reads the README finds runbooks."""
    assert "docs/runbooks.md" in (ROOT / "README.md").read_text(encoding="utf-8")
