"""Data that no policy reads is told of."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.rego.embedded import compile_all
from router.policy.folder import read_folder
from router.policy.unread import unread
from tests.unit.policy.halden import ROOT

POLICIES = ROOT / "policies" / "lockgate"
SHIPPED = (ROOT / "policies" / "data.yaml").read_text()
OWN = """package lockgate.rules.own

import data.lockgate.config.office as house

deny contains "x" if input.subject.groups[_] == house.closed_to
"""


def told(folder: Path, data: str, rule: str = "") -> list[str]:
    (folder / "data.yaml").write_text(data)
    found = read_folder(POLICIES, folder / "data.yaml", "lockgate")
    modules, _ = compile_all({**found.policies, **({"own.rego": rule} if rule else {})}, {})
    return [each.sentence for each in unread(found, modules)]


def test_all_of_the_shipped_data_is_read(tmp_path: Path) -> None:
    """Whoever fills it in has it heeded."""
    assert told(tmp_path, SHIPPED) == []


@pytest.mark.parametrize(
    ("old", "new", "key", "meant"),
    [
        ("    quotas:", "    quota:", "quota", "quotas"),
        ("mask: {destinations: []", "mask: {destination: []", "signals.mask.destination", "destinations"),
        ("      header: x-tenant", "      headers: x-tenant", "tenant.headers", "header"),
        ("      large_bodies:", "      large_body:", "request.large_body", "large_bodies"),
    ],
)
def test_a_key_that_is_written_wrongly_is_told_of(old: str, new: str, key: str, meant: str, tmp_path: Path) -> None:
    """With the one that is read, at any depth."""
    assert old in SHIPPED
    assert told(tmp_path, SHIPPED.replace(old, new)) == [
        f"No policy reads 'lockgate.config.{key}', so it has no effect. Did you mean '{meant}'?"
    ]


def test_what_is_looked_up_by_a_name_of_the_request_is_read(tmp_path: Path) -> None:
    """Intents, tenants and roles are names that no policy writes out."""
    assert told(tmp_path, SHIPPED.replace("      intents: {}", "      intents: {pay: {clerk: [eu]}}", 1)) == []
    assert told(tmp_path, SHIPPED.replace("      exempt: {}", "      exempt: {pay: [manager]}")) == []


def test_data_of_ones_own_is_read_by_ones_own_policies(tmp_path: Path) -> None:
    """By an import as well; without them nothing reads it."""
    data = f"{SHIPPED}    office: {{closed_to: night, open_to: day}}\n"
    (fault,) = told(tmp_path, data)
    assert fault.startswith("No policy reads 'lockgate.config.office', so it has no effect.")
    assert told(tmp_path, data, OWN) == []  # an import of the whole is a name of the whole
    by_path = OWN.replace("import data.lockgate.config.office as house\n\n", "").replace("house.", "data.lockgate.config.office.")
    (fault,) = told(tmp_path, data, by_path)
    assert fault.startswith("No policy reads 'lockgate.config.office.open_to', so it has no effect.")
