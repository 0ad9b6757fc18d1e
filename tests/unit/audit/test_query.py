from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing as closed_after
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite.index import SqliteIndex
from adapters.sqlite.reader import SqliteReader
from router.audit.questions import query as query_module
from router.audit.questions.index import catch_up
from router.audit.questions.query import Query, Trail
from router.audit.questions.where import WhereError
from router.audit.records.canonical import timestamp
from router.audit.records.record import decision_entry, outcome_entry, review_entry, system_entry
from router.audit.tree.checkpoint import note_checkpoint
from router.audit.tree.merkle import leaf_hash, verify_inclusion
from router.decision import Effect, Level, Outcome, Reason, Result, Risk, Status, Verdict
from router.errors import AuditError
from router.ports import Entry
from tests.unit.audit.ledgers import reader, records_of, run, written
from tests.unit.audit.samples import DECISION, KEY, KEY_ID, OUTCOME, REQUEST, numbered

COUNT = 30


OPEN: list[SqliteReader] = []


def opened(folder: Path) -> SqliteReader:
    OPEN.append(reader(folder))
    return OPEN[-1]


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def story(number: int) -> list[Entry]:
    """Every third decision is denied, of low confidence, high risk and another subject."""
    if number % 3:
        decision = numbered(number)
        return [decision_entry(decision, b"{}", KEY_ID, KEY), outcome_entry(decision.id, OUTCOME, decision.decided_ns + 1, KEY_ID, KEY)]
    classified = replace(DECISION.classification, status=Status.AMBIGUOUS, intent=None, confidence=0.25, reason="ambiguous")
    denied = numbered(
        number,
        classification=classified,
        verdict=Verdict(Effect.DENY, (Reason("role_missing"), Reason("too_late"))),
        route=None,
        risk=Risk(Level.HIGH, 0.8),
        outcome=Outcome(Result.DENIED, 403, "policy_denied"),
        request=replace(REQUEST, trace=None, subject=replace(REQUEST.subject, tenant="halden")),
    )
    return [decision_entry(denied, b"{}", "other-key", bytes(32))]


def ids(rows: Any) -> list[str | None]:
    return [row.columns["decision_id"] for row in rows]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    records = [system_entry("started", 1), *(entry for number in range(COUNT) for entry in story(number))]
    written(tmp_path, [*records, review_entry(numbered(1).id, "approved", 2, {"quorum": 1}, {"reviewer": "bo"}, "bo-key", KEY)], 7)
    return tmp_path


@pytest.fixture
def trail(folder: Path) -> Iterator[Trail]:
    index = SqliteIndex(folder / "index.sqlite")
    yield Trail(opened(folder), index)
    index.close()


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (Query(kind="decision"), 30),
        (Query(kind="outcome"), 20),
        (Query(kind="system"), 1),
        (Query(kind="review", result="approved"), 1),
        (Query(kind="decision", intent="payment.cancel"), 20),
        (Query(kind="decision", route="payments"), 20),
        (Query(effect="deny"), 10),
        (Query(kind="decision", effect="allow", result="routed"), 20),
        (Query(reason="too_late"), 10),
        (Query(reason="policy_denied", kind="decision"), 10),
        (Query(reason="ambiguous"), 10),
        (Query(reason="role_ok", intent="payment.cancel", kind="decision"), 20),
        (Query(max_confidence=0.5), 10),
        (Query(min_confidence=0.9, max_confidence=0.95, kind="decision"), 20),
        (Query(risk="high"), 10),
        (Query(tenant="halden"), 10),
        (Query(key_id="other-key"), 10),
        (Query(trace_id="a1" * 16, kind="decision"), 20),
        (Query(decision_id=numbered(1).id), 3),
        (Query(since=timestamp(numbered(10).decided_ns), until=timestamp(numbered(12).decided_ns), kind="decision"), 2),
        (Query(intent="payment.cancel", effect="deny"), 0),
        (Query(intent="nothing"), 0),
    ],
)
def test_each_filter_selects_what_it_says(trail: Trail, query: Query, count: int) -> None:
    """Alone and together."""
    assert len(list(trail.find(query))) == count


@pytest.mark.parametrize("newest", [True, False])
def test_pages_cover_everything_once_in_order(trail: Trail, newest: bool) -> None:
    """No cap, no repeat, no gap."""
    seen, cursor = list[int](), None
    while True:
        page = trail.page(Query(kind="decision"), cursor, 7, newest)
        seen += [row.index for row in page.rows]
        cursor = page.cursor
        if cursor is None:
            break
    assert len(seen) == COUNT
    assert seen == sorted(seen, reverse=newest)


def test_an_answer_covers_what_was_committed_a_moment_ago(folder: Path, trail: Trail) -> None:
    """The index catches up before it answers."""
    before = trail.page(Query(kind="decision")).complete
    written(folder, [decision_entry(numbered(900), b"", KEY_ID, KEY)])
    page = trail.page(Query(kind="decision"), limit=1)
    assert (page.complete, ids(page.rows)) == (before + 1, [numbered(900).id])


def test_an_outcome_that_comes_later_reaches_its_decision(folder: Path, trail: Trail) -> None:
    """A decision without an outcome is visible as such until it has one."""
    late = numbered(901)
    written(folder, [decision_entry(late, b"", KEY_ID, KEY)])
    assert next(iter(trail.find(Query(decision_id=late.id)))).columns["result"] is None
    written(folder, [outcome_entry(late.id, Outcome(Result.FAILED, 502, "upstream_error"), 5)])
    decision = next(iter(trail.find(Query(decision_id=late.id, kind="decision"))))
    assert decision.columns["result"] == "failed"
    outcome = next(iter(trail.find(Query(kind="outcome", result="failed"))))
    assert (outcome.columns["intent"], outcome.columns["trace_id"]) == ("payment.cancel", "a1" * 16)


def test_the_index_may_be_deleted_at_any_time(folder: Path, trail: Trail) -> None:
    """It is derived, and is made again."""
    wanted = ids(trail.find(Query()))
    (folder / "other.sqlite").touch()
    fresh = SqliteIndex(folder / "other.sqlite")
    assert ids(Trail(opened(folder), fresh).find(Query())) == wanted
    fresh.close()


def test_an_index_of_another_ledger_is_made_anew(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An index that does not belong to this ledger never answers for it."""
    other = tmp_path_factory.mktemp("other")
    written(other, [system_entry("started", number) for number in range(3)])
    index = SqliteIndex(folder / "index.sqlite")
    assert Trail(opened(folder), index).page(Query()).complete > 3
    rows = list(Trail(opened(other), index).find(Query()))
    assert [row.columns["kind"] for row in rows] == ["system"] * 3
    index.close()


def test_personal_fields_open_with_a_key_and_say_why_not_without(folder: Path) -> None:
    """Opened, sealed, erased or unreadable: never silently empty."""
    index = SqliteIndex(folder / "index.sqlite")
    found = next(iter(Trail(opened(folder), index, {KEY_ID: KEY}.get).find(Query(key_id=KEY_ID, kind="decision"))))
    assert found.sealed == "opened"
    assert found.personal is not None
    assert found.personal["subject"] == "anna.berg@halden.example"
    states = {
        name: next(iter(Trail(opened(folder), index, keys).find(Query(key_id=KEY_ID)))).sealed
        for name, keys in (("sealed", None), ("unreadable", {KEY_ID: bytes(32)}.get))
    }
    assert all(name == state for name, state in states.items())
    assert next(iter(Trail(opened(folder), index).find(Query(kind="system")))).sealed == "none"
    index.close()


def test_only_what_a_record_says_to_be_erased_is(folder: Path) -> None:
    """A key that is not there may have been deleted, or be younger than the copy of the keys. Who asks while it goes knows of the order."""
    index, asked = SqliteIndex(folder / "index.sqlite"), Query(key_id=KEY_ID, kind="decision")
    assert next(iter(Trail(opened(folder), index, lambda _: None).find(asked))).sealed == "unreadable"

    def goes(key_id: str) -> None:
        written(folder, [system_entry("erasure_ordered", 1, {"key_id": key_id, "reason": "gdpr_art_17"})])

    assert next(iter(Trail(opened(folder), index, goes).find(asked))).sealed == "erased"
    index.close()


def test_why_a_key_is_not_there_is_looked_up_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for each of the records that are sealed under it: an older copy of the keys may lack many people's."""
    index, looked = SqliteIndex(folder / "index.sqlite"), list[int]()
    catching_up = catch_up

    def counted(*told: Any) -> int:
        looked.append(1)
        return catching_up(*told)

    monkeypatch.setattr(query_module, "catch_up", counted)
    found = list(Trail(opened(folder), index, lambda _: None).find(Query()))
    index.close()
    keys = [each.columns["key_id"] for each in found if each.sealed == "unreadable"]
    assert (len(keys) > 20, len(looked)) == (True, 1 + len(set(keys)))


def test_show_tells_the_whole_story_with_proofs(folder: Path, trail: Trail) -> None:
    """Decision, outcome and review, each proved to be in the latest checkpoint's tree."""
    records = trail.show(numbered(1).id)
    assert [proven.found.columns["kind"] for proven in records] == ["decision", "outcome", "review"]
    leaves = records_of(folder)
    for proven in records:
        assert proven.checkpoint is not None
        tree, at = note_checkpoint(proven.checkpoint), proven.found.index
        assert verify_inclusion(leaf_hash(leaves[at][0]), at, tree.size, proven.proof, tree.root)


def test_show_of_an_unknown_decision_is_one_sentence(trail: Trail) -> None:
    """Nothing is made up."""
    with pytest.raises(AuditError, match="holds no decision, trace or request nobody"):
        trail.show("nobody")


def test_a_damaged_record_is_findable_and_does_not_stop_the_index(folder: Path, trail: Trail) -> None:
    """Verification reports it; questions about the others still get answers."""
    run(folder, 'UPDATE records SET leaf = \'{"schema":"lockgate.decision.v1"}\' WHERE idx = 5')
    assert len(list(trail.find(Query(kind="unreadable")))) == 1
    assert len(list(trail.find(Query(kind="decision")))) >= COUNT - 1


def test_two_readers_of_one_trail_agree(folder: Path) -> None:
    """Whoever catches up first, and however much was appended between."""
    indexes = [SqliteIndex(folder / "index.sqlite") for _ in range(2)]
    trails = [Trail(opened(folder), index) for index in indexes]
    for number in range(950, 956):
        written(folder, [decision_entry(numbered(number), b"", KEY_ID, KEY)])
        first, second = trails if number % 2 else trails[::-1]
        assert first.page(Query(kind="decision"), limit=1).complete == second.page(Query(kind="decision"), limit=1).complete
    found = [ids(trail.find(Query(kind="decision"))) for trail in trails]
    assert found[0] == found[1]
    assert len(found[0]) == COUNT + 6
    for index in indexes:
        index.close()


def test_unknown_columns_and_operators_are_refused(folder: Path) -> None:
    """The index answers for its own columns only."""
    index = SqliteIndex(folder / "index.sqlite")
    for asked in (("idx; DROP TABLE entries", "=", 1), ("intent", "LIKE", "x")):
        with pytest.raises(ValueError, match="unknown"):
            index.find([asked], None, True, 1)
    index.close()


def test_confidences_are_counted_in_equal_steps_by_a_word(trail: Trail) -> None:
    """Each record with a confidence once, 1.0 in the last step; a column that is no single word is refused."""
    found = trail.distribution(Query(kind="decision"), "effect", 4)
    expected: dict[Any, list[int]] = {}
    for row in trail.find(Query(kind="decision")):
        if row.columns["confidence"] is not None:
            steps = expected.setdefault(row.columns["effect"], [0] * 4)
            steps[min(3, int(row.columns["confidence"] * 4))] += 1
    assert found.counts == expected
    assert found.count == sum(map(sum, expected.values())) > 0
    assert found.document()["groups"][0].keys() == {"effect", "counts"}
    for column in ("reason", "confidence", "colour"):
        with pytest.raises(WhereError, match=column):
            trail.distribution(Query(), column, 4)


def test_a_record_that_is_no_json_is_named(tmp_path: Path) -> None:
    """It is in the index as unreadable, and whoever asks for it is told to verify."""
    written(tmp_path, [system_entry("started", 1, {})])
    run(tmp_path, "UPDATE records SET leaf = x'7b' WHERE idx = 0")
    with closed_after(SqliteIndex(tmp_path / "index.sqlite")) as index, pytest.raises(AuditError) as refused:
        Trail(opened(tmp_path), index).leaf(0)
    assert refused.value.code == "audit_record_damaged"
