from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adapters.webhook.gone import Gone
from router.cli.endpoints import endpoints

ONE, OTHER = "https://a.example/one?token=s", "https://b.example/"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    gone = Gone(tmp_path, "partners")
    asyncio.run(gone.add(ONE, "a.example", 1_795_000_000, "d-1"))
    asyncio.run(gone.add(OTHER, "b.example", 1_795_000_001, "d-2"))
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(endpoints, [str(argument) for argument in arguments])


def test_those_that_are_gone_are_listed_and_one_of_them_is_tried_again(state: Path) -> None:
    rows = json.loads(run("list", "--state", state, "--json").stdout)
    assert {(row["host"], row["decision"]) for row in rows} == {("a.example", "d-1"), ("b.example", "d-2")}
    assert "2026-11-18" in run("list", "--state", state).output
    first = next(row["endpoint"] for row in rows if row["host"] == "a.example")
    assert run("enable", "partners", "--endpoint", first[:12], "--state", state).exit_code == 0
    known = Gone(state, "partners")
    assert (asyncio.run(known.has(ONE)), asyncio.run(known.has(OTHER))) == (False, True)


def test_what_is_not_gone_is_not_enabled(state: Path) -> None:
    result = run("enable", "others", "--state", state)
    assert result.exit_code == 1
    assert "`lockgate endpoints list`" in result.output


def test_a_file_that_nobody_can_read_still_counts_and_can_be_taken_away(state: Path) -> None:
    for path in state.rglob("*.json"):
        path.write_bytes(b"{")
    assert asyncio.run(Gone(state, "partners").has(ONE))
    assert run("enable", "partners", "--state", state).exit_code == 0
    assert not asyncio.run(Gone(state, "partners").has(ONE))
