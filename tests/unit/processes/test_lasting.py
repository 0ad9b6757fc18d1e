"""What goes on beside everything else."""

from __future__ import annotations

import asyncio

import pytest

from router.processes.lasting import lasting


async def test_what_ends_unforeseen_is_told_and_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    """Until it returns by itself; each end has its reason in the log."""
    begun = 0

    async def keep() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise ValueError(f"odd {begun}")

    await lasting("the outbox", keep, again_s=0)
    assert begun == 3
    assert [record.getMessage() for record in caplog.records] == ["the outbox ended in a way that nobody foresaw, and begins again"] * 2
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["odd 1", "odd 2"]


async def test_what_waits_for_something_that_others_cancel_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody has cancelled it itself, so that it is to go on."""
    others, begun = asyncio.create_task(asyncio.Event().wait()), 0

    async def keep() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            others.cancel()
            await others

    await lasting("the outbox", keep, again_s=0)
    assert (begun, len(caplog.records)) == (2, 1)


async def test_what_is_cancelled_ends() -> None:
    """As at a stop."""
    going = asyncio.create_task(lasting("the outbox", asyncio.Event().wait))
    await asyncio.sleep(0)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
