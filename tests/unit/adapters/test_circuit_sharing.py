"""Processes that hear of each other's circuits, on one board, by one clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from adapters.http_upstream.circuit import Circuit
from adapters.http_upstream.outliers import OutlierLimits, Outliers
from adapters.http_upstream.sharing import CircuitSharing, SharedCircuit, SharedEjection
from adapters.local_circuits import LocalCircuits
from router.errors import StateError
from router.ports import CircuitBoard, Posted, Telling, Told
from tests.unit.identity.parts import HandClock

OPEN_S = 10.0


class Half:
    """Not random at all."""

    def random(self) -> float:
        return 0.5


class Observed:
    def __init__(self) -> None:
        self.results: list[str] = []

    def circuit_shared(self, result: str) -> None:
        self.results.append(result)


class Breaking:
    """A board that can be away."""

    def __init__(self, board: CircuitBoard) -> None:
        self.board = board
        self.away = False

    async def exchange(self, who: str, tellings: Sequence[Telling], names: Sequence[str]) -> Mapping[str, Posted]:
        if self.away:
            raise StateError("It is away.", "shared_state_unavailable")
        return await self.board.exchange(who, tellings, names)


class Process:
    def __init__(self, board: CircuitBoard, clock: HandClock) -> None:
        self.circuit = Circuit(3, OPEN_S)
        self.outliers = Outliers(2, OutlierLimits(3, 0.5, 10, 10.0, 30.0, 70.0, 0.5))
        self.seen = Observed()
        self.now = lambda: clock.monotonic_ns() / 1e9
        self.board = Breaking(board)
        shared = [SharedCircuit("d u", self.circuit, Half()), SharedEjection("d u", 0, self.outliers)]
        self.sharing = CircuitSharing(self.board, shared, 1.0, self.now, self.seen)

    @property
    def allows(self) -> bool:
        return self.circuit.allows(self.now())

    def fail(self, times: int = 3) -> None:
        for _ in range(times):
            self.circuit.enter()
            self.circuit.failed(self.now())


@pytest.fixture
def clock() -> HandClock:
    return HandClock(1_000_000_000_000)


@pytest.fixture
def three(clock: HandClock) -> list[Process]:
    board = LocalCircuits(clock)
    return [Process(board, clock) for _ in range(3)]


async def exchange(processes: Sequence[Process]) -> None:
    for each in processes:
        await each.sharing.exchange()


async def test_what_one_sees_all_know_after_one_turn_each(three: list[Process]) -> None:
    """They leave it alone without a failure of their own, and tell nobody of what they only heard."""
    three[0].fail()
    await exchange(three)
    assert [each.allows for each in three] == [False] * 3
    await exchange(three)
    assert [each.seen.results for each in three] == [["told_open"], ["heard_open"], ["heard_open"]]


async def test_one_probes_for_all(three: list[Process], clock: HandClock) -> None:
    """When the time is over, who opened it may ask; the others wait for what it hears, and a good answer closes all."""
    three[0].fail()
    await exchange(three)
    clock.forward(OPEN_S)
    assert [each.allows for each in three] == [True, False, False]
    three[0].circuit.enter()
    three[0].circuit.answered()
    await exchange(three)
    assert [each.allows for each in three] == [True] * 3
    assert three[1].seen.results == ["heard_open", "heard_closed"]


async def test_a_turn_is_taken_over_where_nothing_is_heard(three: list[Process], clock: HandClock) -> None:
    """Who opened it is gone, or cannot reach the upstream at all: after a while another asks, and it is its turn then."""
    three[0].fail()
    await exchange(three)
    clock.forward(1.5 * OPEN_S + 0.1)
    assert [each.allows for each in three[1:]] == [True, True]
    three[1].circuit.enter()
    await exchange(three)
    assert [each.allows for each in three[1:]] == [False, False]
    three[1].circuit.failed(three[1].now())
    await exchange(three)
    clock.forward(OPEN_S)
    assert [each.allows for each in three[1:]] == [True, False]


async def test_nobodys_word_holds_for_ever(three: list[Process], clock: HandClock) -> None:
    """A process that cannot reach the upstream at all fails at each probe; the others find out that it is there, and doubt that one for a
    while."""
    three[0].fail()
    await exchange(three)
    waited = 0.0
    while not three[1].allows:
        assert waited < 2 * OPEN_S
        if three[0].allows:
            three[0].fail(1)
        await exchange(three)
        clock.forward(1)
        waited += 1
    three[1].circuit.enter()
    three[1].circuit.answered()
    await exchange(three[1:])
    assert [each.allows for each in three[1:]] == [True, True]
    await exchange(three)
    three[0].fail()
    await exchange(three)
    assert three[1].allows
    assert three[1].seen.results[-1] == "doubted"
    clock.forward(4 * OPEN_S)
    three[0].circuit.succeeded()
    three[0].fail()
    await exchange(three)
    assert not three[1].allows


async def test_a_good_answer_here_outweighs_what_was_heard(three: list[Process]) -> None:
    """A request that was under way ended well: the upstream is asked again here, and the others are told nothing."""
    three[0].fail()
    await exchange(three)
    three[1].circuit.succeeded()
    await exchange(three)
    assert [each.allows for each in three] == [False, True, False]
    assert "told_closed" not in three[1].seen.results


async def test_who_hears_nothing_keeps_its_own(three: list[Process], clock: HandClock) -> None:
    """What was heard ends at its time, and is then probed without waiting for others; what is seen here opens, and is told later."""
    three[0].fail()
    await exchange(three)
    for each in three:
        each.board.away = True
    await exchange(three)
    assert [each.allows for each in three] == [False] * 3
    clock.forward(OPEN_S)
    assert [each.allows for each in three] == [True] * 3
    three[1].circuit.enter()
    three[1].circuit.answered()
    three[1].fail()
    assert not three[1].allows
    assert three[2].allows
    for each in three:
        each.board.away = False
    await exchange(three[1:])
    assert not three[2].allows
    assert three[0].seen.results == ["told_open", "shared_state_unavailable"]


async def test_a_board_that_forgot_changes_nothing(three: list[Process], clock: HandClock) -> None:
    """Circuits go on as they are."""
    three[0].fail()
    await exchange(three)
    empty = LocalCircuits(clock)
    for each in three:
        each.board.board = empty
    await exchange(three)
    assert [each.allows for each in three] == [False] * 3
    clock.forward(2 * OPEN_S)
    assert [each.allows for each in three] == [True] * 3


async def test_nobody_is_kept_away_for_longer_than_a_circuit_is_open(three: list[Process], clock: HandClock) -> None:
    """Whoever writes to the board: a year is ten seconds, and a while."""
    await three[0].board.board.exchange("somebody", [Telling("circuit d u", Told.OPEN, 3e7)], [])
    await exchange(three[1:])
    assert not three[1].allows
    clock.forward(1.5 * OPEN_S)
    assert three[1].allows


async def test_ejections_are_heard(three: list[Process], clock: HandClock) -> None:
    """For their time, and by nobody twice; of two upstreams one always stays."""
    for _ in range(3):
        three[0].outliers.note(0, True, three[0].now())
    three[2].outliers.note(1, True, three[2].now())
    for _ in range(2):
        three[2].outliers.note(1, True, three[2].now())
    await exchange(three)
    await exchange(three)
    assert [each.outliers.out(0, each.now()) for each in three] == [True, True, False]
    assert three[1].seen.results == ["heard_open"]
    clock.forward(30)
    assert not three[1].outliers.out(0, three[1].now())
