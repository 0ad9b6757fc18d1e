"""Our histogram tells a scraper what prometheus-client's would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client import Histogram as Reference
from prometheus_client.exposition import generate_latest

from router.telemetry.histogram import Histogram

disable_created_metrics()  # type: ignore[no-untyped-call]  # as a worker does
BOUNDS = (0.001, 0.25, 1.0)


@given(st.lists(st.tuples(st.floats(0, 2) | st.sampled_from(BOUNDS), st.sampled_from(("policy", "risk"))), max_size=30))
def test_it_says_the_same_as_the_library(seen: list[tuple[float, str]]) -> None:
    """To the byte, also of values that are exactly a bound."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    own = Histogram("stage", "Time.", ("stage",), BOUNDS, "seconds", ours)
    reference = Reference("stage", "Time.", ("stage",), buckets=BOUNDS, unit="seconds", registry=theirs)
    for value, stage in seen:
        own.observe(value, stage)
        reference.labels(stage).observe(value)
    assert generate_latest(ours) == generate_latest(theirs)


@pytest.mark.parametrize("unit", ["", "seconds"])
def test_without_labels_it_is_there_before_anything_was_seen(unit: str) -> None:
    """With zeros, as the library's."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    Histogram("share", "Share.", (), BOUNDS, unit, ours)
    Reference("share", "Share.", (), buckets=BOUNDS, unit=unit, registry=theirs)
    assert generate_latest(ours) == generate_latest(theirs)
