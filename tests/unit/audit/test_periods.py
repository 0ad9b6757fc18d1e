from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite.index import SqliteIndex
from router.audit.questions.periods import Period, periods
from router.audit.questions.query import Query, Trail
from router.audit.records.canonical import timestamp
from router.audit.records.record import decision_entry, outcome_entry, system_entry
from router.decision import Effect, Outcome, Reason, Result, Verdict
from router.ports import Entry
from router.telemetry.objectives.rules import REFUSALS
from tests.unit.audit.ledgers import reader, written
from tests.unit.audit.samples import DECISION, KEY, KEY_ID

MINUTE = 60 * 10**9


def failed(minute: float, reason: str = "upstream_timeout") -> Entry:
    return outcome_entry("019ab9d0-1111-7000-8000-000000000001", Outcome(Result.FAILED, 504, reason), int(minute * MINUTE))


def system(minute: float, event: str, **details: Any) -> Entry:
    return system_entry(event, int(minute * MINUTE), details)


@contextmanager
def asked(folder: Path, *entries: Entry) -> Iterator[Trail]:
    written(folder, entries)
    index, ledger = SqliteIndex(folder / "index.sqlite"), reader(folder)
    try:
        yield Trail(ledger, index)
    finally:
        index.close()
        ledger.close()


def told(found: list[Period]) -> list[tuple[str, float, float, int]]:
    return [(one.part, one.since_ns / MINUTE, one.until_ns / MINUTE, one.records) for one in found]


def test_signs_close_together_are_one_period(tmp_path: Path) -> None:
    """And those further apart than the gap are two."""
    with asked(tmp_path, failed(1), failed(5), failed(9, "connect_failed"), failed(20)) as trail:
        found = periods(trail, Query(), 5 * MINUTE)
        assert told(found) == [("upstream", 1, 9, 3), ("upstream", 20, 20, 1)]
        assert (found[0].reasons, found[0].how, found[0].first, found[0].last) == (("connect_failed", "upstream_timeout"), "closed", 0, 2)
        assert told(periods(trail, Query(), 11 * MINUTE)) == [("upstream", 1, 20, 4)]


@pytest.mark.parametrize(
    "code",
    [
        *("policy_undefined", "policy_error", "policy_late", "policy_malformed"),
        *("policy_unavailable", "policy_unauthorized", "policy_circuit_open", "policy_stale"),
    ],
)
def test_a_policy_engine_that_gives_no_verdict_is_a_part_that_failed(tmp_path: Path, code: str) -> None:
    """Be it in the process, or a server that is away or a bundle that nobody confirms: everything is denied meanwhile."""
    denied = replace(DECISION, verdict=Verdict(Effect.DENY, (Reason(code, ""),)))
    with asked(tmp_path, decision_entry(denied, b"", KEY_ID, KEY)) as trail:
        found = [one for one in periods(trail, Query(), MINUTE) if one.part == "policy"]
        assert [(one.how, one.reasons) for one in found] == [("closed", (code,))]


@pytest.mark.parametrize(
    ("code", "part"),
    [("review_store_unavailable", "reviews"), ("review_store_closed", "reviews"), ("idempotency_unavailable", "repeats")],
)
def test_a_store_that_is_away_once_it_is_decided_is_a_part_that_failed(tmp_path: Path, code: str, part: str) -> None:
    """Nothing was held, or dispatched, and the outcome says why."""
    refused = Outcome(Result.DENIED, 503, code)
    with asked(tmp_path, outcome_entry("019ab9d0-1111-7000-8000-000000000001", refused, MINUTE)) as trail:
        found = periods(trail, Query(), MINUTE)
        assert [(one.part, one.how, one.reasons) for one in found] == [(part, "closed", (code,))]


def test_whatever_lockgate_could_not_do_itself_is_told_where_it_was_only_counted(tmp_path: Path) -> None:
    """As it is by the objective for requests that are judged."""
    codes = {
        *("overloaded", "starting", "internal", "decision_late", "state_unavailable", "keys_unavailable", "limits_unavailable"),
        *("idempotency_unavailable", "policy_rate_limit_unavailable", "audit_unavailable"),
        *("envoy_source_missing", "envoy_mode_unfit", "envoy_metadata_invalid"),
    }
    assert {code for code in codes if REFUSALS.fullmatch(code)} == codes
    assert REFUSALS.pattern.count("|") + 1 == len(codes)
    with asked(tmp_path, system(1, "refused", **dict.fromkeys(codes, 1), rate_limited=4, idempotency_key_reused=2)) as trail:
        assert {code for one in periods(trail, Query(), MINUTE) for code in one.reasons} == codes


def test_counted_refusals_are_told_by_part(tmp_path: Path) -> None:
    """Those of a failing part with their count; those of a caller, such as a rate limit, are no failure."""
    with asked(
        tmp_path,
        system(1, "refused", audit_disk_full=4, rate_limited=9),
        system(2, "refused", audit_disk_full=1, overloaded=2, limits_unavailable=3),
    ) as trail:
        found = {one.part: one for one in periods(trail, Query(), 5 * MINUTE)}
        assert {part: one.counted for part, one in found.items()} == {"ledger": 5, "load": 2, "limits": 3}
        assert told([found["ledger"]]) == [("ledger", 1, 2, 2)]


@pytest.mark.parametrize(("until", "count"), [(None, 1), (5, 1), (3, 1), (2, 0)])
def test_a_ledger_that_took_nothing_was_away_since_then(tmp_path: Path, until: int | None, count: int) -> None:
    """What it refused is recorded once it is there again, be it after the times that are asked about."""
    asking = Query(until=None if until is None else timestamp(until * MINUTE))
    with asked(tmp_path, failed(1), system(9, "refused", audit_disk_full=4, since=timestamp(2 * MINUTE))) as trail:
        found = [one for one in periods(trail, asking, MINUTE) if one.part == "ledger"]
        assert (told(found), [one.counted for one in found]) == ([("ledger", 2, 9, 1)] * count, [4] * count)


def test_a_time_that_is_none_is_passed_over(tmp_path: Path) -> None:
    with asked(tmp_path, system(9, "refused", audit_disk_full=4, since="yesterday")) as trail:
        assert told(periods(trail, Query(), MINUTE)) == [("ledger", 9, 9, 1)]


@pytest.mark.parametrize(("since", "count"), [("1970-01-01T00:00:00.000000000Z", 2), ("1970-01-01T00:10:00.000000000Z", 1)])
def test_only_the_time_that_is_asked_about_is_looked_at(tmp_path: Path, since: str, count: int) -> None:
    """Earlier signs are left out."""
    with asked(tmp_path, failed(1), failed(20)) as trail:
        assert len(periods(trail, Query(since=since), MINUTE)) == count
