"""What became of an intent's requests, as the ledger's index tells it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite.index import SqliteIndex
from router.adaptation.route_effects import Seen, Way, Window
from router.audit.questions.query import Trail
from router.audit.records.record import decision_entry, outcome_entry, review_entry
from router.decision import Effect, Outcome, Result, Route, RuleMatch, Status
from router.ports import Entry
from router.wiring.route_history import History, history, inputs, put_on
from tests.unit.audit.ledgers import reader, written
from tests.unit.audit.samples import DECISION, KEY, KEY_ID, OUTCOME, VERDICT, numbered

INTENT, START, SECOND = "payment.cancel", DECISION.decided_ns, 1_000_000_000
EVER = Window(0, 2**62, 1)


def decided(
    number: int, effect: Effect = Effect.ALLOW, rule: RuleMatch | None = None, status: Status = Status.CLASSIFIED, **more: Any
) -> Entry:
    classification = replace(DECISION.classification, rule=rule, status=status)
    verdict = replace(VERDICT, effect=effect, reroute="desk" if effect is Effect.REROUTE else None)
    route = Route("desk", "people", "reroute") if effect is Effect.REROUTE else Route("payments", "payments-service", "intent")
    document = b'{"entry": "decision", "number": %d}' % number
    return decision_entry(numbered(number, classification=classification, verdict=verdict, route=route, **more), document, KEY_ID, KEY)


def ended(number: int, **changes: Any) -> Entry:
    return outcome_entry(numbered(number).id, replace(OUTCOME, **changes), START + number * SECOND + 1, KEY_ID, KEY)


def reviewed(number: int, event: str, who: str, route: str = "payments") -> Entry:
    return review_entry(numbered(number).id, event, START + number * SECOND + 2, {"route": route}, {"reviewer": who}, who * 32, KEY)


def told(folder: Path, entries: Sequence[Entry], window: Window = EVER, most: int = 100) -> History:
    written(folder, entries)
    with closing(reader(folder)) as ledger, closing(SqliteIndex(folder / "index.sqlite")) as index:
        return history(ledger, index, [INTENT], {"lookup"}, window, most)


def test_a_decision_is_told_with_what_became_of_it(tmp_path: Path) -> None:
    """Where it went, by whose word, and whether the service failed; of a refusal, an answer that was kept, or without an outcome, nothing
    of the service."""
    entries = [
        *(decided(0), ended(0)),
        *(decided(1), ended(1, result=Result.FAILED, status=502, upstream_ns=0, total_ns=7)),
        *(decided(2, Effect.REROUTE), ended(2, status=503)),
        *(decided(3), ended(3, attempts=0, upstream_ns=0, total_ns=0)),
        decided(4, Effect.DENY, outcome=Outcome(Result.DENIED, 403, "no")),
        decided(5),
    ]
    seen = told(tmp_path, entries).seen[INTENT]
    assert [(each.route, each.destination, each.effect, each.failed, each.took_ns) for each in seen] == [
        ("payments", "payments-service", "allow", False, 2_000_000),
        ("payments", "payments-service", "allow", True, 7),
        ("desk", "people", "reroute", True, 2_000_000),
        ("payments", "payments-service", "allow", None, None),
        ("payments", "payments-service", "deny", None, None),
        ("payments", "payments-service", "allow", None, None),
    ]
    assert [each.at_ns for each in seen] == [START + number * SECOND for number in range(6)]


def test_only_what_was_understood_counts_and_only_the_intents_route(tmp_path: Path) -> None:
    """An ambiguous request has a likeliest intent, and did not go by it. A rule that names a route leaves the intent's alone."""
    ruled = RuleMatch("lookup", INTENT, "payments")
    entries = [decided(0, status=Status.AMBIGUOUS), decided(1, rule=ruled), decided(2, rule=replace(ruled, rule="other", route=None))]
    assert [each.follows for each in told(tmp_path, entries).seen[INTENT]] == [False, True]


@pytest.mark.parametrize(("most", "first", "capped"), [(100, 0, False), (10, 0, False), (4, 6, True)])
def test_the_newest_are_looked_at(tmp_path: Path, most: int, first: int, capped: bool) -> None:
    """And it is said where there were more."""
    found = told(tmp_path, [decided(number) for number in range(10)], most=most)
    assert (found.seen[INTENT][0].at_ns, len(found.seen[INTENT]), found.capped) == (START + first * SECOND, min(10, most), capped)


def test_nothing_is_told_from_outside_the_time(tmp_path: Path) -> None:
    """Its begin counts in, its end does not."""
    window = Window(START + 2 * SECOND, START + 4 * SECOND, 1)
    found = told(tmp_path, [decided(number) for number in range(6)], window)
    assert [each.at_ns for each in found.seen[INTENT]] == [START + 2 * SECOND, START + 3 * SECOND]


def test_what_reviewers_sent_elsewhere_is_theirs(tmp_path: Path) -> None:
    """The decision says where it would have gone; what came of it says nothing of that route. How many they decided is counted once each,
    however many had to, and where to is who said so last."""
    entries = [
        *(decided(0, Effect.REVIEW), reviewed(0, "approved", "a"), reviewed(0, "approved", "b"), ended(0)),
        *(decided(1, Effect.REVIEW), reviewed(1, "rerouted", "a", "desk"), ended(1)),
        *(decided(2, Effect.REVIEW), reviewed(2, "rerouted", "c", "third"), reviewed(2, "rerouted", "b", "desk"), ended(2)),
        *(decided(3, Effect.REVIEW), reviewed(3, "rejected", "a")),
    ]
    found = told(tmp_path, entries)
    assert [each.sent_by_people for each in found.seen[INTENT]] == [None, "desk", "desk", None]
    judged = found.judged[INTENT]
    assert (judged.decided, judged.sent) == (4, {"desk": 2})
    assert judged.by == {"desk": frozenset({"a" * 32, "b" * 32}), "third": frozenset({"c" * 32})}


def test_what_policy_was_told_is_opened_newest_first(tmp_path: Path) -> None:
    """Of requests that took the intent's route; without the key of who asked, or of another form, it is no input."""
    other = decision_entry(numbered(4, classification=replace(DECISION.classification, rule=None)), b"[]", KEY_ID, KEY)
    written(tmp_path, [decided(0), decided(1, rule=RuleMatch("lookup", INTENT, "payments")), decided(2), decided(3), other])
    with closing(reader(tmp_path)) as ledger, closing(SqliteIndex(tmp_path / "index.sqlite")) as index:
        found = inputs(Trail(ledger, index, lambda key_id: KEY), INTENT, EVER, 2, 100)
        assert {record: document["number"] for record, document in found.items()} == {"3": 3, "2": 2}
        assert inputs(Trail(ledger, index, lambda key_id: None), INTENT, EVER, 2, 100) == {}


def test_another_route_brings_its_own_alternatives() -> None:
    """As they stood, as far as policy was told; what it was not told nobody knows. Without any there is nothing to choose from."""
    known = {
        "cheap": Way("cheap", "assistant", 1.0, None, ("dear",)),
        "dear": Way("dear", "desk", 5.0, 2.0, ("cheap", "third")),
        "third": Way("third", "far"),
    }
    document = {"entry": "decision", "route": {"name": "cheap"}, "routes": {"cheap": {"usable": False}, "dear": {"usable": True}}}
    made = put_on(document, "dear", known)
    assert made["route"] == {"name": "dear", "destination": "desk"}
    assert made["routes"]["dear"] == {"usable": True}
    assert made["routes"]["cheap"] == {"usable": False}
    assert (made["routes"]["third"]["usable"], made["routes"]["third"]["recent"]) == (None, None)
    assert "routes" not in put_on(document, "third", known)


def test_a_row_is_what_effects_are_told_from(tmp_path: Path) -> None:
    """Its name is the record's number."""
    (seen,) = told(tmp_path, [decided(0)]).seen[INTENT]
    assert isinstance(seen, Seen)
    assert seen.decision == "0"
