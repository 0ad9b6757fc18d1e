"""When the records of a worker go: at once, when its loop has nothing else to do, or after some milliseconds."""

from __future__ import annotations

import asyncio
from functools import partial

from router.processes.sharing import EACH_NS, EMPTY_NS, FEWEST, LONGEST_NS, TURNS, Sharing


class Turns:
    """A clock that moves on by what the next turn of the loop is said to take, and when records were sent: after how many looks."""

    def __init__(self, turns_ns: list[int]) -> None:
        self._turns = turns_ns
        self._now = 0
        self.looks = 0
        self.sent: list[int] = []

    def clock(self) -> int:
        self.looks += 1
        self._now += self._turns.pop(0) if self._turns else 1
        return self._now

    def send(self) -> None:
        self.sent.append(self.looks)


async def sent(at_hand: int, turns_ns: list[int]) -> list[int]:
    """After how many looks at the clock the records went."""
    turns = Turns(turns_ns)
    Sharing(turns.send, partial(int, at_hand), turns.clock).begin()
    for _ in range(len(turns_ns) + TURNS + 2):
        await asyncio.sleep(0)
    return turns.sent


async def test_with_few_requests_at_hand_nothing_waits():
    """Nor does it look at a clock."""
    assert await sent(FEWEST - 1, []) == [0]


async def test_they_go_as_soon_as_the_loop_has_nothing_to_do():
    """The first look is at their coming; then it takes so many turns without work, one after the other."""
    assert await sent(FEWEST, [0]) == [1 + TURNS]
    busy = EMPTY_NS
    assert await sent(16, [0, busy, *[1] * (TURNS - 1), busy]) == [1 + 1 + TURNS - 1 + 1 + TURNS]


async def test_they_do_not_wait_for_ever_while_it_is_busy():
    """Longer where more may come, and never longer than the longest."""
    for at_hand, bound in ((FEWEST, FEWEST * EACH_NS), (16, LONGEST_NS), (1000, LONGEST_NS)):
        turn = 100_000
        assert await sent(at_hand, [0, *[turn] * (bound // turn + 5)]) == [1 + bound // turn]


async def test_one_batch_after_the_other():
    """What it knew of the one before is forgotten."""
    turns = Turns([0, EMPTY_NS])
    sharing = Sharing(turns.send, lambda: 16, turns.clock)
    for _ in range(2):
        sharing.begin()
        for _ in range(TURNS + 4):
            await asyncio.sleep(0)
    assert turns.sent == [2 + TURNS, 2 + TURNS + 1 + TURNS]
