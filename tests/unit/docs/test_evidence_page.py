"""The page on evidence names every step, status and id of the verifier, and no others."""

from __future__ import annotations

import ast
import re

from lockgate_verify.failure import STEPS
from router.audit.checking.bundle import FORMAT
from tests.unit.docs.pages import page
from tests.unit.verifier.test_imports import FOLDER
from tests.unit.verifier.vectors import vectors

NOT_IN_VECTORS = {"bundle_too_large", "file_unreadable", "outside_key_not_vouched"}


def emitted() -> set[str]:
    """What the package's own code refuses by; a prefix is put before some of them."""
    calls = [
        node for file in FOLDER.glob("*.py") for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    ]
    named = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("Refusal", "misuse")]
    return {
        each.value
        for call in named
        for each in call.args[:2]
        if isinstance(each, ast.Constant) and re.fullmatch(r"[a-z_]+", str(each.value))
    }


def rows() -> dict[str, tuple[int, set[str]]]:
    """Step, status and ids of the page's table."""
    found = re.findall(r"^\| (\d+ [a-z ]+) \| (\d+) \| .* \| (`.*`) \|$", page("evidence.md"), re.MULTILINE)
    return {step: (int(status), set(ids.strip("`").split("` `"))) for step, status, ids in found}


def test_every_step_has_its_row() -> None:
    """By number, name and status."""
    assert {step: status for step, (status, _) in rows().items()} == {f"{place} {name}": 10 + place for place, name in enumerate(STEPS, 1)}


def test_every_id_stands_at_its_step() -> None:
    """Those of the vectors, and the few that none shows."""
    for status, ids in rows().values():
        assert ids - NOT_IN_VECTORS == {vector["id"] for vector in vectors().values() if vector["status"] == status}
    documented = {each for _, ids in rows().values() for each in ids} | set(re.findall(r"`([a-z_]+)`", page("evidence.md")))
    assert emitted() <= documented
    assert {vector["id"] for vector in vectors().values()} - {"holds"} <= documented


def test_the_format_is_the_one_that_is_made() -> None:
    """By name."""
    assert f"## The format `{FORMAT}`" in page("evidence.md")
