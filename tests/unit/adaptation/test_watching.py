"""What is read of labelled samples, and when it is measured anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from router.adaptation import watching
from router.adaptation.watching import Window
from router.adaptation.watching import sampled as read
from router.config.learning import LearningConfig, WatchConfig
from router.ports import Lesson
from router.wiring.watching import EVERY_NS, QualityDesk, Watch
from tests.unit.adaptation.parts import Learning
from tests.unit.adaptation.test_measuring import task

DAY_NS = 86_400 * 1_000_000_000
BEGIN_NS = 20_000 * DAY_NS


async def sampled(learning: Learning, number: int, *labels: str, **told: Any) -> None:
    """Decided at noon of the day `number`, and taken a second later."""
    made = task(*labels, decided=None, **told)
    at_ns = BEGIN_NS + number * DAY_NS
    lesson = Lesson(made.kind, f"t{number}", "d", made.state, at_ns, made.terms)
    assert await learning.store.put(lesson, [], "", 0)


async def test_a_window_has_its_begin_and_not_its_end(learning: Learning) -> None:
    """Of one tenant where it is asked for."""
    for number in range(6):
        await sampled(learning, number, "pay", tenant="halden" if number % 2 else None)
    found = await read(learning.store, Window(BEGIN_NS + DAY_NS, BEGIN_NS + 5 * DAY_NS), 50)
    assert [(each.decided_ns - BEGIN_NS) // DAY_NS for each in found.samples] == [4, 3, 2, 1]
    assert not found.more
    found = await read(learning.store, Window(0, BEGIN_NS + 9 * DAY_NS, "halden"), 50)
    assert [(each.decided_ns - BEGIN_NS) // DAY_NS for each in found.samples] == [5, 3, 1]


async def test_no_more_are_looked_at_than_the_newest_so_many(learning: Learning, monkeypatch: pytest.MonkeyPatch) -> None:
    """And that there were more is said."""
    monkeypatch.setattr(watching, "MANY", 2)
    monkeypatch.setattr(watching, "MOST", 4)
    for number in range(6):
        await sampled(learning, number, "pay")
    found = await read(learning.store, Window(0, BEGIN_NS + 9 * DAY_NS), 50)
    assert [(each.decided_ns - BEGIN_NS) // DAY_NS for each in found.samples] == [5, 4, 3, 2]
    assert found.more


async def test_a_full_day_is_known_by_the_whole_of_it(learning: Learning) -> None:
    """Also where the window has but a part of it; a day outside of the window is nothing to tell."""
    for hour in range(4):
        made = task("pay", decided=None)
        at_ns = BEGIN_NS + hour * DAY_NS // 4
        assert await learning.store.put(Lesson(made.kind, f"h{hour}", "d", made.state, at_ns, made.terms), [], "", 0)
    await sampled(learning, 1, "pay")
    found = await read(learning.store, Window(BEGIN_NS + DAY_NS // 2, BEGIN_NS + 2 * DAY_NS), 4)
    assert (len(found.samples), found.full) == (3, {("20000", "")})
    assert (await read(learning.store, Window(BEGIN_NS + DAY_NS, BEGIN_NS + 2 * DAY_NS), 4)).full == set()


def told(watch: Watch) -> Mapping[tuple[str, str], float]:
    return {
        (sample.name.removeprefix("lockgate_learning_"), next(iter(sample.labels.values()), "")): sample.value
        for family in watch.figures()
        for sample in family.samples
    }


async def test_metrics_are_of_the_last_round_and_absent_below_the_least(learning: Learning) -> None:
    """Asking for them measures nothing; a round does when it is due, and of the window only."""
    settings = LearningConfig(watch=WatchConfig.model_validate({"window": "2d", "least": 2, "accuracy": 0.9}))
    watch = Watch(learning.store, learning.clock, lambda: settings)
    learning.clock.now = BEGIN_NS + 3 * DAY_NS
    await sampled(learning, 0, "cancel")
    await sampled(learning, 2, "pay")
    assert told(watch) == {}
    await watch.round()
    assert told(watch)["samples", "counted"] == 1
    assert {name for name, _ in told(watch)} == {"samples", "accuracy_floor", "calibration_tolerance"}
    await sampled(learning, 3, "cancel")
    await watch.round()
    assert told(watch)["samples", "counted"] == 1
    learning.clock.now += EVERY_NS
    await watch.round()
    assert told(watch)["accuracy", "estimate"] == 0.5
    assert told(watch)["accuracy", "lower"] < 0.5 < told(watch)["accuracy", "upper"]
    assert told(watch)["calibration_gap", "estimate"] == pytest.approx(0.4)
    assert told(watch)["calibration_error", ""] == pytest.approx(0.4)


async def test_a_tenant_hears_of_its_own_alone(learning: Learning) -> None:
    await sampled(learning, 0, "pay", tenant="halden")
    await sampled(learning, 1, "cancel")
    desk = QualityDesk(Watch(learning.store, learning.clock, lambda: LearningConfig(watch=WatchConfig(least=1))))
    whole, own = [await each.measured(0, BEGIN_NS + 9 * DAY_NS, "random") for each in (desk, desk.within("halden"))]
    assert (whole["counted"], whole["accuracy"]["value"], whole["more"]) == (2, 0.5, False)
    assert (own["counted"], own["accuracy"]["value"]) == (1, 1.0)
