"""What pages and rounds ask of files that grow for years: by an index, and bounded, whatever they have gathered."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapters.sqlite.connection import StandardConnection
from adapters.sqlite.ledger import SqliteStore
from adapters.sqlite.lessons import LessonFile
from adapters.sqlite.reviews import ReviewFile
from router.review.state import OPEN, State
from tests.contract.test_lesson_stores import LESSON
from tests.contract.test_review_stores import HELD_STEP, held, step


class Planned(StandardConnection):
    """Notes how SQLite goes about each statement."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.plans: dict[str, list[str]] = {}

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        if re.match(r"(SELECT|UPDATE|DELETE)\b", sql):
            self.plans[sql] = [row[3] for row in super().execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
        return super().execute(sql, parameters)

    def scanned(self) -> dict[str, list[str]]:
        """Statements that look at every row of a table."""
        whole = re.compile(r"SCAN (?!\(|SUBQUERY|\w+ USING (COVERING )?INDEX)\w+")
        return {sql: plan for sql, plan in self.plans.items() if any(whole.match(each) for each in plan)}


def test_the_plan_of_a_statement_without_an_index_is_noticed(tmp_path: Path) -> None:
    """Else the tests below could not fail."""
    connection = Planned(tmp_path / "file.sqlite")
    connection.execute("CREATE TABLE reviews (place INTEGER PRIMARY KEY, state TEXT)")
    connection.execute("SELECT place FROM reviews WHERE state = ?", ("pending",))
    connection.execute("SELECT place FROM reviews WHERE place > ?", (1,))
    assert list(connection.scanned()) == ["SELECT place FROM reviews WHERE state = ?"]
    connection.close()


def test_held_requests_that_wait_are_found_behind_all_that_ended(tmp_path: Path) -> None:
    """The inbox, the rounds of every few seconds and the count of who waits; pages are the same as they were."""
    made: list[Planned] = []

    def connect(path: Path) -> Planned:
        made.append(Planned(path))
        return made[-1]

    file = ReviewFile(tmp_path / "reviews.sqlite", connect)
    file.open()
    made[0].plans.clear()
    for number in range(60):
        file.add(held(f"d{number}"), HELD_STEP, 100)
        if number % 10:
            file.change(f"d{number}", 1, step("rejected", after="rejected"), True, b"answer" if number % 2 else b"", None, 100)
    assert [review.held.decision_id for _, review in file.page(OPEN, 0, 4, None)] == ["d0", "d10", "d20", "d30"]
    after = file.page(OPEN, 0, 4, None)[-1][0]
    assert [review.held.decision_id for _, review in file.page(OPEN, after, 4, None)] == ["d40", "d50"]
    assert [review.held.decision_id for _, review in file.page((State.REJECTED, State.PENDING), 0, 3, None)] == ["d0", "d1", "d2"]
    assert len(file.page((), 0, 100, "h\ud800lden")) == 60
    assert (file.page(OPEN, 0, 4, "lund"), file.count(OPEN), len(file.due(100, OPEN))) == ([], 6, 6)
    assert len(file.stepped(("rejected", "approved"), 20, "d3", 21, 7, "h\ud800lden")) == 7
    file.versions(["d1", "d2"])
    file.unrecorded()
    file.recorded("d1", 1)
    assert file.get("d1") is not None
    assert file.forget_replies("rejected", 21) == 30
    (connection,) = made
    assert connection.scanned() == {}
    assert any("history_taken" in each for sql, plan in connection.plans.items() if "(at_ns, id) >" in sql for each in plan)
    by_state = [plan for sql, plan in connection.plans.items() if "place IN" in sql]
    assert len(by_state) == 3
    assert all(any("reviews_place (state=? AND place>?" in each.replace("rowid", "place") for each in plan) for plan in by_state), by_state
    file.close()


def test_a_start_looks_for_orders_of_the_release_before_by_indexes(tmp_path: Path) -> None:
    """What waits without an order is not looked at."""
    made: list[Planned] = []

    def connect(path: Path) -> Planned:
        made.append(Planned(path))
        return made[-1]

    store = SqliteStore(tmp_path / "ledger.sqlite", connect)
    store.open("ledger.test")
    made[0].plans.clear()
    assert store.rename_lanes(bytes.upper) == 0
    (connection,) = made
    assert connection.scanned() == {}
    (plan,) = connection.plans.values()
    assert any("INDEX deliveries_lane" in each for each in plan), plan
    assert any("INDEX deliveries_ready (dead=?)" in each for each in plan), plan
    store.close()


def test_what_was_touched_is_found_behind_all_that_was_not(tmp_path: Path) -> None:
    """As who leads people asks for it, with its texts."""
    made: list[Planned] = []

    def connect(path: Path) -> Planned:
        made.append(Planned(path))
        return made[-1]

    file = LessonFile(tmp_path / "learning.sqlite", connect)
    file.open()
    made[0].plans.clear()
    for number in range(60):
        file.put(replace(LESSON, id=f"p{number}", touched_ns=number if number > 57 else 0), [], "", 0)
    assert [lesson.texts for _, lesson in file.touched("proposal", 1, 0, 9)] == [LESSON.texts] * 2
    (connection,) = made
    assert connection.scanned() == {}
    (plan,) = [plan for sql, plan in connection.plans.items() if "touched_ns" in sql and sql.startswith("SELECT")]
    assert any("lessons_touched (kind=? AND touched_ns>?" in each for each in plan), plan
    file.close()
