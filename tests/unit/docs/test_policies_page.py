"""What the policies page shows loads, and what it says is refused is refused."""

from __future__ import annotations

import re

import pytest
import yaml

from adapters.rego.embedded import load
from router.errors import ConfigError
from router.obligations import KINDS
from tests.unit.docs.pages import ROOT, first_cells, page, section

PAGE = page("policies.md")
SHOWN = re.findall(r"^```rego\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
REFUSED = re.findall(r"^\| `(.+?)` \| ", section(PAGE, "What is refused at load"), re.MULTILINE)
FOLDER = ROOT / "policies"
POLICIES = {
    str(file.relative_to(FOLDER)): file.read_text(encoding="utf-8")
    for file in sorted(FOLDER.rglob("*.rego"))
    if not file.name.endswith("_test.rego")
}
DATA = yaml.safe_load((FOLDER / "data.yaml").read_text(encoding="utf-8"))


def document(hour: int, groups: list[str]) -> dict[str, object]:
    time = {"ns": hour * 3600 * 1_000_000_000, "iso": ""}
    return {"request": {"time": time}, "subject": {"id": "a", "groups": groups, "roles": [], "authenticated_by": "jwt"}}


@pytest.mark.parametrize(("hour", "groups", "denied"), [(3, [], True), (3, ["duty"], False), (9, [], False)])
async def test_the_example_decides_as_its_comment_says(hour: int, groups: list[str], denied: bool) -> None:
    """The example loads beside the shipped policies and adds its denial at night only."""
    engine = load({**POLICIES, "example.rego": SHOWN[0]}, DATA)
    verdict = await engine.evaluate("decision", "cancel_payment", document(hour, groups))
    assert ("payments.at_night" in [reason.code for reason in verdict.reasons]) is denied


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_said_to_be_refused_is_refused(line: str) -> None:
    """Each example of the table stops a load, at its own place."""
    text = line if line.startswith("package") else f"package lockgate.example\n\n{line}\n"
    with pytest.raises(ConfigError) as caught:
        load({**POLICIES, "example.rego": f"{text}\nf(y) := y\n"}, DATA)
    assert all(fault.startswith("example.rego:") for fault in caught.value.faults)


def test_the_table_has_examples() -> None:
    """The examples above were found."""
    assert len(REFUSED) > 10
    assert len(SHOWN) == 1


def test_every_obligation_has_a_row() -> None:
    """The page tells of the obligations that the engine accepts, and of no others."""
    assert sorted(first_cells(section(PAGE, "Obligations"))) == sorted(KINDS)
