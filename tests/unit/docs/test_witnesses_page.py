"""The page about witnesses names what it has to."""

from __future__ import annotations

import re

import pytest
import yaml

from router.cli.witness import witness
from router.config.witness import WitnessConfig
from router.config.witnesses import WitnessesConfig
from tests.unit.docs.pages import page, section


@pytest.mark.parametrize("setting", WitnessConfig.model_fields)
def test_every_setting_of_a_witness_is_told(setting: str) -> None:
    """In the example or in the text; there is no other reference of `witness.yaml`."""
    assert re.search(rf"^{setting}:|`{setting}`", section(page("witnesses.md"), "Running a witness"), re.MULTILINE)


@pytest.mark.parametrize("option", [each for parameter in witness.params for each in parameter.opts if each.startswith("--")])
def test_every_option_of_the_command_is_told(option: str) -> None:
    """Those of `lockgate witness`."""
    assert option in page("witnesses.md")


def test_the_example_of_a_ledger_is_one() -> None:
    """Its keys are settings, and its values are those that it says it would have anyway."""
    (block,) = re.findall(r"```yaml\n(audit:\n.+?)```", page("witnesses.md"), re.DOTALL)
    told = WitnessesConfig.model_validate(yaml.safe_load(block)["audit"]["witnesses"])
    assert told == WitnessesConfig(policy="witnesses.policy", ready_within="6h")
