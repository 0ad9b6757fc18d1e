from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.cli.main import run
from tests.golden.config.conftest import GOOD
from tests.unit.audit.ledgers import written
from tests.unit.audit.samples import numbered
from tests.unit.audit.test_reconcile import decision, evidence, outcome


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run(["audit", "reconcile", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_what_does_not_fit_ends_with_1_and_is_told_with_its_query(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people."""
    written(tmp_path, [decision(), evidence(2)])
    status, output, _ = call(capsys, "--state", str(tmp_path))
    assert status == 1
    assert "evidence_orphan  record 1" in output
    assert f"lockgate audit show {numbered(2).id}" in output
    assert "1 evidence_orphan, 1 outcome_missing  2 records" in output
    assert "not checked" in output


def test_what_fits_ends_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says how many records that was found for."""
    written(tmp_path, [decision(), outcome(), evidence()])
    status, output, _ = call(capsys, "--state", str(tmp_path))
    assert (status, "everything fits  3 records" in output) == (0, True)


def test_json_is_a_line_for_each_and_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For machines; what was not checked is said there, too."""
    written(tmp_path, [outcome()])
    status, output, _ = call(capsys, "--state", str(tmp_path), "--json")
    one, summary = map(json.loads, output.splitlines())
    assert (status, one["kind"], one["record"]) == (1, "outcome_orphan", 0)
    assert summary["summary"] == {"outcome_orphan": 1}
    assert (summary["complete_to"], len(summary["not_checked"])) == (1, 1)


def test_a_grace_is_a_duration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred years leave nothing to be missed; anything else is one sentence."""
    written(tmp_path, [decision()])
    assert call(capsys, "--state", str(tmp_path), "--grace", "36500d")[0] == 0
    status, _, error = call(capsys, "--state", str(tmp_path), "--grace", "soon")
    assert (status, "must be a duration such as" in error) == (2, True)


def test_promises_are_the_catalogs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A route that owes evidence, in the configuration that was named."""
    written(tmp_path / "state", [decision(), outcome()])
    for name, text in GOOD.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        adapted = text.replace("adapter: tiny, url: 'http://127.0.0.1:9000'", "adapter: http, upstreams: [{url: 'http://127.0.0.1:9000'}]")
        file.write_text(adapted.replace("routes: {", "routes: {payments: {destination: desk, evidence: {within: 1h}}, "))
    policy = "package lockgate.decision\n"
    (tmp_path / "policies" / "decision.rego").write_text(policy)
    status, output, _ = call(capsys, "--config", str(tmp_path))
    assert status == 1, output
    assert "evidence_missing  record 0" in output
    assert "not checked" not in output
