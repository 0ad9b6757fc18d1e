"""`lockgate audit erase`, `hold` and `prune` on the files of a stopped Lockgate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router.audit.records.record import decision_entry, outcome_entry, system_entry
from router.cli.main import run
from router.processes.evidence import Evidence, open_evidence
from router.workspace import parse, read
from tests.unit.audit.governed import DAY_NS, Clock
from tests.unit.audit.samples import DECISION, OUTCOME, SUBJECT, numbered

Lockgate = Callable[..., tuple[int, str, str]]
ERASE = ("erase", "--subject", SUBJECT.id, "--authority", "Olga Brandt", "--reason", "gdpr_art_17", "--case", "DSR 17", "--yes")
RETENTION = "  retention: {classes: [{name: outcomes, kind: outcome, keep: 184d}, {name: rest, keep: 400d}]}\n"


@pytest.fixture
def bank(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose ledger has forty records of November 2025, and a later one each fortnight for a year and more."""
    folder = tmp_path / "bank"
    assert run(["init", str(folder)]) == 0
    config = folder / "lockgate.yaml"
    config.write_text(config.read_text().replace("\naudit:\n", f"\naudit:\n{RETENTION}"))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.delenv("LOCKGATE_KEY", raising=False)
    asyncio.run(_filled(config))
    capsys.readouterr()
    return folder


async def _filled(config: Path) -> None:
    evidence = await open_evidence(parse(read(config, {}), {}), Clock())
    await filled(evidence)
    await evidence.close()


async def filled(evidence: Evidence) -> None:
    key_id, key = await evidence.keys.key_for(SUBJECT.id)
    for number in range(20):
        decision = numbered(number)
        await evidence.ledger.append(decision_entry(decision, b"{}", key_id, key))
        await evidence.ledger.append(outcome_entry(decision.id, OUTCOME, decision.decided_ns + 1, key_id, key))
    for fortnight in range(1, 30):
        await evidence.ledger.append(system_entry("refused", DECISION.decided_ns + fortnight * 14 * DAY_NS, {"rate_limited": 1}))


@pytest.fixture
def lockgate(bank: Path, capsys: pytest.CaptureFixture[str]) -> Lockgate:
    def call(*arguments: str) -> tuple[int, str, str]:
        status = run(["audit", *arguments, *(() if arguments[0] in ("verify", "query") else ("--config", str(bank)))])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def whole(lockgate: Lockgate, bank: Path) -> dict[str, Any]:
    status, output, _ = lockgate("verify", "--state", str(bank / "state"), "--personal", "--json")
    assert status == 0
    report: dict[str, Any] = json.loads(output)
    return report


def test_an_erasure_is_told_and_proven(lockgate: Lockgate, bank: Path) -> None:
    """What was erased, which record says so, and its checkpoint; the ledger verifies, and queries name the record."""
    status, output, _ = lockgate(*ERASE)
    assert status == 0
    assert "of 40 records is destroyed. Record 70 says so." in output
    assert "— starter.example/ledger " in output
    assert whole(lockgate, bank)["erased"] == 40
    _, table, _ = lockgate("query", "--state", str(bank / "state"), "--limit", "1")
    assert "erased by record 70" in table
    assert lockgate(*ERASE)[0] == 2


def test_an_erasure_as_json_is_the_record_with_its_proof(lockgate: Lockgate) -> None:
    """For the file of the request it answers."""
    receipt = json.loads(lockgate(*ERASE, "--json")[1])
    assert (receipt["record"], receipt["leaf"]["event"], receipt["leaf"]["details"]["records"]) == (70, "subject_erased", 40)
    assert receipt["inclusion"]


def test_whom_nobody_knows_is_one_sentence(lockgate: Lockgate) -> None:
    """Status 2, nothing written."""
    status, output, error = lockgate("erase", "--subject", "nobody", "--authority", "x", "--reason", "x", "--yes")
    assert (status, output) == (2, "")
    assert error.count("\n") == 1
    assert "Nothing was written." in error


def test_a_hold_is_added_listed_and_released(lockgate: Lockgate) -> None:
    """By target where there is one on it, by record where there are more."""
    hold = ("--subject", SUBJECT.id, "--case", "Case 7")
    assert lockgate("hold", "list")[1] == "Nothing is on hold.\n"
    assert "On hold since record 69; `lockgate audit hold release 69` ends it." in lockgate("hold", "add", *hold)[1]
    assert lockgate(*ERASE)[2].startswith("lockgate: It is on hold: record 69 put a hold on this subject.")
    lockgate("hold", "add", *hold)
    assert [each["record"] for each in json.loads(lockgate("hold", "list", "--json")[1])] == [69, 70]
    for target, expected in ((("--subject", SUBJECT.id), [69, 70]), (("--subject", "nobody"), []), (("--intent", "pay"), [])):
        assert [each["record"] for each in json.loads(lockgate("hold", "list", "--json", *target)[1])] == expected
    status, _, error = lockgate("hold", "release", *hold)
    assert status == 2
    assert "of the records 69, 70: name the one that ends" in error
    assert "Released: record 71 ends the hold of record 69." in lockgate("hold", "release", "69", "--case", "Case 7")[1]
    assert "Released: record 72 ends the hold of record 70." in lockgate("hold", "release", *hold)[1]
    assert lockgate("hold", "release", *hold)[2] == "lockgate: Nothing holds this target.\n"


@pytest.mark.parametrize(
    "arguments", [("add",), ("add", "--subject", "a", "--intent", "b"), ("release",), ("release", "3", "--subject", "a")]
)
def test_a_hold_needs_one_target(lockgate: Lockgate, arguments: tuple[str, ...]) -> None:
    """A usage error, nothing written."""
    status, _, error = lockgate("hold", *arguments, "--case", "x")
    assert status == 2
    assert "Name " in error


def test_pruning_is_foreseen_and_then_done(lockgate: Lockgate, bank: Path) -> None:
    """A dry run changes nothing and is right; afterwards everything verifies."""
    foreseen = lockgate("prune", "--dry-run")[1]
    assert "40 personal parts would be removed. Nothing was changed." in foreseen
    assert whole(lockgate, bank)["pruned"] == 0
    done = lockgate("prune", "--authority", "Olga")[1]
    assert "40 personal parts were removed, as 2 records say, the last of them 70." in done
    assert whole(lockgate, bank)["pruned"] == 40
    assert "Nothing was old enough." in lockgate("prune")[1]


def test_without_retention_nothing_is_pruned(lockgate: Lockgate, bank: Path) -> None:
    """One sentence names the setting."""
    config = bank / "lockgate.yaml"
    config.write_text(config.read_text().replace(RETENTION, ""))
    for options in ((), ("--dry-run",)):
        assert lockgate("prune", *options)[2] == "lockgate: The configuration has no audit.retention: nothing is pruned.\n"


def test_where_there_is_no_ledger_none_is_made(lockgate: Lockgate, bank: Path) -> None:
    """A mistaken folder must not become a ledger."""
    (bank / "state" / "ledger.sqlite").unlink()
    for arguments in (ERASE, ("hold", "list"), ("prune",)):
        status, _, error = lockgate(*arguments)
        assert status == 2
        assert "There is no ledger at" in error
    assert not (bank / "state" / "ledger.sqlite").exists()
