"""A stop has one deadline: what hangs takes nothing from what comes after it, and all who wait for a node to end wait long enough."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest

from router.processes import probes, serving, tiles
from router.processes.stopping import (
    CHECKPOINT,
    CLOSE,
    DISPATCHES,
    DOORS,
    DRAIN_S,
    EXIT,
    GIVE_BACK,
    GOODBYES,
    LAST_RECORDS,
    LISTENERS,
    RECORD,
    STOP_S,
    WORKERS,
    Deadline,
    Step,
)
from router.wiring import envoy, reviews

DOCS = Path(__file__).parents[3] / "docs"
LATER = Step(5.0)
SOON = Step(0.05, LATER.whole)


@pytest.fixture
def deadline() -> Deadline:
    made = Deadline(SOON.whole)
    made.begin()
    return made


async def test_what_hangs_leaves_what_those_after_it_need(deadline: Deadline, caplog: pytest.LogCaptureFixture) -> None:
    """It is told, cancelled and not waited for; the next step still has its own time."""
    hanging = asyncio.get_running_loop().create_future()
    assert not await deadline.within(SOON, "somebody who is silent", hanging)
    assert hanging.cancelled()
    assert deadline.behind
    assert "waits no longer for somebody who is silent" in caplog.text
    assert await deadline.within(LATER, "somebody who answers", asyncio.sleep(0.01))


async def test_a_step_has_also_what_was_not_needed_before_it(deadline: Deadline) -> None:
    """Time is left by those that end soon, to all after them."""
    assert LATER.seconds < deadline.left(LATER) <= LATER.seconds + SOON.seconds


async def test_it_begins_once(deadline: Deadline) -> None:
    """Told a second time, by a signal or by another process, it stays; a process that is told by when begins with that."""
    before = deadline.until
    deadline.begin(time.monotonic() + 100)
    assert deadline.until == before
    told = Deadline(1.0)
    told.begin(before)
    assert told.until == before


async def test_a_fault_does_not_keep_others_from_ending(deadline: Deadline) -> None:
    """All go on beside each other; the fault is raised when they have ended."""
    ended = asyncio.Event()

    async def slow() -> None:
        await asyncio.sleep(0.01)
        ended.set()

    async def failing() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await deadline.beside(LATER, {"one that fails": failing(), "one that is slow": slow()})
    assert ended.is_set()
    assert not deadline.behind


def test_every_wait_fits_into_its_step() -> None:
    """What has a bound of its own ends by it, before the step's: so a step is cut only where something hangs."""
    assert max(serving.GRACE_S, tiles.GRACE_S, probes.GRACE_S) + serving.LAST_BATCH_S <= LISTENERS.seconds
    assert DOORS.seconds > DRAIN_S + envoy.LAST_DECISIONS_S
    assert DISPATCHES.seconds > reviews.GRACE_S
    assert WORKERS.seconds == DOORS.whole == DOORS.seconds + GIVE_BACK.seconds + RECORD.seconds + CLOSE.whole


@pytest.mark.parametrize("page", ["operations", "kubernetes"])
def test_the_documentation_says_how_long_a_stop_takes(page: str) -> None:
    """The chart is held to it by tests of its own."""
    assert f"{STOP_S:g} seconds" in (DOCS / f"{page}.md").read_text()
    assert f"up to {DRAIN_S:g}" in (DOCS / f"{page}.md").read_text()


def test_the_documentation_says_when_each_step_has_ended() -> None:
    """In the order of the steps."""
    told = re.findall(r"^\| (\d+) s \|", (DOCS / "operations.md").read_text().partition("## Start, stop, drain")[2], re.MULTILINE)
    steps = (LISTENERS, WORKERS, DISPATCHES, LAST_RECORDS, CHECKPOINT, GOODBYES, EXIT)
    assert [int(each) for each in told] == [STOP_S - each.after for each in steps]


def test_systemd_waits_for_the_drain_and_for_the_stop() -> None:
    """As the unit in the documentation has it."""
    unit = (DOCS / "operations.md").read_text()
    (drain,), (whole,) = (re.findall(pattern, unit) for pattern in (r"--wait --timeout (\d+)\"?'?\n", r"TimeoutStopSec=(\d+)"))
    assert int(whole) >= int(drain) + STOP_S
