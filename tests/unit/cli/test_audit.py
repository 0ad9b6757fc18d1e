from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite.subject_keys import KeyFile
from router.audit.keys.files import ensure_sealing_key
from router.audit.records.record import decision_entry, outcome_entry, system_entry
from router.cli.main import run
from tests.unit.audit.ledgers import SIGNER, records_of, rehash, resign, written
from tests.unit.audit.ledgers import run as tamper
from tests.unit.audit.samples import OUTCOME, SUBJECT, numbered

Lockgate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    keys = KeyFile(tmp_path / "keys.sqlite", ensure_sealing_key(tmp_path / "keys" / "sealing.key"))
    keys.open()
    key_id, key = keys.ensure([SUBJECT.id])[SUBJECT.id]
    keys.close()
    records = [system_entry("started", 1)]
    for number in range(120):
        decision = numbered(number)
        records.append(decision_entry(decision, b"{}", key_id, key))
        records.append(outcome_entry(decision.id, OUTCOME, decision.decided_ns + 1, key_id, key))
    written(tmp_path, records, 50, 100)
    return tmp_path


@pytest.fixture
def lockgate(state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lockgate:
    monkeypatch.setenv("COLUMNS", "400")

    def call(*arguments: str) -> tuple[int, str, str]:
        status = run(["audit", *arguments, "--state", str(state)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def cut_off(state: Path, size: int) -> None:
    """All that came later, and all that the file says of it."""
    for table, column in (("records", "idx >="), ("leaf_hashes", "idx >="), ("commits", "size >"), ("checkpoints", "size >")):
        tamper(state, f"DELETE FROM {table} WHERE {column} {size}")


def test_verify_holds_the_file_against_the_checkpoints_beside_it(lockgate: Lockgate, state: Path) -> None:
    """A backup that was put back agrees with itself; the newest checkpoint in the directory does not come back with it."""
    cut_off(state, 200)
    status, output, _ = lockgate("verify", "--json")
    assert (status, lines(output)[0]["faults"][0]["kind"]) == (1, "records_cut")


def test_verify_holds_the_file_against_every_checkpoint_of_the_directory(lockgate: Lockgate, state: Path) -> None:
    """Who has the key can sign newer ones; an older one may lie where nobody can change it."""
    older = state / "checkpoints" / f"{100:016d}.checkpoint"
    kept = older.read_text()
    leaf, _, _ = records_of(state)[11]
    tamper(state, ("UPDATE records SET leaf = ? WHERE idx = 11", (leaf.replace(b"payment.cancel", b"payment.status"),)))
    rehash(state)
    resign(state)
    assert lockgate("verify")[0] == 0
    older.write_text(kept)
    status, output, _ = lockgate("verify", "--json")
    assert (status, {fault["kind"] for fault in lines(output)[0]["faults"]}) == (1, {"root_wrong"})


@pytest.mark.parametrize("where", ["latest.witnessed", f"{241:016d}-{0:016x}/{241:016d}.checkpoint"], ids=["witnessed", "put aside"])
def test_verify_holds_the_file_against_what_was_witnessed_and_put_aside(lockgate: Lockgate, state: Path, where: str) -> None:
    """As a start does: who cut the ledger off removed the newer checkpoint, and overlooked that there are more of it."""
    cut_off(state, 200)
    newest = state / "checkpoints" / f"{241:016d}.checkpoint"
    (state / "checkpoints" / where).parent.mkdir(exist_ok=True)
    newest.rename(state / "checkpoints" / where)
    (state / "checkpoints" / f"{300:016d}-{0:016x}").mkdir()
    (state / "checkpoints" / f"{300:016d}-{0:016x}" / f"{300:016d}.checkpoint").write_text("of another ledger, or no note at all")
    status, output, _ = lockgate("verify", "--json")
    assert (status, lines(output)[0]["faults"][0]["kind"]) == (1, "records_cut")


def test_verify_names_a_checkpoint_of_the_directory_that_is_no_text(lockgate: Lockgate, state: Path) -> None:
    file = state / "checkpoints" / f"{100:016d}.checkpoint"
    file.write_bytes(b"\xff")
    status, output, _ = lockgate("verify", "--json")
    (fault,) = lines(output)[0]["faults"]
    assert (status, fault["kind"], file.name in fault["message"]) == (1, "checkpoint_invalid", True)


@pytest.mark.parametrize("made", [Path.mkdir, lambda file: file.symlink_to("nowhere")], ids=["folder", "dangling"])
def test_a_checkpoint_that_cannot_be_read_keeps_nobody_from_verifying(
    lockgate: Lockgate, state: Path, made: Callable[[Path], None]
) -> None:
    """It is a finding, beside what else is found: who can write there would keep an altered ledger from being looked at."""
    file = state / "checkpoints" / f"{100:016d}.checkpoint"
    file.unlink(missing_ok=True)
    made(file)
    tamper(state, "UPDATE records SET leaf = replace(leaf, 'payment.cancel', 'payment.refund') WHERE idx = 77")
    status, output, _ = lockgate("verify", "--json")
    found = lines(output)[0]["faults"]
    assert (status, {"checkpoint_invalid", "leaf_altered"} <= {fault["kind"] for fault in found}) == (1, True)
    assert any(file.name in fault["message"] for fault in found)


def test_checkpoints_that_must_not_be_looked_at_are_not_none(lockgate: Lockgate, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the ledger would be held against less than there is, and nothing would say so."""

    def refuse(path: Any) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("router.audit.tree.checkpoint.os.listdir", refuse)
    status, _, error = lockgate("verify")
    assert (status, "checkpoints cannot be read: Permission denied" in error) == (2, True)


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_query_shows_a_table_and_how_to_go_on(lockgate: Lockgate) -> None:
    """Fifty rows for people, and no silent end."""
    status, output, _ = lockgate("query")
    assert status == 0
    assert output.count("payment.cancel") == 50
    assert "50 records, out of 241 in the ledger; more with --cursor" in output
    assert "sealed" in output
    assert "anna" not in output


def test_query_json_has_no_cap(lockgate: Lockgate) -> None:
    """One object per line, all of them, newest first."""
    status, output, _ = lockgate("query", "--json")
    rows = lines(output)
    assert (status, len(rows)) == (0, 120)
    assert rows[0]["index"] > rows[-1]["index"]
    assert rows[0]["leaf"]["schema"] == "lockgate.decision.v1"


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--subject", SUBJECT.id), 120),
        (("--subject", SUBJECT.id, "--kind", "all"), 240),
        (("--kind", "all"), 241),
        (("--result", "routed", "--verdict", "allow", "--min-confidence", "0.9"), 120),
        (("--verdict", "deny"), 0),
        (("--decision", numbered(3).id), 1),
        (("--since", "2025-11-24T16:01:00", "--until", "2025-11-24T16:01:10+00:00"), 10),
        (("--since", "1h"), 0),
        (("--limit", "7", "--oldest-first"), 7),
        (("--subject", "nobody"), 0),
    ],
)
def test_options_filter(lockgate: Lockgate, options: tuple[str, ...], count: int) -> None:
    """Filters hold together."""
    status, output, _ = lockgate("query", "--json", *options)
    assert (status, len(lines(output))) == (0, count)


def test_pages_join_at_the_cursor(lockgate: Lockgate) -> None:
    """The cursor of one page starts the next."""
    first = lines(lockgate("query", "--json", "--limit", "60")[1])
    second = lines(lockgate("query", "--json", "--cursor", str(first[-1]["index"]))[1])
    assert len(first) + len(second) == 120
    assert not {row["index"] for row in first} & {row["index"] for row in second}


def test_personal_fields_are_opened_on_demand(lockgate: Lockgate) -> None:
    """With the sealing key, and only when asked."""
    rows = lines(lockgate("query", "--json", "--personal", "--limit", "1")[1])
    assert rows[0]["personal"]["subject"] == SUBJECT.id
    assert SUBJECT.id in lockgate("query", "--personal", "--limit", "1")[1]


def test_personal_without_the_sealing_key_is_one_sentence(lockgate: Lockgate, state: Path) -> None:
    """What is missing is named."""
    (state / "keys" / "sealing.key").unlink()
    status, output, error = lockgate("query", "--personal")
    assert (status, output) == (2, "")
    assert "sealing.key cannot be read" in error


def test_show_tells_the_story(lockgate: Lockgate) -> None:
    """Decision and outcome, their fields and their proofs."""
    status, output, _ = lockgate("show", numbered(5).id)
    assert status == 0
    for text in ("decision", "outcome", "classification.intent", "payment.cancel", "inclusion proof", "ledger.test"):
        assert text in output
    rows = lines(lockgate("show", numbered(5).id, "--json", "--personal")[1])
    assert [row["leaf"]["schema"] for row in rows] == ["lockgate.decision.v1", "lockgate.outcome.v1"]
    assert all(row["inclusion"] and row["checkpoint"].startswith("ledger.test\n") for row in rows)
    assert rows[0]["personal"]["text"] == "cancel 4711 for anna"


def test_show_proves_what_it_shows(lockgate: Lockgate, state: Path) -> None:
    """The stored hashes make a proof of what was written, whatever stands in its place now."""
    leaf, _, _ = records_of(state)[11]
    tamper(state, ("UPDATE records SET leaf = ? WHERE idx = 11", (leaf.replace(b"payment.cancel", b"payment.status"),)))
    status, output, error = lockgate("show", numbered(5).id)
    assert (status, output) == (2, "")
    assert "Record 11 does not lead to the root that the checkpoint was signed for" in error


def test_show_of_an_unknown_decision_is_one_sentence(lockgate: Lockgate) -> None:
    """No traceback, status 2."""
    status, _, error = lockgate("show", "nobody")
    assert (status, error) == (2, "lockgate: The ledger holds no decision, trace or request nobody.\n")


def test_verify_says_what_holds_and_what_is_not_proven(lockgate: Lockgate) -> None:
    """Status 0, and plain words about the missing outside checkpoint."""
    status, output, _ = lockgate("verify")
    assert status == 0
    assert "verified  241 records of ledger.test" in output
    assert "Without a checkpoint kept outside this machine" in output


def test_verify_against_an_outside_checkpoint_and_with_keys(lockgate: Lockgate, state: Path) -> None:
    """Nothing but what comes after the checkpoint stays open."""
    outside = sorted((state / "checkpoints").iterdir())[-1]
    options = ("--checkpoint", str(outside), "--key", SIGNER.verifier, "--personal", "--processes", "1")
    report = lines(lockgate("verify", "--json", *options)[1])[0]
    assert (report["ok"], report["outside_checkpoint"], report["opened"], report["not_proven"]) == (True, 241, 240, [])
    assert report["public_key"] == SIGNER.verifier


def test_verify_finds_that_a_decision_was_hidden_from_questions(lockgate: Lockgate, state: Path) -> None:
    """By whoever can write to the index, and has no key; unless they ask it not to look."""
    assert len(lines(lockgate("query", "--intent", "payment.cancel", "--json")[1])) == 120
    with closing(sqlite3.connect(state / "index.sqlite", isolation_level=None)) as file:
        file.execute("UPDATE words SET word = 'payment.other' WHERE word = 'payment.cancel'")
    assert lines(lockgate("query", "--intent", "payment.cancel", "--json")[1]) == []
    report = lines(lockgate("verify", "--json")[1])[0]
    assert (report["ok"], [fault["kind"] for fault in report["faults"]]) == (False, ["answers_altered"])
    status, output, _ = lockgate("verify", "--no-answers")
    assert (status, "they may leave records out" in " ".join(output.split())) == (0, True)
    (state / "index.sqlite").unlink()
    assert len(lines(lockgate("query", "--intent", "payment.cancel", "--json")[1])) == 120
    assert lockgate("verify")[0] == 0


def test_verify_names_the_first_bad_record_and_fails(lockgate: Lockgate, state: Path) -> None:
    """Status 1 is the answer no."""
    tamper(state, "UPDATE records SET leaf = replace(leaf, 'payment.cancel', 'payment.refund') WHERE idx = 77")
    status, output, _ = lockgate("verify")
    assert status == 1
    assert "NOT verified" in output
    assert "first bad: record 77" in output
    status, output, _ = lockgate("verify", "--json")
    assert (status, lines(output)[0]["first_bad"]) == (1, 77)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("query", "--since", "soon"), "neither a time such as"),
        (("query", "--verdict", "maybe"), "is not one of"),
        (("verify", "--key", "x"), "not an Ed25519 verifier key"),
    ],
)
def test_a_mistake_in_usage_is_status_two(lockgate: Lockgate, arguments: tuple[str, ...], sentence: str) -> None:
    """Said in one sentence."""
    status, _, error = lockgate(*arguments)
    assert status == 2
    assert sentence in error


def test_a_directory_without_a_ledger_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And none is made."""
    assert run(["audit", "query", "--state", str(tmp_path / "none")]) == 2
    told = capsys.readouterr().err
    assert "There is no ledger at" in told
    assert "first `lockgate serve` makes it; where it is elsewhere, name its folder with --state, or its workspace with --config" in told
    assert not (tmp_path / "none").exists()


def test_migrate_says_which_formats_there_were(lockgate: Lockgate) -> None:
    """A ledger of today needs nothing."""
    assert lockgate("migrate") == (0, "ledger: format 3, as it was\nkeys: format 2, as it was\n", "")


@pytest.mark.parametrize("url", ["mysql://me:hunter2@db/ledger", "postgresql://me:hunter2@db.example/ledger"])
def test_a_store_that_cannot_be_asked_is_one_sentence_without_its_password(lockgate: Lockgate, url: str) -> None:
    """What is no database's URL, or trusts whoever answers."""
    status, _, error = lockgate("verify", "--store", url)
    assert status == 2
    assert "'--store': The" in error
    assert "hunter2" not in error


def test_a_store_that_does_not_answer_is_one_sentence(lockgate: Lockgate) -> None:
    """Nothing listens there."""
    status, _, error = lockgate("query", "--store", "postgresql://127.0.0.1:1/ledger")
    assert status == 2
    assert "The database ledger at 127.0.0.1:1 cannot be used" in error
