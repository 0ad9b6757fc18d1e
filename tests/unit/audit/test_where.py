from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.sqlite.index import SqliteIndex
from router.audit.questions.columns import COLUMNS, Kind
from router.audit.questions.conditions import Among, Compare, Every, Like, Null, Some
from router.audit.questions.where import MAX_DEPTH, MAX_LENGTH, MAX_TESTS, MAX_VALUES, WhereError, parameter_names, where

NOW = 1_764_000_000_000_000_000


def parsed(text: str, **parameters: str) -> Any:
    return where(text, parameters, lambda: NOW)


def test_the_words_of_sql_become_a_condition() -> None:
    """Values are what the column keeps; AND binds closer than OR; capitals of keywords and columns do not matter."""
    assert parsed("risk = 'high' and Effect <> 'review' AND confidence between 0.5 and 0.7") == Every(
        (
            Compare("risk", "=", "high"),
            Compare("effect", "<>", "review"),
            Every((Compare("confidence", ">=", 500_000), Compare("confidence", "<=", 700_000))),
        )
    )
    assert parsed("tier = 'llm' or status != 200 and complete = true") == Some(
        (Compare("tier", "=", "llm"), Every((Compare("status", "<>", 200), Compare("complete", "=", 1))))
    )
    assert parsed("intent in ('a', 'it''s') or reason like 'role_%' or route is null") == Some(
        (Among("intent", ("a", "it's")), Like("reason", "role_%"), Null("route"))
    )


def test_not_is_carried_down_to_the_comparisons() -> None:
    """De Morgan, and the opposite of each comparison."""
    assert parsed("not (margin < 0.1 or route is not null and tenant not in ('x'))") == Every(
        (Compare("margin", ">=", 100_000), Some((Null("route"), Among("tenant", ("x",)))))
    )
    assert parsed("not not intent not like 'a%'") == Like("intent", "a%", wanted=False)
    assert parsed("attempts not between 1 and 3") == Some((Compare("attempts", "<", 1), Compare("attempts", ">", 3)))


def test_risk_has_an_order_and_other_words_have_none() -> None:
    """`>=` over levels means what it says, not the alphabet."""
    assert parsed("risk >= 'high'") == Among("risk", ("high", "critical"))
    assert parsed("risk < 'medium'") == Among("risk", ("low",))
    with pytest.raises(WhereError, match="at character 8: intent has no order"):
        parsed("intent >= 'a'")


def test_durations_and_times_are_written_as_people_write_them() -> None:
    """`4h`, seconds, a date, a time to the nanosecond, how long ago."""
    assert parsed("waited > '4h' or duration > 0.25") == Some(
        (Compare("waited", ">", 14_400 * 10**9), Compare("duration", ">", 250_000_000))
    )
    assert parsed("time >= '2025-11-24'") == Compare("time", ">=", 1_763_942_400_000_000_000)
    assert parsed("time >= '24h'") == Compare("time", ">=", NOW - 86_400 * 10**9)
    assert parsed("time = '2025-11-24T16:00:00.123456789Z'") == Compare("time", "=", 1_764_000_000_123_456_789)


def test_a_parameter_is_one_value_and_never_text_of_the_condition() -> None:
    """Whatever is in it."""
    text = "intent = :intent and confidence < :least"
    assert parameter_names(text) == {"intent", "least"}
    assert parsed(text, intent="x' or 'a' = 'a", least="0.5") == Every(
        (Compare("intent", "=", "x' or 'a' = 'a"), Compare("confidence", "<", 500_000))
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "at character 1: a column is missing here."),
        ("riks = 'high'", "at character 1: there is no column 'riks'. Did you mean 'risk'?"),
        ("risk = 'hgih'", "at character 8: risk is one of low, medium, high, critical."),
        ("risk = high", "at character 8: a value is missing here; texts stand in quotes: 'high'."),
        ("intent = 'a", "at character 10: this text has no closing quote."),
        ("intent = 5", "at character 10: intent is compared with a text in quotes."),
        ("confidence > 'much'", "at character 14: confidence is compared with a number."),
        ("confidence > 0.12345678", "at character 14: confidence is kept with fewer places than that."),
        ("status = 200.5", "at character 10: status is a whole number."),
        ("time > 'soon'", "at character 8: time is compared with a time such as"),
        ("cached = 'maybe'", "at character 10: cached is compared with true or false."),
        ("intent = null", "at character 10: nothing equals NULL; write IS NULL or IS NOT NULL."),
        ("intent = 'a' intent = 'b'", "at character 14: 'intent' is not expected here."),
        ("(intent = 'a'", "at character 14: ) is missing here."),
        ("intent in 'a'", "at character 11: ( is missing here."),
        ("confidence like '0%'", "at character 17: confidence is no word, so LIKE says nothing about it."),
        ("intent = :who", "at character 10: the parameter 'who' has no value."),
        ("intent = 'a'; drop table entries", "at character 13: ';' belongs to no condition."),
        ("intent = 'a' -- all", "at character 14: '-' belongs to no condition."),
        ("lower(intent) = 'a'", "at character 1: there is no column 'lower'."),
        ("1 = 1", "at character 1: a column is missing here, not '1'."),
        ("intent is 'a'", "at character 8: intent must be followed by a comparison such as = or IN."),
        ("decision_id > 'a'", "at character 13: decision_id has no order"),
        ("time > '9999999d'", "at character 8: time is compared with a time such as"),
        ("time > '1969-01-01'", "at character 8: time is compared with a time such as"),
        (f"duration > '{'9' * 400}d'", "at character 12: duration is compared with a duration such as"),
        (f"attempts > {'9' * 400}", "at character 12: attempts is compared with a number."),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(text: str, sentence: str) -> None:
    """And nothing else."""
    with pytest.raises(WhereError) as caught:
        parsed(text)
    assert sentence in str(caught.value)
    assert caught.value.code == "audit_query_invalid"


@pytest.mark.parametrize(
    "text",
    [
        "intent = '" + "a" * MAX_LENGTH + "'",
        "(" * (MAX_DEPTH + 1) + "intent = 'a'" + ")" * (MAX_DEPTH + 1),
        "not " * (MAX_DEPTH + 1) + "intent = 'a'",
        " or ".join(["tier='a'"] * (MAX_TESTS + 1)),
        "intent in (" + ",".join(["'a'"] * (MAX_VALUES + 1)) + ")",
    ],
)
def test_length_and_depth_are_bounded(text: str) -> None:
    """A condition is refused before it can cost anything."""
    with pytest.raises(WhereError):
        parsed(text)


@given(st.text(max_size=200))
def test_any_text_is_a_condition_or_one_sentence(text: str) -> None:
    """Never another exception."""
    with suppress(WhereError):
        parsed(text)


WORDS = ("a", "b", "a.b", "it's", "A", "%", "_", "abab", "aab.ba")
SCALARS = {"intent": "TEXT", "tier": "TEXT", "confidence": "REAL", "attempts": "INTEGER", "cached": "INTEGER", "decision_id": "TEXT"}
word, score, count = st.sampled_from(WORDS), st.integers(0, 4).map(lambda quarter: quarter / 4), st.integers(-2, 3)
pattern = st.text(alphabet="ab.%_'A", max_size=6)
values = {"intent": word, "tier": word, "confidence": score, "attempts": count, "cached": st.booleans(), "decision_id": word}
row = st.fixed_dictionaries({name: st.none() | value for name, value in values.items()})


def quoted(value: Any) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value).lower()


@st.composite
def comparison(draw: Any) -> str:
    name = draw(st.sampled_from(list(SCALARS)))
    value = lambda: quoted(draw(values[name]))  # noqa: E731 - shorter so
    shapes = ["= ", "<> ", "in", "not in", "is null", "is not null"]
    if COLUMNS[name].kind in (Kind.SCORE, Kind.COUNT):
        shapes += ["< ", "<= ", "> ", ">= ", "between", "not between"]
    if COLUMNS[name].kind is Kind.WORD:
        shapes += ["like ", "not like "]
    shape = draw(st.sampled_from(shapes))
    if shape.endswith("in"):
        return f"{name} {shape} ({value()}, {value()})"
    if shape.endswith("between"):
        return f"{name} {shape} {value()} and {value()}"
    if shape.endswith("like "):
        return f"{name} {shape}{quoted(draw(pattern))}"
    return f"{name} {shape}{'' if shape.endswith('null') else value()}"


condition = st.recursive(
    comparison(),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map("".join),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"not ({text})"),
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.lists(row, min_size=1, max_size=20), st.lists(condition, min_size=1, max_size=8))
def test_conditions_mean_what_sqlite_says_they_mean(tmp_path: Path, rows: list[dict[str, Any]], conditions: list[str]) -> None:
    """The same words in SQLite itself over the same rows find the same records, NULL and NOT included."""
    truth = sqlite3.connect(":memory:")
    truth.execute("PRAGMA case_sensitive_like = ON")
    truth.execute(f"CREATE TABLE entries (idx INTEGER, {', '.join(f'{name} {kind}' for name, kind in SCALARS.items())})")
    index = SqliteIndex(tmp_path / "index.sqlite")
    index.reset()
    truth.executemany(
        f"INSERT INTO entries VALUES (?{',?' * len(SCALARS)})", [(at, *(one[name] for name in SCALARS)) for at, one in enumerate(rows)]
    )
    kept = [{**one, "confidence": None if one["confidence"] is None else round(one["confidence"] * 10**6)} for one in rows]
    # No decisions: a repeated one would take over what became of the first.
    index.extend([{"idx": at, "kind": "system", **one} for at, one in enumerate(kept)], 0, len(rows), b"")
    try:
        for text in conditions:
            wanted = [idx for (idx,) in truth.execute(f"SELECT idx FROM entries WHERE {text} ORDER BY idx")]
            assert [each["idx"] for each in index.find(parsed(text), None, False, 1000)] == wanted, text
            assert [idx for chunk in index.scan(parsed(text), ()) for idx in chunk["record"].tolist()] == wanted, text
    finally:
        index.close()
        truth.close()


def test_no_pattern_takes_for_ever(tmp_path: Path) -> None:
    """One that a regular expression would try in more ways than there are atoms."""
    index = SqliteIndex(tmp_path / "index.sqlite")
    index.extend([{"idx": 0, "kind": "decision", "intent": "a" * 5000}], 0, 1, b"")
    assert index.find(parsed(f"intent like '{'%a' * 1900}b'"), None, True, 1) == []
    assert len(index.find(parsed(f"intent like '{'%a_' * 1200}%'"), None, True, 1)) == 1
    index.close()
