"""Notices as the configuration has them, over the real store and a real receiver; a new configuration is taken up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapters.memory_ledger import MemorySubjectKeys
from adapters.sqlite.reviews import ReviewFile, SqliteReviews
from router.errors import ConfigError, ReviewError
from router.review.notifying import _nobody
from router.review.people import People
from router.review.resuming import Resumer
from router.review.standing import Standings
from router.system import SystemClock
from router.wiring.notifying import Telling
from router.workspace import Workspace, parse, read
from tests.contract.test_review_stores import HELD_STEP, held
from tests.contract.webhook_receiver import Receiver, receiving
from tests.e2e.processes import until
from tests.e2e.test_notifications import review
from tests.e2e.yard import NAMES, Yard, load, save

DAY_NS = 86_400_000_000_000


class Desk:
    def __init__(self, folder: Path) -> None:
        self.yard = Yard(folder, folder / "state", {name: port for port, name in enumerate(NAMES, start=1)})
        self.yard.write()
        self._document = load(self.yard.config)
        self.reviews = SqliteReviews(ReviewFile(folder / "state" / "reviews.sqlite"))
        people = People(MemorySubjectKeys())
        resumer = Resumer(Standings(self.reviews, people), people, lambda route, ahead: None)
        self.telling = Telling(self.reviews, SystemClock(), None, resumer, _nobody)
        self.reviews.changed = self.telling.changed

    def workspace(self, settings: dict[str, Any]) -> Workspace:
        save(self.yard.config, self._document | {"review": settings})
        return parse(read(self.yard.config, {}), {})

    async def hold(self, name: str) -> None:
        await self.reviews.add(held(name, SystemClock().now_ns() + DAY_NS), HELD_STEP)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    await made.reviews.open()
    yield made
    await made.telling.close()
    await made.reviews.close()


async def told(receiver: Receiver, many: int) -> list[str]:
    await asyncio.to_thread(until, lambda: len(receiver.arrivals) >= many, "all were told")
    return [orjson.loads(each["body"])["data"]["review"] for each in receiver.arrivals]


def figures(desk: Desk) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for metric in desk.telling.figures() for sample in metric.samples}


async def test_nothing_is_there_before_somebody_is_to_be_told(desk: Desk) -> None:
    """No file, no task; and no engine can be resumed."""
    await desk.telling.follow(desk.workspace({}))
    desk.telling.start()
    await desk.hold("d1")
    assert not (desk.yard.state / "notices.sqlite").exists()
    with pytest.raises(ReviewError) as refused:
        await desk.telling.rest([])
    assert refused.value.code == "resume_unavailable"
    assert [sample.value for metric in desk.telling.figures() for sample in metric.samples] == [0.0, 0.0]


async def test_a_configuration_is_taken_up_while_requests_wait(desk: Desk) -> None:
    """Who is new hears of those that wait already; who is gone hears of nothing more; one that cannot be opened leaves what is there."""
    async with receiving(Receiver()) as first, receiving(Receiver()) as second:
        await desk.telling.follow(desk.workspace(review(first.port)))
        desk.telling.start()
        await desk.hold("d1")
        assert await told(first, 1) == ["d1"]
        wrong = review(first.port)
        wrong["notify"]["duty"]["through"]["secrets"] = [{"file": "missing"}]
        with pytest.raises(ConfigError, match=r"review\.notify\.duty: .*missing"):
            await desk.telling.follow(desk.workspace(wrong))
        await desk.hold("d2")
        assert await told(first, 2) == ["d1", "d2"]
        other = review(second.port)
        other["notify"] = {"lead": other["notify"]["duty"]}
        await desk.telling.follow(desk.workspace(other))
        assert sorted(await told(second, 2)) == ["d1", "d2"]
        await desk.hold("d3")
        assert sorted(await told(second, 3)) == ["d1", "d2", "d3"]
        assert len(first.arrivals) == 2
        await asyncio.to_thread(until, lambda: figures(desk)["lead", "sent"] == 3, "it is counted, after it has arrived")
        counted = figures(desk)
        assert (counted["duty", "sent"], counted["lead", "sent"], counted["lead", "failed"]) == (2.0, 3.0, 0.0)
