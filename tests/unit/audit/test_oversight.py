from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.sqlite.index import SqliteIndex
from adapters.sqlite.reader import SqliteReader
from router.audit.questions.oversight import oversight, percentile
from router.audit.questions.query import Query, Trail
from router.audit.questions.reader import Stored
from router.audit.questions.where import where
from tests.unit.docs import asked_ledger
from tests.unit.docs.asked_ledger import BEGIN, HOUR, MINUTE, NS


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trail]:
    ledger = asked_ledger.make(tmp_path_factory.mktemp("asked"))
    reader, index = SqliteReader(ledger.folder / "ledger.sqlite", Stored), SqliteIndex(ledger.folder / "index.sqlite")
    yield Trail(reader, index)
    index.close()
    reader.close()


@pytest.mark.parametrize(
    ("sla", "late", "now", "overdue"),
    [
        (None, 0, BEGIN + 12 * HOUR, 0),  # its own deadline, eight hours after it was held, has not come
        (None, 0, BEGIN + 48 * HOUR, 1),
        (HOUR, 1, BEGIN + 12 * HOUR, 0),
        (30 * MINUTE, 2, BEGIN + 12 * HOUR, 1),
    ],
)
def test_late_is_what_took_longer_than_agreed(trail: Trail, sla: int | None, late: int, now: int, overdue: int) -> None:
    """Without an agreed time only what still waits past its own deadline is."""
    found = oversight(trail, Query(), sla, 10 * NS, now)
    assert sum(person.late for person in found.people) == late
    assert (found.held, found.expired, found.waiting, found.overdue) == (6, 1, 1, overdue)


@pytest.mark.parametrize(("quick", "shares"), [(1, [0.0, 0.0]), (10, [0.0, 0.5]), (3600, [1.0, 1.0])])
def test_the_rubber_stamp_rate_is_that_of_quick_approvals(trail: Trail, quick: int, shares: list[float]) -> None:
    """Of each reviewer's approvals; rejections do not count."""
    found = oversight(trail, Query(), None, quick * NS, BEGIN)
    assert sorted(person.quick_share for person in found.people) == shares


def test_reviews_can_be_narrowed(trail: Trail) -> None:
    """By any column, such as what had been asked for."""
    found = oversight(trail, Query(where=where("event = 'rejected'")), None, NS, BEGIN)
    assert [(person.approved, person.rejected, person.waited) for person in found.people] == [(0, 1, [7200.0])]


def test_percentiles_are_values_that_were_there() -> None:
    """Nearest rank, and none of nothing."""
    assert [percentile([3.0, 1.0, 2.0, 4.0], percent) for percent in (5, 50, 51, 95)] == [1.0, 2.0, 3.0, 4.0]
    assert percentile([], 50) is None
