from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite.index import SqliteIndex
from router.audit.questions.reading import notes
from router.cli.main import run
from tests.read_only import read_only
from tests.unit.docs import asked_ledger

Lockgate = Callable[..., tuple[int, str, str]]
QUERIES = """version: 1
queries:
  risky: {question: What was risky?, where: risk = :level, parameters: {level: the level}}
  by-route: {question: Where to?, where: "kind = 'decision'", by: [route]}
  whole: {question: Is it whole?, instead: lockgate audit verify}
"""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> asked_ledger.Ledger:
    return asked_ledger.make(tmp_path_factory.mktemp("asked"))


@pytest.fixture
def lockgate(ledger: asked_ledger.Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lockgate:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(ledger.folder.parent)
    (ledger.folder.parent / "audit-queries.yaml").write_text(QUERIES)
    for note in (ledger.folder / "readings").glob("*"):
        note.unlink()

    def call(*arguments: str) -> tuple[int, str, str]:
        status = run(["audit", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def noted(ledger: asked_ledger.Ledger) -> list[tuple[str, str, int | None, bool]]:
    return [(each.what, each.filters, each.rows, each.opened) for _, _, each in notes(ledger.folder / "readings")]


def rows(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        (("--where", "risk = 'high'"), {"decision"}),
        (("--where", "risk = 'high'", "--kind", "all"), {"decision", "outcome", "review"}),
        (("--where", "kind <> 'decision' and risk = 'high'"), {"outcome", "review"}),
        (("--where", "event = 'held'"), {"review"}),
        (("--where", "event = 'held'", "--kind", "system"), set()),
        (("--kind", "system"), {"system"}),
    ],
)
def test_decisions_are_meant_unless_something_else_is_said(lockgate: Lockgate, arguments: tuple[str, ...], kinds: set[str]) -> None:
    """A condition about kinds or events decides itself which records it is about."""
    status, output, _ = lockgate("query", "--json", *arguments)
    assert (status, {row["index_columns"]["kind"] for row in rows(output)}) == (0, kinds)


def test_chosen_columns_are_shown_and_nothing_else(lockgate: Lockgate) -> None:
    """In the order that was asked for, by any of their names; NULL stays empty."""
    status, output, _ = lockgate("query", "--columns", "record,verdict,reason,review,duration", "--where", "reviewer is not null")
    assert status == 0
    assert output.splitlines()[0].split() == ["record", "effect", "reason", "review", "duration"]
    found = rows(lockgate("query", "--json", "--columns", "model,waited", "--decision", asked_ledger.number(1))[1])
    assert found == [{"record": 1, "model_digest": "a1" * 32, "waited": None}]


def test_chosen_columns_come_with_opened_fields(lockgate: Lockgate) -> None:
    """Where these were asked for."""
    output = lockgate("query", "--columns", "event", "--personal", "--where", "event = 'rejected'")[1]
    assert "reviewer=cleo.ek@halden.example comment=not this account" in output


def test_statistics_as_table_json_and_csv(lockgate: Lockgate) -> None:
    """The same numbers, and up to which record they are complete."""
    table = lockgate("stats", "--by", "result")[1]
    assert "routed" in table
    assert "19 records match, out of 58 in the ledger" in table
    told = rows(lockgate("stats", "--by", "result", "--json")[1])[0]
    assert (told["records"], told["complete_to"]) == (19, 58)
    counts = {group["result"]: group["count"] for group in told["groups"]}
    assert counts == {"routed": 9, "denied": 5, "held": 2, "abstained": 1, "failed": 1, None: 1}
    as_csv = {row["result"]: int(row["count"]) for row in csv.DictReader(io.StringIO(lockgate("stats", "--by", "result", "--csv")[1]))}
    assert as_csv == {key or "": count for key, count in counts.items()}


def test_a_name_that_looks_like_a_formula_stays_text(lockgate: Lockgate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spreadsheets calculate what begins with an equals sign."""
    from router.cli.audit.stats import _harmless

    assert [_harmless(text) for text in ("=1+1", "@x", "halden", "-2")] == ["'=1+1", "'@x", "halden", "'-2"]


def test_saved_questions_are_listed_and_answered(lockgate: Lockgate) -> None:
    """Records, counts, or the command that answers instead."""
    listed = lockgate("ask")[1]
    assert all(text in listed for text in ("risky", "What was risky?", "level", "lockgate audit verify"))
    assert [row["name"] for row in rows(lockgate("ask", "--json")[1])] == ["risky", "by-route", "whole"]
    assert len(rows(lockgate("ask", "risky", "--set", "level=high", "--json")[1])) == 7
    assert rows(lockgate("ask", "by-route", "--json")[1])[0]["groups"][0]["route"] == "payments"
    assert lockgate("ask", "whole")[2] == "Another command answers this: lockgate audit verify\n"
    assert len(rows(lockgate("ask", "risky", "--set", "level=high", "--subject", asked_ledger.DAN, "--json")[1])) == 1


def test_reviews_degraded_and_readings_for_machines(lockgate: Lockgate) -> None:
    """One object, or one a line."""
    told = rows(lockgate("reviews", "--json", "--where", "event = 'rejected'")[1])[0]
    assert [(person["rejected"], person["seconds_p50"]) for person in told["reviewers"]] == [(1, 7200.0)]
    parts = {row["part"]: row for row in rows(lockgate("degraded", "--json")[1])}
    assert (parts["classifier"]["records"], parts["classifier"]["went_on"], parts["ledger"]["counted"]) == (2, 1, 7)
    assert [row["what"] for row in rows(lockgate("reading", "--json")[1])] == ["stats", "export", "records"]
    assert lockgate("reading", "--reader", "nobody")[1] == ""


@pytest.mark.parametrize(
    ("arguments", "what", "filters", "count", "opened"),
    [
        (("query", "--where", "tenant = 'lund'"), "records", "kind = 'decision' and tenant = 'lund'", 1, False),
        (("query", "--json", "--tenant", "Anna Berg"), "records", "kind = 'decision' and tenant = '…'", 0, False),
        (("show", asked_ledger.number(1), "--personal"), "decision", f"id = '{asked_ledger.number(1)}'", 2, True),
        (("stats", "--by", "tenant"), "stats", "kind = 'decision' by tenant", 19, False),
        (("ask", "risky", "--set", "level=high"), "records", "kind = 'decision' and risk = 'high'", 7, False),
        (("reviews",), "reviews", "", 11, False),
        (("reading",), "readings", "result = 'audit_read' and kind = 'system'", 3, False),
        (("verify", "--personal"), "verify", "", 36, True),
    ],
)  # fmt: skip
def test_every_reading_leaves_a_note(
    lockgate: Lockgate, ledger: asked_ledger.Ledger, arguments: tuple[str, ...], what: str, filters: str, count: int, opened: bool
) -> None:
    """What was asked for, without anything personal, how many records, and whether personal fields were opened."""
    assert lockgate(*arguments)[0] == 0
    ((told, said, seen, open_),) = noted(ledger)
    assert (told, seen, open_) == (what, count, opened)
    assert sorted(said.split(" and ")) == sorted(filters.split(" and "))


def test_a_subject_stands_in_the_note_by_key_id(lockgate: Lockgate, ledger: asked_ledger.Ledger) -> None:
    """Whoever reads the trail later learns that somebody was asked about, and not who without the sealing key."""
    lockgate("query", "--subject", asked_ledger.ANNA)
    ((_, filters, _, _),) = noted(ledger)
    assert "anna" not in filters
    assert "key_id = '" in filters


def test_a_verification_without_opening_reads_no_record(lockgate: Lockgate, ledger: asked_ledger.Ledger) -> None:
    """It shows hashes only."""
    assert lockgate("verify")[0] == 0
    assert noted(ledger) == []


def test_where_no_note_can_be_left_it_is_said_and_nothing_personal_opened(lockgate: Lockgate, ledger: asked_ledger.Ledger) -> None:
    """On a copy that nobody can write to, for one."""
    folder = ledger.folder / "readings"
    folder.rmdir()
    folder.write_text("in its place")
    try:
        status, output, error = lockgate("query", "--json", "--limit", "1")
        assert (status, len(rows(output))) == (0, 1)
        assert "Nobody will know of this reading." in error
        status, output, error = lockgate("query", "--personal")
        assert (status, output) == (2, "")
        assert "Personal fields are opened only where that is recorded." in error
    finally:
        folder.unlink()


@pytest.fixture
def closed(ledger: asked_ledger.Ledger, tmp_path: Path) -> Iterator[Path]:
    def fill(folder: Path) -> None:
        shutil.copytree(ledger.folder, folder, ignore=shutil.ignore_patterns("index.sqlite*", "readings"), dirs_exist_ok=True)

    with read_only(tmp_path / "copy", fill) as copy:
        yield copy


def test_an_index_that_this_account_does_not_ask_is_said_not_to_be_looked_at(
    lockgate: Lockgate, ledger: asked_ledger.Ledger, tmp_path: Path
) -> None:
    """An auditor's account may only read, and a node answers from it."""

    def fill(folder: Path) -> None:
        shutil.copytree(ledger.folder, folder, ignore=shutil.ignore_patterns("index.sqlite*", "readings"), dirs_exist_ok=True)
        SqliteIndex(folder / "index.sqlite").close()

    with read_only(tmp_path / "copy", fill) as copy:
        status, output, _ = lockgate("verify", "--json", "--state", str(copy))
    said = [each for each in rows(output)[0]["not_proven"] if "The index that answers come from was not held" in each]
    assert (status, len(said), "cannot write" in said[0]) == (0, 1, True)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("query",), 0),
        (("stats",), 0),
        (("query", "--intent", "payment.cancel", "--certificate", "{out}"), 0),
        (("prove", "{decision}", "--out", "{out}"), 0),
        (("export", "--format", "csv", "--out", "{out}"), 0),
        (("reconcile",), 1),
        (("verify",), 0),
    ],
)
def test_a_copy_that_nobody_can_write_to_is_asked_all_the_same(
    lockgate: Lockgate, ledger: asked_ledger.Ledger, closed: Path, tmp_path: Path, arguments: tuple[str, ...], status: int
) -> None:
    """With an index of its own that is gone afterwards."""
    given = [each.format(out=tmp_path / "out", decision=next(iter(ledger.ids.values()))) for each in arguments]
    found, output, error = lockgate(*given, "--state", str(closed))
    assert found == status, output + error
    assert not (closed / "index.sqlite").exists()
    assert [file for file in tmp_path.iterdir() if file.name.startswith("lockgate-index-")] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("query", "--where", "riks = 'high'"), "In the condition, at character 1: there is no column 'riks'. Did you mean 'risk'?"),
        (("query", "--columns", "intent,riks"), "There is no column 'riks'. Did you mean 'risk'?"),
        (("stats", "--by", "time"), "Nothing can be counted by 'time'"),
        (("stats", "--bucket", "soon"), "must be a duration such as"),
        (("ask", "riksy"), "There is no saved query 'riksy'. Did you mean 'risky'?"),
        (("ask", "risky"), "The question needs the parameter 'level': the level."),
        (("ask", "risky", "--set", "level"), "is not NAME=VALUE"),
        (("ask", "risky", "--set", "level=hgih"), "risk is one of low, medium, high, critical"),
        (("reviews", "--sla", "1"), "must be a duration"),
    ],
)
def test_a_mistake_is_one_sentence_with_status_two(lockgate: Lockgate, arguments: tuple[str, ...], sentence: str) -> None:
    """What, where, and what was probably meant."""
    status, output, error = lockgate(*arguments)
    assert (status, output) == (2, "")
    assert sentence in " ".join(error.split())
