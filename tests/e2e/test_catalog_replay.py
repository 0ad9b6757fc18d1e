"""What a running Lockgate understood, put to its classifier again, and to another one."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import cli
from tests.e2e.test_halden import Halden, company

TEXTS = (
    "where is payment 4711, has it been executed?",
    "how many vacation days do I have left?",
    "the VPN fails for me",
    "locked out, password forgotten",
    "what is the weather like in Oslo?",
    "please do not cancel payment 4711",
)


@pytest.fixture(scope="module")
def halden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halden]:
    """Understood, asked back about, out of scope; a turn that is understood by the one before, a JSON body, and a request by its path."""
    with company(tmp_path_factory.mktemp("halden"), gateway={"conversation": {"turns": 2}}) as made:
        for text in TEXTS:
            assert made.said("anna.lind", text).decision
        assert made.ask("anna.lind", "POST", "/ask", {"message": "how many vacation days do I have left?"}).decision
        made.said("jonas.weber", "how many vacation days do I have left?")
        yield made


@pytest.fixture(scope="module")
def workspace(halden: Halden) -> Path:
    return halden.company.workspace


def replayed(halden: Halden, *more: str) -> tuple[int, Any]:
    where = ("--config", str(halden.company.workspace), "--state", str(halden.company.folder / "state"))
    done = cli("catalog", "replay", *where, "--json", *more, **halden.company.own_environment)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def with_rule(workspace: Path, folder: Path, rule: str) -> Path:
    """A copy of the workspace whose catalog begins with this rule."""
    candidate = folder / "candidate"
    shutil.copytree(workspace, candidate)
    catalog = candidate / "catalog.yaml"
    catalog.write_text(re.sub("^rules:$", f"rules:\n  - {rule}", catalog.read_text(), count=1, flags=re.MULTILINE))
    return candidate


def test_the_same_classifier_says_the_same_of_everything(halden: Halden) -> None:
    """With the same numbers, on the same machine."""
    status, found = replayed(halden)
    assert (status, found["flips"], found["not_reproduced"], found["left_out"]) == (0, 0, [], {})
    assert found["compared"] == found["same_classifier"]["decisions"] >= len(TEXTS) + 2
    assert found["same_classifier"]["largest"] <= found["same_classifier"]["tolerance"]


def test_other_thresholds_and_rules_show_what_flips(halden: Halden, workspace: Path, tmp_path: Path) -> None:
    """By the tier that answered before, whoever asked; and a threshold contradicts no number."""
    candidate = with_rule(workspace, tmp_path, "{name: leave, match: {regex: vacation}, intent: payment_status}")
    status, found = replayed(halden, "--workspace", str(candidate))
    assert status == 0, found
    assert found["flips"] == 3, found["differences"]
    assert {each["after"]["tier"] for each in found["differences"] if each["flips"]} == {"rule"}
    _, named = replayed(halden, "--workspace", str(candidate), "--names")
    assert {name: sum(counts.values()) for name, counts in named["by"]["subject"].items()} == {"anna.lind": 2, "jonas.weber": 1}


def test_what_a_new_rule_would_have_to_see_is_left_out(halden: Halden, workspace: Path, tmp_path: Path) -> None:
    """Of a body in JSON only the text is kept."""
    candidate = with_rule(workspace, tmp_path, '{name: urgent, match: {json: {"$.urgent": true}}, intent: payment_status}')
    status, found = replayed(halden, "--workspace", str(candidate))
    assert (status, found["left_out"], found["flips"]) == (0, {"body": 1}, 0), found


def test_a_replay_is_a_reading(halden: Halden) -> None:
    """Which is noted before anything is opened."""
    replayed(halden, "--subject", "anna.lind")
    state = halden.company.folder / "state"
    notes = [json.loads(path.read_bytes()) for path in (state / "readings").glob("*.json")]
    recorded = cli("audit", "query", "--kind", "system", "--result", "audit_read", "--state", str(state), "--json")
    assert any(each["what"] == "replay" for each in notes) or '"replay"' in recorded.stdout


def test_people_are_told_in_lines(halden: Halden) -> None:
    """What the terminal shows."""
    where = ("--config", str(halden.company.workspace), "--state", str(halden.company.folder / "state"))
    done = cli("catalog", "replay", *where, **halden.company.own_environment)
    assert done.returncode == 0, done.stderr
    assert "decisions would be classified otherwise today" in done.stdout
    assert "by the same model, calibration and catalog" in done.stdout
