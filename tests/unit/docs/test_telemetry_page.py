"""Every name that telemetry gives is in its page."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from router.telemetry import names
from router.telemetry.metrics import Metrics
from tests.unit.docs.pages import ROOT, headings, page, section

ATTRIBUTES = {
    name: value
    for name, value in vars(names).items()
    if name.isupper() and isinstance(value, str) and name not in ("SCHEMA_URL", "RESULT_DECIDED", "SPAN_REQUEST", "SPAN_STAGE")
}


def test_every_metric_has_a_heading_and_no_heading_is_of_another() -> None:
    """Metrics come and go in code and page together."""
    assert sorted(headings(section(page("telemetry.md"), "Metrics"))) == sorted(f"`{name}`" for name in names.METRICS)


def test_every_span_has_a_heading() -> None:
    """There are two kinds of spans."""
    assert headings(section(page("telemetry.md"), "Spans")) == [f"`{names.SPAN_REQUEST}`", f"`{names.SPAN_STAGE}`"]


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_is_named(name: str) -> None:
    """Attributes of spans, resources and log lines are in the page."""
    assert f"`{ATTRIBUTES[name]}`" in page("telemetry.md")


def test_prometheus_names_are_those_of_a_worker() -> None:
    """What a worker's page gives is called as the page says, labels included."""
    text = page("telemetry.md")
    for family in text_string_to_metric_families(Metrics().exposition()):
        shown = f"`{family.name}_total`" if family.type == "counter" else f"`{family.name}`"
        assert shown in text


def test_every_stage_is_named() -> None:
    """The stages that the pipeline times are those of the page, as label and as span."""
    stages = re.findall(r'timings\.lap\("([a-z]+)"\)', (ROOT / "router" / "pipeline.py").read_text(encoding="utf-8"))
    assert len(stages) > 3
    for stage in stages:
        assert f"`{stage}`" in section(page("telemetry.md"), "Metrics")
        assert f"`{names.SPAN_STAGE}{stage}`" in section(page("telemetry.md"), "Spans")
