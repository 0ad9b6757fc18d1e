"""Bodies on their way in are bounded by what came of them, and whoever keeps one back is in nobody's way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from router.doors.events.arriving import BODIES, SHARE, Arriving
from router.errors import RefusedError

LONGEST = 100


class Sending:
    """A sender in the middle of a body: sends what it is told to, until it is told that this is all."""

    def __init__(self, arriving: Arriving, sender: str) -> None:
        self._messages = asyncio.Queue[dict[str, Any]]()
        self._came = asyncio.Queue[None]()
        self._task = asyncio.create_task(self._sent(arriving, sender))

    def begin(self, size: int = LONGEST, *, more: bool = True) -> None:
        self._messages.put_nowait({"type": "http.request", "body": bytes(size), "more_body": more})

    async def send(self, size: int = LONGEST, *, more: bool = True) -> None:
        """Returns once it was taken, and whoever has to give way to it did."""
        self.begin(size, more=more)
        await self._came.get()
        for _ in range(4):
            await asyncio.sleep(0)

    async def _sent(self, arriving: Arriving, sender: str) -> None:
        async with arriving.body(sender, self._messages.get, LONGEST) as receive:
            while True:
                message = await receive()
                self._came.put_nowait(None)
                if not message["more_body"]:
                    return

    @property
    def under_way(self) -> bool:
        return not self._task.done()

    async def ended(self) -> RefusedError | None:
        found = (await asyncio.gather(self._task, return_exceptions=True))[0]
        assert found is None or isinstance(found, RefusedError)
        return found

    async def leave(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


async def filled(arriving: Arriving, senders: int) -> list[Sending]:
    """As many bodies of the longest as there is room for, each kept back before its end."""
    made = [Sending(arriving, str(number % senders)) for number in range(BODIES)]
    for each in made:
        await each.send()
    return made


async def test_whoever_began_first_gives_way_where_there_is_no_room() -> None:
    """It is told to try again; nobody else notices, and the next one has its body taken."""
    arriving = Arriving()
    kept_back = await filled(arriving, BODIES)
    assert arriving.size == BODIES * LONGEST
    assert all(each.under_way for each in kept_back)
    other = Sending(arriving, "other")
    await other.send(LONGEST - 1)
    assert [each.under_way for each in kept_back] == [False, *[True] * (BODIES - 1)]
    refused = await kept_back[0].ended()
    assert refused is not None
    assert (refused.status, refused.code, refused.retry_after) == (503, "overloaded", 1)
    await other.send(1, more=False)
    assert await other.ended() is None
    assert arriving.size == (BODIES - 1) * LONGEST


async def test_what_still_comes_to_one_that_gives_way_counts_no_more() -> None:
    """Nor is it taken off twice."""
    arriving = Arriving()
    kept_back = await filled(arriving, BODIES)
    other = Sending(arriving, "other")
    await other.send(0)
    other.begin()
    kept_back[0].begin(1)
    assert await kept_back[0].ended() is not None
    assert arriving.size == BODIES * LONGEST


async def test_a_sender_has_a_share_of_the_room_and_beyond_it_is_in_its_own_way() -> None:
    """However long another one has been there."""
    arriving = Arriving()
    eldest = Sending(arriving, "other")
    await eldest.send()
    own = [Sending(arriving, "one") for _ in range(BODIES // SHARE + 1)]
    for each in own:
        await each.send()
    assert [each.under_way for each in (eldest, *own)] == [True, False, *[True] * (BODIES // SHARE)]


async def test_who_sends_nothing_takes_no_room_and_gives_way_to_nobody() -> None:
    """There is nothing to be had from it."""
    arriving = Arriving()
    silent = [Sending(arriving, "silent") for _ in range(BODIES)]
    for each in silent:
        await each.send(0)
    await filled(arriving, BODIES)
    await Sending(arriving, "other").send()
    assert all(each.under_way for each in silent)


@pytest.mark.parametrize("end", ["whole", "cancelled"])
async def test_what_a_body_took_is_there_for_others_once_it_is_over(end: str) -> None:
    """However it ended."""
    arriving = Arriving()
    for each in await filled(arriving, SHARE):
        await (each.send(0, more=False) if end == "whole" else each.leave())
    assert arriving.size == 0
    assert all(each.under_way for each in await filled(arriving, SHARE))


async def test_a_time_that_is_up_is_no_giving_way() -> None:
    """Whose own time-out it was hears of it."""
    with pytest.raises(TimeoutError):
        async with Arriving().body("one", asyncio.Queue[Any]().get, LONGEST):
            raise TimeoutError
