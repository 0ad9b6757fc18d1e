from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.sqlite.index import SqliteIndex
from adapters.sqlite.index_plan import place_of
from router.audit.questions.columns import COLUMNS, LATE, NAMES, Kind
from router.audit.questions.conditions import Compare, Condition, Every
from router.audit.questions.index import index_row
from router.audit.questions.reader import Stored
from router.audit.questions.segments import SIZE
from router.audit.questions.stats import Grouping, grouping, statistics
from router.audit.questions.where import WhereError, where
from router.audit.records.canonical import canonical, timestamp
from router.audit.records.record import decision_entry, outcome_entry, system_entry
from tests.unit.audit.samples import DECISION, KEY, KEY_ID, OUTCOME

COUNT = 2 * SIZE + 777
BEHIND = 40_000  # records between a decision and its outcome: not in the same segment
REASONS = (None, ("role_ok",), ("role_missing", "too_late"), ("too_late",))


def rows() -> list[dict[str, Any]]:
    dice = random.Random(7)
    made: list[dict[str, Any]] = []
    for at in range(COUNT):
        late = at - BEHIND
        if late >= 0 and late % 3 == 0:
            made.append({"kind": "outcome", "decision_id": f"d{late}", "result": dice.choice(["routed", "failed"]), "duration": at})
        else:
            made.append(
                {"kind": "decision", "decision_id": f"d{at}", "intent": f"i{dice.randrange(300)}", "confidence": dice.randrange(10**6)}
            )
            made[-1].update(reason=dice.choice(REASONS), tenant=dice.choice([None, "a", "b"]), risk=dice.choice(["low", "high"]))
        made[-1].update(idx=at, time=10**18 + at * 10**9, key_id=f"{dice.randrange(50):032x}")
    return made


ROWS = rows()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteIndex]:
    made = SqliteIndex(tmp_path_factory.mktemp("index") / "index.sqlite")
    for start in range(0, COUNT, 5000):
        some = ROWS[start : start + 5000]
        made.extend(some, start, start + len(some), b"")
    yield made
    made.close()


def whole() -> list[dict[str, Any]]:
    """Rows as they should be: decisions with what came later, outcomes with what they inherit."""
    joined = [dict(row) for row in ROWS]
    decisions = {row["decision_id"]: row for row in joined if row["kind"] == "decision"}
    for row in joined:
        if row["kind"] == "outcome" and row["decision_id"] in decisions:
            decision = decisions[row["decision_id"]]
            row.update({name: decision.get(name) for name in ("intent", "confidence", "tenant", "risk")})
            decision.update({name: row[name] for name in ("result", "duration")})
    return joined


WHOLE = whole()


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("intent = 'i7' and confidence < 0.5", lambda row: row.get("intent") == "i7" and row["confidence"] < 500_000),
        ("result = 'failed' and kind = 'decision'", lambda row: row.get("result") == "failed" and row["kind"] == "decision"),
        ("kind = 'decision' and result is null", lambda row: row["kind"] == "decision" and row.get("result") is None),
        ("reason = 'too_late'", lambda row: "too_late" in (row.get("reason") or ())),
        ("reason <> 'too_late'", lambda row: bool(row.get("reason")) and "too_late" not in row["reason"]),
        ("reason like 'role%' and tenant is null", lambda row: any(r[:4] == "role" for r in row.get("reason") or ()) and not row["tenant"]),
        ("not (tenant = 'a' or risk = 'low')", lambda row: row.get("tenant") == "b" and row.get("risk") == "high"),
        ("record >= 60000 and record < 65540", lambda row: 60_000 <= row["idx"] < 65_540),
        ("decision_id = 'd3'", lambda row: row.get("decision_id") == "d3"),
        (
            f"key_id in ('{1:032x}', '{2:032x}', 'nobody') and risk = 'high'",
            lambda row: int(row["key_id"], 16) in (1, 2) and row.get("risk") == "high",
        ),
        (f"key_id <> '{1:032x}' and intent = 'i5'", lambda row: int(row["key_id"], 16) != 1 and row.get("intent") == "i5"),
    ],
)  # fmt: skip
def test_what_matches_is_found_across_segments(index: SqliteIndex, text: str, passes: Any) -> None:
    """All of it, in order, whether a decision's outcome came in its own batch, another, or another segment."""
    wanted = [row["idx"] for row in WHOLE if passes(row)]
    assert wanted
    assert [row["idx"] for row in index.find(where(text), None, False, COUNT)] == wanted
    assert [row["idx"] for row in index.find(where(text), None, True, 5)] == wanted[::-1][:5]


@pytest.mark.parametrize("newest", [True, False])
def test_a_page_goes_on_after_its_last_row(index: SqliteIndex, newest: bool) -> None:
    """Also at the edges of segments, and with nothing left."""
    condition = where("tenant = 'b' and risk = 'high'")
    seen, after = list[int](), None
    while rows := index.find(condition, after, newest, 3333):
        seen += [row["idx"] for row in rows]
        after = seen[-1]
    assert seen == sorted((row["idx"] for row in WHOLE if row.get("tenant") == "b" and row.get("risk") == "high"), reverse=newest)
    for edge in (SIZE - 1, SIZE, SIZE + 1):
        wanted = [edge - 1] if newest else [edge + 1]
        assert [row["idx"] for row in index.find(Every(), edge, newest, 1)] == wanted


def test_rows_have_their_values(index: SqliteIndex) -> None:
    """Few of a segment are read one by one, many together; both say the same."""
    few = index.find(where("decision_id = 'd3'"), None, False, 10)
    many = {row["idx"]: row for row in index.find(Every(), None, False, SIZE)}
    assert few[0] == many[3]
    assert few[0]["confidence"] == WHOLE[3]["confidence"] / 1_000_000
    assert (few[0]["intent"], few[0]["result"], few[0]["route"]) == (WHOLE[3]["intent"], WHOLE[3]["result"], None)
    assert few[1]["intent"] == WHOLE[3]["intent"]


@pytest.mark.parametrize("text", ["kind = 'decision'", "result = 'failed'", "intent = 'nothing'"])
@pytest.mark.parametrize("by", [(), ("tenant",), ("risk", "tenant"), ("reason",), ("intent", "risk", "result")])
@pytest.mark.parametrize("bucket", [None, 3600])
def test_aggregates_are_exact(index: SqliteIndex, text: str, by: tuple[str, ...], bucket: int | None) -> None:
    """Counts, shares and percentiles as a plain count over the rows gives them."""
    passes = {"kind = 'decision'": lambda row: row["kind"] == "decision", "result = 'failed'": lambda row: row.get("result") == "failed"}
    chosen = [row for row in WHOLE if passes.get(text, lambda row: False)(row)]
    wanted: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in chosen:
        for reason in (row.get("reason") or (None,)) if "reason" in by else (None,):
            key = tuple(reason if name == "reason" else row.get(name) for name in by)
            start = () if bucket is None else (row["time"] // (bucket * 10**9),)
            wanted.setdefault((*start, *key), []).append(row)
    found = statistics(index, where(text), Grouping(by, bucket and bucket * 10**9), COUNT)
    assert found.count == len(chosen)
    assert len(found.groups) == len(wanted)
    expected = sorted((len(rows), *percentiles(rows)) for rows in wanted.values())
    got = sorted((g.count, *g.measures["confidence"].values()) for g in found.groups)
    assert [each[0] for each in got] == [each[0] for each in expected]
    assert sorted(map(str, got)) == sorted(map(str, expected))
    assert sum(group.share for group in found.groups) >= (0.999 if chosen else 0)


def percentiles(rows: list[dict[str, Any]]) -> list[float | None]:
    values = sorted(row["confidence"] / 1_000_000 for row in rows if row.get("confidence") is not None)
    return [values[max(0, -(-percent * len(values) // 100) - 1)] if values else None for percent in (5, 50, 95)]


def test_what_has_no_groups_is_said() -> None:
    """One sentence, with what was probably meant."""
    with pytest.raises(WhereError, match=r"Nothing can be counted by 'intnet'\. Did you mean 'intent'"):
        grouping(["intnet"], None)
    with pytest.raises(WhereError, match="Nothing can be counted by 'time'"):
        grouping(["time"], None)
    assert grouping(["verdict", "model"], None).by == ("effect", "model_digest")


def test_an_index_of_an_older_form_is_made_anew(tmp_path: Path) -> None:
    """Its tables are dropped, whatever they were."""
    index = SqliteIndex(tmp_path / "index.sqlite")
    index.extend(ROWS[:10], 0, 10, b"x")
    index._connection.execute("UPDATE meta SET value = '1' WHERE name = 'version'")
    index._connection.execute("CREATE TABLE entries (idx INTEGER)")
    index.close()
    again = SqliteIndex(tmp_path / "index.sqlite")
    assert again.complete() == (0, b"")
    again.close()


def test_two_processes_share_an_index(tmp_path: Path) -> None:
    """Each sees the words and rows that the other added, and neither adds what is there already."""
    first, second = SqliteIndex(tmp_path / "index.sqlite"), SqliteIndex(tmp_path / "index.sqlite")
    some: Condition = Compare("intent", "=", "new")
    first.extend([{"idx": 0, "kind": "decision", "intent": "old"}], 0, 1, b"")
    assert second.find(some, None, True, 9) == []
    first.extend([{"idx": 1, "kind": "decision", "intent": "new"}], 1, 2, b"")
    second.extend([{"idx": 1, "kind": "decision", "intent": "new"}], 1, 2, b"")
    second.extend([{"idx": 2, "kind": "decision", "intent": "new", "tenant": "x"}], 2, 3, b"")
    for each in (first, second):
        assert [row["idx"] for row in each.find(some, None, False, 9)] == [1, 2]
        assert each.find(some, 1, False, 9)[0]["tenant"] == "x"
        each.close()


def test_one_record_at_a_time_makes_the_same_index(tmp_path: Path) -> None:
    """As it grows beside a server: also across the edge of a segment, and where a column has had one value so far."""
    index = SqliteIndex(tmp_path / "index.sqlite")
    some: list[dict[str, Any]] = [{"idx": at, "kind": "decision", "tier": "rule", "intent": "a"} for at in range(SIZE - 3)]
    index.extend(some, 0, len(some), b"")
    for at in range(SIZE - 3, SIZE + 4):
        row = {"idx": at, "kind": "decision", "tier": None if at == SIZE - 2 else "rule", "intent": "b" if at % 2 else "a"}
        index.extend([row], at, at + 1, b"")
    for text, wanted in (
        ("tier is null", [SIZE - 2]),
        ("intent = 'b'", [SIZE - 3, SIZE - 1, SIZE + 1, SIZE + 3]),
        ("effect is not null", []),
    ):
        assert [row["idx"] for row in index.find(where(text), None, False, 9)] == wanted
    assert sum(len(chunk["record"]) for chunk in index.scan(where("tier = 'rule' and effect is null"), ())) == SIZE + 3
    index.close()


LEAVES = [
    json.loads(entry.leaf)
    for entry in (decision_entry(DECISION, b"", KEY_ID, KEY), outcome_entry("x", OUTCOME, 1), system_entry("started", 1))
]
odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("1e999"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@st.composite
def tampered(draw: Any) -> bytes:
    """A leaf in which one value, somewhere, is another."""
    leaf = json.loads(json.dumps(draw(st.sampled_from(LEAVES))))
    place, name = leaf, draw(st.sampled_from(sorted(leaf)))
    while isinstance(place[name], dict) and place[name] and draw(st.booleans()):
        place, name = place[name], draw(st.sampled_from(sorted(place[name])))
    place[name] = draw(odd)
    return json.dumps(leaf).encode("utf-8", "replace")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.lists(tampered(), min_size=1, max_size=5))
def test_whatever_stands_in_a_leaf_the_index_takes_it(tmp_path: Path, leaves: list[bytes]) -> None:
    """What cannot be read is a row of kind `unreadable`; the others stay findable."""
    index = SqliteIndex(tmp_path / "index.sqlite")
    index.reset()
    index.extend([index_row(Stored(at, leaf, b"", "key")) for at, leaf in enumerate(leaves)], 0, len(leaves), b"")
    assert len(index.find(Every(), None, True, 99)) == len(leaves)
    index.close()


def test_processes_that_catch_up_at_once_leave_no_hole(tmp_path: Path) -> None:
    """One that read its records while another one added some of them adds nothing, and goes on from there; what is missing in a damaged
    ledger is unreadable, and said to be."""
    index = SqliteIndex(tmp_path / "index.sqlite")
    new = [{"idx": at, "kind": "decision", "intent": "a"} for at in range(6)]
    index.extend(new[:2], 0, 2, b"")
    index.extend(new[2:4], 2, 4, b"")
    index.extend(new[2:6], 2, 6, b"")
    index.extend(new[5:6], 5, 6, b"")
    assert index.complete()[0] == 4
    index.extend([*new[5:6]], 4, 7, b"")
    rows = index.find(Every(), None, False, 9)
    assert [(row["idx"], row["kind"]) for row in rows[4:]] == [(4, "unreadable"), (5, "decision"), (6, "unreadable")]
    index.close()


def test_what_could_not_be_added_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    """Nothing of the batch is in it, words included, and the next one can come."""
    index = SqliteIndex(tmp_path / "index.sqlite")
    index.extend([{"idx": 0, "kind": "decision", "intent": "a"}], 0, 1, b"")
    with pytest.raises(OverflowError):
        index.extend([{"idx": 1, "kind": "decision", "intent": "b"}, {"idx": 2, "kind": "decision", "status": 2**70}], 1, 3, b"")
    assert index.complete()[0] == 1
    index.extend([{"idx": 1, "kind": "decision", "intent": "c"}, {"idx": 2, "kind": "decision", "intent": "b"}], 1, 3, b"")
    assert [[row["idx"] for row in index.find(where(f"intent = '{name}'"), None, False, 9)] for name in "abc"] == [[0], [2], [1]]
    index.close()


def test_after_a_batch_that_failed_words_are_those_of_the_file(tmp_path: Path) -> None:
    """Another process may add the records instead, with other words under the same codes."""
    one, other = SqliteIndex(tmp_path / "index.sqlite"), SqliteIndex(tmp_path / "index.sqlite")
    with pytest.raises(OverflowError):
        one.extend([{"idx": 0, "kind": "decision", "intent": "wrong", "status": 2**70}], 0, 1, b"")
    other.extend([{"idx": 0, "kind": "decision", "intent": "right"}], 0, 1, b"")
    for name, wanted in (("right", [0]), ("wrong", [])):
        assert [row["idx"] for row in one.find(where(f"intent = '{name}'"), None, False, 9)] == wanted
    one.close()
    other.close()


@pytest.mark.parametrize("told", [[4, 2, 6], [4, 4, 6], [4, 1, 6], [4, 9, 6], [4, -1, 6], [9, 5, 6]])
def test_a_record_under_another_s_number_is_a_hole(tmp_path: Path, told: list[int]) -> None:
    """As damage of a file may tell of it: the rest of the batch stays where it is."""
    index = SqliteIndex(tmp_path / "index.sqlite")
    index.extend([{"idx": at, "kind": "decision", "decision_id": f"d{at}"} for at in range(4)], 0, 4, b"")
    rows = [{"idx": at, "kind": "outcome", "decision_id": f"d{place}", "result": "routed"} for place, at in enumerate(told)]
    index.extend(rows, 4, 7, b"")
    found = {row["idx"]: (row["kind"], row["result"]) for row in index.find(Every(), None, False, 9)}
    assert [found[at] for at in (4, 5, 6)].count(("unreadable", None)) == 1
    assert found[6] == ("outcome", "routed")
    assert len(found) == 7
    assert index.find(where("decision_id = 'd2' and kind = 'decision'"), None, False, 9)[0]["result"] == "routed"
    index.close()


@pytest.mark.parametrize(
    "when",
    [
        "9999-12-31T23:59:59.000000000Z",
        "0001-01-01T00:00:00.000000000Z",
        "2026-11-24T09:45:20.-12345678Z",
        "2026-11-24T09:45:20.1_2_3_4_5Z",
    ],
)
def test_a_time_that_cannot_be_is_unreadable(when: str) -> None:
    """Nothing of it stops the index from being made."""
    leaf = json.loads(outcome_entry("x", OUTCOME, 1).leaf) | {"time": when}
    assert index_row(Stored(3, json.dumps(leaf).encode(), b"", ""))["kind"] == "unreadable"


@pytest.mark.parametrize("name", ["revision", "digest", "engine"])
@pytest.mark.parametrize("value", [0, False, [], {}, 1.5])
def test_what_is_no_word_is_unreadable_also_where_it_is_nothing(name: str, value: Any) -> None:
    leaf = json.loads(decision_entry(DECISION, b"", KEY_ID, KEY).leaf)
    leaf["verdict"][name] = value
    assert index_row(Stored(3, json.dumps(leaf).encode(), b"", ""))["kind"] == "unreadable"


@pytest.mark.parametrize("step", [1, 2, 3, 9])
def test_outcomes_of_a_decision_are_counted(tmp_path: Path, step: int) -> None:
    """However the records come into the index: an outcome knows how many there were by then, and the decision has all of them."""
    rows: list[dict[str, Any]] = [
        {"kind": "decision", "decision_id": "a", "result": "held"},
        {"kind": "decision", "decision_id": "b"},
        {"kind": "outcome", "decision_id": "a", "result": "failed", "outcomes": 1},
        {"kind": "outcome", "decision_id": "b", "result": "routed", "outcomes": 1},
        {"kind": "review", "decision_id": "a", "event": "redispatched"},
        {"kind": "outcome", "decision_id": "a", "result": "routed", "outcomes": 1},
        {"kind": "outcome", "decision_id": "a", "result": "routed", "outcomes": 1},
    ]
    index = SqliteIndex(tmp_path / "index.sqlite")
    for start in range(0, len(rows), step):
        some = [{"idx": start + place, **row} for place, row in enumerate(rows[start : start + step])]
        index.extend(some, start, start + len(some), b"")
    found = [(row["decision_id"], row["result"], row["outcomes"]) for row in index.find((), None, False, 9, ("outcomes",))]
    index.close()
    assert found == [
        ("a", "routed", 3),
        ("b", "routed", 1),
        ("a", "failed", 1),
        ("b", "routed", 1),
        ("a", None, None),
        ("a", "routed", 2),
        ("a", "routed", 3),
    ]


def test_evidence_belongs_to_its_decision(tmp_path: Path) -> None:
    """Its phase is its event and result, and it inherits; also where it came before the decision, which then has its own id once."""
    evidence = {"schema": "lockgate.evidence.v1", "id": DECISION.id, "time": timestamp(5), "evidence": {"phase": "completed"}}
    erased = system_entry("subject_erased", 7, {"key_id": "someone", "reason": "gdpr_art_17"})
    leaves = [canonical(evidence), decision_entry(DECISION, b"", KEY_ID, KEY).leaf, canonical(evidence), erased.leaf]
    index = SqliteIndex(tmp_path / "index.sqlite")
    index.extend([index_row(Stored(at, leaf, b"", KEY_ID if at == 1 else "")) for at, leaf in enumerate(leaves)], 0, len(leaves), b"")
    found = index.find(where(f"decision_id = '{DECISION.id}'"), None, False, 9)
    assert [(row["kind"], row["event"], row["intent"]) for row in found] == [
        ("evidence", "completed", None),
        ("decision", None, "payment.cancel"),
        ("evidence", "completed", "payment.cancel"),
    ]
    assert [row["idx"] for row in index.find(where("key_id = 'someone'"), None, False, 9)] == [3]
    index.close()


@pytest.mark.parametrize("together", [True, False])
def test_a_decision_that_was_recorded_again_ends_as_the_first_does(tmp_path: Path, together: bool) -> None:
    """Whether the outcome came between the two or after both, and in which batch."""
    index = SqliteIndex(tmp_path / "index.sqlite")
    told = [
        ("decision", "a"),
        ("decision", "a"),
        ("outcome", "a"),
        ("decision", "b"),
        ("outcome", "b"),
        ("decision", "b"),
        ("outcome", "c"),
    ]
    told += [("review", "c"), ("decision", "c")]
    brought: dict[str, dict[str, str]] = {
        "outcome": {"result": "routed"},
        "review": {"event": "held", "result": "held", "review": "held"},
    }
    some = [{"idx": at, "kind": kind, "decision_id": name, **brought.get(kind, {})} for at, (kind, name) in enumerate(told)]
    for start in [0] if together else range(len(some)):
        rows = some if together else [some[start]]
        index.extend(rows, start, start + len(rows), b"")
    found = index.find(where("kind = 'decision'"), None, False, 9)
    assert [(row["decision_id"], row["result"]) for row in found] == [(name, "routed") for name in "aabbc"]
    index.close()


def events() -> st.SearchStrategy[list[dict[str, Any]]]:
    """What may follow each other in a ledger, about two decisions: recorded again, ended twice or before they came, or missing (None)."""
    name, people = st.sampled_from(["a", "a", "b"]), st.sampled_from([None, "k0", "k1"])
    begun = {"intent": st.sampled_from([None, "pay", "ask"]), "reason": st.sampled_from(REASONS)}
    ended = {"result": st.sampled_from([None, "routed", "failed"]), "status": st.sampled_from([None, 200, 503])}
    judged = {"review": st.sampled_from(["held", "approved"]), "held": st.sampled_from([None, 7, 9]), "reviewer": people}
    kinds: dict[str, dict[str, Any]] = {"decision": {**begun, **ended}, "outcome": ended, "review": judged}
    some = [st.fixed_dictionaries({"kind": st.just(kind), "decision_id": name, "key_id": people, **told}) for kind, told in kinds.items()]
    other = [st.fixed_dictionaries({"kind": st.just("system"), "event": st.just("started")}), st.none()]
    return st.lists(st.one_of(*some, *some, *other), min_size=2, max_size=9)


def all_of_it(index: SqliteIndex) -> list[Any]:
    """Words as they are: those of holes may have other codes."""
    found = [{name: [index._said(name, value) for value in chunk[name].tolist()] for name in NAMES} for chunk in index.scan(Every(), NAMES)]
    return [*found, index._connection.execute("SELECT * FROM late ORDER BY code, idx")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(events(), st.integers(1, 4))
def test_whatever_makes_a_batch_the_index_is_the_same(tmp_path: Path, some: list[dict[str, Any] | None], step: int) -> None:
    """All at once, where most of what belongs together is told of each other in one go; or few, where nothing is."""
    rows = [None if row is None else {"idx": at, "time": 5 + at, **row} for at, row in enumerate(some)]
    found = []
    for each in (len(some), step):
        index = SqliteIndex(tmp_path / "index.sqlite")
        index.reset()
        for start in range(0, len(rows), each):
            part = rows[start : start + each]
            index.extend([row for row in part if row is not None], start, start + len(part), b"")
        found.append(all_of_it(index))
        index.close()
    assert found[0] == found[1]


def test_columns_hold_nothing_that_is_found_twice() -> None:
    """Every column has its own name and a sentence; what comes late is not an id of its own record."""
    assert len(set(NAMES)) == len(NAMES)
    assert place_of(NAMES[-1], 2**24 - 1) < 2**31
    assert all(column.about for column in COLUMNS.values())
    assert [name for name in LATE if COLUMNS[name].kind is Kind.ID] == ["reviewer"]


def test_a_second_user_in_one_process_takes_nobody_s_locks_away(tmp_path: Path) -> None:
    """POSIX ends a process's locks on a file when it closes any handle of it. Another process, which then found itself alone, removed the
    log from under the first connection as it ended."""
    path = tmp_path / "index.sqlite"
    first = SqliteIndex(path)
    first.extend([{"idx": 0, "kind": "decision"}], 0, 1, b"hash")
    SqliteIndex(path).close()
    alone = "import sys; from pathlib import Path; from adapters.sqlite.index import SqliteIndex; SqliteIndex(Path(sys.argv[1])).close()"
    subprocess.run([sys.executable, "-c", alone, str(path)], check=True, timeout=60)
    assert path.with_name("index.sqlite-wal").exists()
    first.extend([{"idx": 1, "kind": "decision"}], 1, 2, b"hash")
    assert first.complete() == (2, b"hash")
    first.close()
