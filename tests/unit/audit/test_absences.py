"""When nothing ran, as the records of starts and ends have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.audit.questions.absences import absences
from router.audit.questions.periods import Period
from router.audit.questions.query import Query
from router.audit.records.canonical import timestamp
from router.ports import Entry
from tests.unit.audit.test_periods import MINUTE, asked, failed, system

NOW = 100 * MINUTE


def named(minute: float, event: str, name: str, **details: str) -> Entry:
    return system(minute, event, name=name, **details)


def told(found: list[Period]) -> list[tuple[float, float, str, tuple[str, ...]]]:
    return [(one.since_ns / MINUTE, one.until_ns / MINUTE, one.node, one.reasons) for one in found]


def found(folder: Path, *entries: Entry, query: Query | None = None) -> list[tuple[float, float, str, tuple[str, ...]]]:
    with asked(folder, *entries) as trail:
        return told(absences(trail, query or Query(), NOW))


def test_the_time_between_an_end_and_a_start_is_one(tmp_path: Path) -> None:
    """The first start of all tells of nothing."""
    assert found(tmp_path, system(1, "started"), system(2, "stopped"), system(7, "started")) == [(2, 7, "", ("stopped",))]


def test_a_start_that_no_end_comes_before_tells_of_a_crash(tmp_path: Path) -> None:
    """That it went on for longer than until its last record nothing shows."""
    crashed = [(5, 9, "", ("ended_without_stopping",))]
    assert found(tmp_path, system(1, "started"), failed(5), system(9, "started")) == crashed


@pytest.mark.parametrize("event", ["witnessed", "unwitnessed", "key_rotated"])
def test_what_a_start_records_before_itself_is_no_sign_of_life(tmp_path: Path, event: str) -> None:
    """Witnesses are asked, and a key takes over, before it says that it started: a crash would have lasted no time."""
    records = (system(1, "started"), failed(5), system(8.5, event), system(9, "started"))
    assert found(tmp_path, *records) == [(5, 9, "", ("ended_without_stopping",))]


def test_a_node_with_a_name_that_was_alone_went_on_until_its_last_record(tmp_path: Path) -> None:
    """Where another runs, the last record may be that one's."""
    alone = (named(1, "started", "a"), named(2, "started", "b"), named(3, "stopped", "b"), failed(5), named(9, "started", "a"))
    assert found(tmp_path / "alone", *alone) == [(5, 9, "a", ("ended_without_stopping",))]
    with_another = (named(1, "started", "a"), named(2, "started", "b"), failed(5), named(9, "started", "a"))
    assert found(tmp_path / "two", *with_another) == [(9, 9, "a", ("ended_without_stopping",))]


def test_a_node_that_failed_says_what_for(tmp_path: Path) -> None:
    """It is told from one that somebody stopped, and from one that was killed."""
    ended = system(2, "stopped", failed="config_invalid")
    assert found(tmp_path, system(1, "started"), ended, system(7, "started")) == [(2, 7, "", ("stopped", "config_invalid"))]


def test_a_start_of_one_node_is_no_crash_of_another(tmp_path: Path) -> None:
    """Each has its own ends and starts, and they may be away at the same time."""
    records = (
        *(named(1, "started", "a"), named(2, "started", "b"), named(3, "stopped", "a"), named(4, "stopped", "b")),
        *(named(5, "started", "a"), named(6, "started", "b"), named(8, "started", "a")),
    )
    assert found(tmp_path, *records) == [(3, 5, "a", ("stopped",)), (4, 6, "b", ("stopped",)), (8, 8, "a", ("ended_without_stopping",))]


def test_the_first_start_with_a_name_follows_on_what_had_none(tmp_path: Path) -> None:
    """A node of an earlier release ended, and starts as one of this. The second node's first start follows on nothing."""
    records = (system(1, "started"), system(2, "stopped"), named(5, "started", "a"), named(6, "started", "b"))
    assert found(tmp_path, *records) == [(2, 5, "a", ("stopped",))]


def test_what_nobody_started_again_is_away_until_now(tmp_path: Path) -> None:
    """It was told only once there was a start."""
    assert found(tmp_path, system(1, "started"), system(2, "stopped")) == [(2, 100, "", ("stopped", "not_started_again"))]


@pytest.mark.parametrize(
    "records",
    [
        (named(1, "started", "a"), named(2, "started", "b"), named(3, "stopped", "a")),
        (system(1, "started"), system(2, "stopped"), failed(3)),
    ],
    ids=["another node runs", "something is decided"],
)
def test_while_another_one_goes_on_nobody_is_away(tmp_path: Path, records: tuple[Entry, ...]) -> None:
    """Nodes that come in another's place have names of their own, and the other one never starts again."""
    assert found(tmp_path, *records) == []


@pytest.mark.parametrize(("since", "until", "count"), [(None, 2, 0), (None, 3, 1), (3, None, 1), (3, 4, 1), (7, None, 1), (8, None, 0)])
def test_one_that_reaches_into_the_time_that_is_asked_about_is_told(
    tmp_path: Path, since: int | None, until: int | None, count: int
) -> None:
    """With its whole length: its end or its start may lie outside."""
    times = {name: None if at is None else timestamp(at * MINUTE) for name, at in (("since", since), ("until", until))}
    records = (system(1, "started"), system(2, "stopped"), system(7, "started"))
    assert found(tmp_path, *records, query=Query(**times)) == [(2, 7, "", ("stopped",))] * count


def test_a_clock_that_was_set_back_makes_no_time_that_ends_before_it_begins(tmp_path: Path) -> None:
    records = (system(1, "started"), system(9, "stopped"), system(7, "started"), failed(8), system(6, "started"))
    assert [one[:2] for one in found(tmp_path, *records)] == [(6, 6), (7, 9)]


def lost(minute: float, name: str, seen: float) -> Entry:
    return named(minute, "node_lost", name, node="id", started=timestamp(0), seen=timestamp(round(seen * MINUTE)))


def test_a_node_that_was_lost_is_away_since_it_was_heard_of_last(tmp_path: Path) -> None:
    """Until it starts again under its name; a pod that another took the place of never does, and then until that was seen."""
    begin = (named(1, "started", "a"), named(2, "started", "b"), lost(5, "b", 3.5))
    never = ("ended_without_stopping", "not_started_again")
    assert found(tmp_path / "never", *begin, named(6, "started", "c")) == [(3.5, 5, "b", never)]
    again = [(3.5, 9, "b", ("ended_without_stopping",))]
    assert found(tmp_path / "again", *begin, named(9, "started", "b")) == again
    assert found(tmp_path / "twice", *begin, lost(5.5, "b", 4), named(9, "started", "b")) == again


def test_a_node_that_stood_still_was_away_until_it_was_back(tmp_path: Path) -> None:
    """It ended in order later, which is told as ever."""
    records = (named(1, "started", "a"), named(2, "started", "b"), lost(5, "b", 3.5), named(7, "node_back", "b"), named(8, "stopped", "b"))
    assert found(tmp_path, *records, named(9, "started", "b")) == [(3.5, 7, "b", ("not_heard_of",)), (8, 9, "b", ("stopped",))]


def test_one_that_ended_in_order_before_it_could_say_that_it_is_back_was_away(tmp_path: Path) -> None:
    """Its ledger was away until then, say, or it was ended as soon as it went on."""
    records = (named(1, "started", "a"), named(2, "started", "b"), lost(5, "b", 3.5), named(8, "stopped", "b"))
    assert found(tmp_path, *records, named(9, "started", "b")) == [(3.5, 8, "b", ("not_heard_of",)), (8, 9, "b", ("stopped",))]


def test_what_was_started_again_before_anybody_told_is_not_lost(tmp_path: Path) -> None:
    """The start told of the crash already."""
    records = (named(1, "started", "a"), named(2, "started", "b"), named(4, "started", "b"), lost(5, "b", 3.5), named(6, "stopped", "b"))
    assert found(tmp_path, *records) == [(4, 4, "b", ("ended_without_stopping",))]


def test_a_time_that_cannot_be_read_is_that_of_the_record(tmp_path: Path) -> None:
    """Which a verification reports; who asks is answered."""
    records = (named(1, "started", "a"), named(2, "started", "b"), named(5, "node_lost", "b", seen="soon"))
    assert found(tmp_path, *records) == [(5, 5, "b", ("ended_without_stopping", "not_started_again"))]
