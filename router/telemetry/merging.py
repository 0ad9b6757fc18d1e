"""One Prometheus page out of many processes' pages: each sample gets the label of the process that it came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry


class Merged(Collector):
    def __init__(self, pages: Mapping[str, str], extra: Iterable[Metric]) -> None:
        self._families: dict[str, Metric] = {family.name: family for family in extra}
        for process, page in pages.items():
            for family in text_string_to_metric_families(page):
                self._add(process, family)

    def _add(self, process: str, family: Metric) -> None:
        whole = self._families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
        for sample in family.samples:
            whole.add_sample(sample.name, {**sample.labels, "worker": process}, sample.value)

    def collect(self) -> Iterable[Metric]:
        return self._families.values()


def merge(pages: Mapping[str, str], extra: Iterable[Metric]) -> str:
    """`pages` by process name; `extra` are families of the whole."""
    registry = CollectorRegistry()
    registry.register(Merged(pages, extra))
    return generate_latest(registry).decode()
