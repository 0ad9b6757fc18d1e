from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite.index import SqliteIndex
from router.audit.copies.reconcile import Mismatch, Reconciliation
from router.audit.records.canonical import timestamp
from router.audit.records.record import decision_entry, evidence_entry, outcome_entry, review_entry, system_entry
from router.decision import Effect, Outcome, Result, Verdict
from router.ports import Entry
from tests.unit.audit.ledgers import reader, written
from tests.unit.audit.samples import KEY, KEY_ID, OUTCOME, numbered

SECOND = 1_000_000_000
START = numbered(0).decided_ns
LATER = START + 86_400 * SECOND
WITHIN = {"payments": 3600.0}


def decision(number: int = 1, result: Result | None = None, door: str = "gateway", effect: Effect = Effect.ALLOW) -> Entry:
    made = numbered(number, outcome=None if result is None else Outcome(result, 403), verdict=Verdict(effect))
    return decision_entry(replace(made, request=replace(made.request, door=door)), b"{}", KEY_ID, KEY)


def outcome(number: int = 1, at: int = 5, told: Outcome = OUTCOME) -> Entry:
    return outcome_entry(numbered(number).id, told, START + at * SECOND, KEY_ID, KEY)


def review(event: str, number: int = 1, at: int = 3) -> Entry:
    return review_entry(numbered(number).id, event, START + at * SECOND)


def evidence(number: int = 1, phase: str = "completed", at: int = 10, event: str = "e", reference: str = "decision") -> Entry:
    details = {"phase": phase, "reference": reference, "destination": None, "sender": "abcd1234"}
    return evidence_entry(numbered(number).id, START + at * SECOND, details, {"source": "s", "event_id": event}, KEY_ID, KEY)


def found(folder: Path, records: Sequence[Entry], rows: int = 1000, **settings: Any) -> list[Mismatch]:
    written(folder, records)
    told = {"promises": None, "now_ns": LATER, **settings}
    with closing(reader(folder)) as source, closing(SqliteIndex(folder / "index.sqlite")) as index:
        reconciliation = Reconciliation(source, index, **told)
        all_found, after = list[Mismatch](), None
        while True:
            scan = reconciliation.scan(after, rows)
            all_found += scan.found
            after = scan.after
            if after is None:
                assert scan.complete == len(records)
                return all_found


def kinds(folder: Path, records: Sequence[Entry], **settings: Any) -> list[tuple[str, int]]:
    return [(one.kind, one.index) for one in found(folder, records, **settings)]


HELD = decision(1, Result.HELD, effect=Effect.REVIEW)
DENIED = Outcome(Result.DENIED, 403, "review_rejected")


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([system_entry("started", 1), decision(), outcome(), evidence()], []),
        ([decision(), evidence(at=2), outcome()], []),
        ([decision()], [("outcome_missing", 0)]),
        ([decision(door="decide"), evidence()], []),
        ([decision(door="decide", effect=Effect.DENY), evidence()], [("evidence_unauthorised", 1)]),
        ([decision(1, Result.DENIED)], []),
        ([outcome()], [("outcome_orphan", 0)]),
        ([evidence()], [("evidence_orphan", 0)]),
        ([decision(1, Result.DENIED), evidence()], [("evidence_unauthorised", 1)]),
        ([decision(1, Result.ABSTAINED), evidence()], [("evidence_unauthorised", 1)]),
        ([decision(), outcome(told=Outcome(Result.FAILED, 502)), evidence(phase="failed")], []),
        ([HELD, review("held"), evidence()], [("evidence_unauthorised", 2)]),
        ([HELD, review("held"), review("rejected"), outcome(told=DENIED), evidence()], [("evidence_unauthorised", 4)]),
        ([HELD, review("held"), review("expired"), outcome(told=DENIED), evidence()], [("evidence_unauthorised", 4)]),
        ([HELD, review("held"), review("approved"), review("dispatched"), evidence(), outcome()], []),
        ([HELD, review("held"), evidence(), review("approved"), review("dispatched"), outcome()], [("evidence_unauthorised", 2)]),
        ([decision(), decision(), outcome()], [("decision_repeated", 1)]),
        ([decision(), *[outcome()] * 2], [("record_repeated", 2)]),
        ([decision(), outcome(), outcome(at=6)], [("outcome_repeated", 2)]),
        ([HELD, *[review("held")] * 2], [("record_repeated", 2)]),
        ([decision(), outcome(), evidence(), evidence(at=11)], [("record_repeated", 3)]),
        ([decision(), outcome(), evidence(), evidence(at=11, event="f")], []),
    ],
)
def test_what_does_not_fit_is_found(tmp_path: Path, records: list[Entry], expected: list[tuple[str, int]]) -> None:
    """Each kind, at the record that shows it, and nothing where all fits; however small the steps are."""
    assert kinds(tmp_path / "whole", records) == expected
    assert kinds(tmp_path / "steps", records, rows=1) == expected


def test_what_was_just_decided_is_not_missed(tmp_path: Path) -> None:
    """Within the grace an outcome may still come."""
    assert kinds(tmp_path, [decision()], now_ns=START + 600 * SECOND, grace=700) == []


@pytest.mark.parametrize(
    ("records", "now", "expected"),
    [
        ([decision(), outcome()], 86_400, [("evidence_missing", 0)]),
        ([decision(), outcome()], 3_000, []),
        ([decision(), outcome(), evidence(phase="started")], 86_400, [("evidence_missing", 0)]),
        ([decision(), outcome(), evidence(phase="failed")], 86_400, []),
        ([decision(), outcome(), evidence(phase="reported", at=3_605)], 86_400, []),
        ([decision(), outcome(), evidence(at=3_606)], 86_400, [("evidence_late", 0)]),
        ([decision(1, Result.DENIED)], 86_400, []),
        ([decision(), outcome(told=Outcome(Result.FAILED, 502))], 86_400, []),
    ],
)
def test_promised_evidence_is_missed(tmp_path: Path, records: list[Entry], now: int, expected: list[tuple[str, int]]) -> None:
    """Of how it ended, from the outcome on, within the time that the route's service has."""
    assert kinds(tmp_path, records, promises=WITHIN, now_ns=START + now * SECOND) == expected
    assert kinds(tmp_path / "unpromised", records, promises={"other": 1.0}, now_ns=START + now * SECOND) == []


def test_an_outcome_is_found_however_far_from_its_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no longer remembered is looked up."""
    monkeypatch.setattr("router.audit.copies.reconcile.RECENT", 1)
    records = [*(decision(number) for number in range(5)), *(outcome(number) for number in range(5))]
    assert kinds(tmp_path, records) == []


class Counting:
    """Passes everything on, and counts what `records` and `find` give."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name) if name not in ("records", "find") else partial(self._counted, name)

    def _counted(self, name: str, *asked: Any) -> Any:
        given = list(getattr(self._inner, name)(*asked))
        self.count += len(given)
        return iter(given) if name == "records" else given


@pytest.mark.parametrize("rows", [1000, 20])
@pytest.mark.parametrize(
    ("first", "repeated"),
    [
        ([decision(), outcome()], lambda number: evidence(at=10 + number, event=f"e{number}")),
        ([HELD, review("held")], lambda number: review("claimed", at=10 + number)),
        ([HELD, review("held")], lambda number: outcome(at=10 + number)),
    ],
    ids=["evidence", "reviews", "outcomes"],
)
def test_what_is_read_grows_no_faster_than_what_there_is(tmp_path: Path, first: list[Entry], repeated: Any, rows: int) -> None:
    """Also where all of it is about one decision, beside others, and however small the steps are."""

    def asked(count: int) -> int:
        others = [entry for number in range(count) for entry in (decision(100 + number), outcome(100 + number))]
        written(tmp_path / f"{count}", [*first, *(repeated(number) for number in range(count)), *others])
        with closing(reader(tmp_path / f"{count}")) as file, closing(SqliteIndex(tmp_path / f"{count}.sqlite")) as lines:
            source, index = Counting(file), Counting(lines)
            reconciliation, after = Reconciliation(source, index, None, LATER), None
            while (after := reconciliation.scan(after, rows).after) is not None:
                pass
        return source.count + index.count

    assert asked(200) < 5 * asked(50)


def test_what_is_kept_of_decisions_is_bounded_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence about many decisions in turns, whose stories are not all kept."""
    monkeypatch.setattr("router.audit.copies.reconcile.STORIES", 7)
    numbers = [*range(6)] * 2
    records = [*(decision(number) for number in range(6)), *(outcome(number) for number in range(6))]
    records += [evidence(number, at=10 + place) for place, number in enumerate(numbers)]
    assert kinds(tmp_path, records) == [("record_repeated", index) for index in range(18, 24)]


def test_what_comes_between_two_steps_is_taken_into_account(tmp_path: Path) -> None:
    """A decision whose story is kept goes on meanwhile."""
    records = [HELD, review("held"), evidence(at=7), review("dispatched", at=8), evidence(at=9), evidence(at=10, event="f")]
    written(tmp_path, records[:3])
    with closing(reader(tmp_path)) as source, closing(SqliteIndex(tmp_path / "index.sqlite")) as index:
        reconciliation = Reconciliation(source, index, None, LATER)
        first = reconciliation.scan(None, 3)
        written(tmp_path, records[3:])
        second = reconciliation.scan(first.after, 10)
    assert [(one.kind, one.index) for one in (*first.found, *second.found)] == [("evidence_unauthorised", 2), ("record_repeated", 4)]


def test_a_finding_says_how_to_look_at_it(tmp_path: Path) -> None:
    """With the command that shows all of the decision."""
    (one,) = found(tmp_path, [evidence()])
    assert one.query == f"lockgate audit show {numbered(1).id}"
    assert one.time == timestamp(START + 10 * SECOND)


def test_a_time_bounds_what_is_looked_at(tmp_path: Path) -> None:
    """Records before it are not reported on, and still known."""
    records = [decision(1), decision(2), outcome(2, at=50), evidence(3, at=60)]
    assert kinds(tmp_path, records, since=timestamp(START + 40 * SECOND)) == [("evidence_orphan", 3)]


def test_a_service_may_work_from_the_release_on(tmp_path: Path) -> None:
    """What a service asked about and people approved: evidence before the release is of work that nobody let it do."""
    held = decision(result=Result.HELD, door="decide", effect=Effect.REVIEW)
    steps = [held, review("held"), review("approved"), review("released", at=8)]
    assert kinds(tmp_path / "after", [*steps, evidence()]) == []
    assert kinds(tmp_path / "before", [*steps[:3], evidence(at=7), steps[3]]) == [("evidence_unauthorised", 3)]
