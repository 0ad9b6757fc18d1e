"""Whether the classifier is as good as it should be, in the control process: what people labelled, measured in rounds and not a scrape."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from router.adaptation.estimating import Estimate
from router.adaptation.measuring import Measured, measure
from router.adaptation.samples import Basis
from router.adaptation.watching import Window, sampled
from router.config.learning import LearningConfig, SamplingConfig
from router.control.services import Json
from router.ports import Clock, Lessons
from router.telemetry.names import METRICS

NS = 1_000_000_000
EVERY_NS = 300 * NS


class Watch:
    """`settings` are those that serve."""

    def __init__(self, store: Lessons, clock: Clock, settings: Callable[[], LearningConfig | None]) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._due_ns = 0
        self._found: Measured | None = None

    async def round(self) -> None:
        """Raises StateError."""
        now_ns, settings = self._clock.now_ns(), self._settings()
        if settings is None or now_ns < self._due_ns:
            return
        self._due_ns = now_ns + EVERY_NS
        window = Window(now_ns - int(settings.watch.window * NS), now_ns + 1)
        self._found, _ = await self._measured(window, Basis.RANDOM, settings)

    async def measured(self, window: Window, basis: Basis) -> tuple[Measured, bool]:
        """With whether there was more than is looked at. Raises StateError."""
        return await self._measured(window, basis, self._settings() or LearningConfig())

    async def _measured(self, window: Window, basis: Basis, settings: LearningConfig) -> tuple[Measured, bool]:
        found = await sampled(self._store, window, (settings.sampling or SamplingConfig()).a_day)
        return await asyncio.to_thread(measure, found.samples, basis, settings.watch.least, found.full), found.more

    def figures(self) -> Iterator[Metric]:
        """As of the last round; of what was labelled too seldom none."""
        found, settings = self._found, self._settings()
        if settings is None or found is None:
            return
        counts = {name: getattr(found, name) for name in ("counted", "waiting", "unsure", "gone", "left_out")}
        yield _gauge("lockgate.learning.samples", "state", counts)
        yield _gauge("lockgate.learning.accuracy", "bound", _bounds(found.accepted_accuracy))
        calibration = found.calibration
        yield _gauge("lockgate.learning.calibration.gap", "bound", _bounds(calibration.gap if calibration is not None else None))
        yield _gauge("lockgate.learning.calibration.error", "", {} if calibration is None else {"": calibration.ece})
        floor = settings.watch.accuracy
        yield _gauge("lockgate.learning.accuracy.floor", "", {} if floor is None else {"": floor})
        yield _gauge("lockgate.learning.calibration.tolerance", "", {"": settings.watch.gap})


@dataclass(frozen=True, slots=True)
class QualityDesk:
    """Implements the control API's port."""

    watch: Watch
    tenant: str | None = None

    def within(self, tenant: str) -> QualityDesk:
        return replace(self, tenant=tenant)

    async def measured(self, since_ns: int, until_ns: int, basis: str) -> Json:
        found, more = await self.watch.measured(Window(since_ns, until_ns, self.tenant), Basis(basis))
        return {**found.document(), "more": more}


def _bounds(found: Estimate | None) -> dict[str, float]:
    return {} if found is None else {"estimate": found.value, "lower": found.low, "upper": found.high}


def _gauge(name: str, label: str, values: dict[str, float]) -> Metric:
    family = GaugeMetricFamily(name.replace(".", "_"), METRICS[name], labels=[label] if label else [])
    for value_of, value in values.items():
        family.add_metric([value_of] if label else [], value)
    return family
