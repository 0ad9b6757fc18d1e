"""Policies checked in a process of their own."""

from __future__ import annotations

import pytest

from adapters.rego import planning
from adapters.rego.embedded import checked_plan
from adapters.rego.planning import _read, planned
from router.errors import ConfigError

ENTRIES = ("admission", "decision")
GOOD = {f"{entry}.rego": f'package lockgate.{entry}\n\nresult := {{"effect": "allow"}}\n' for entry in ENTRIES}


def nested(text: str, times: int) -> dict[str, str]:
    return GOOD | {"deep.rego": f"package lockgate.deep\n\nx := {text * times}\n"}


def test_a_plan_made_elsewhere_is_the_one_that_would_be_made_here():
    """The other process does the same, only where it can hold nobody up."""
    assert planned(GOOD, {}) == checked_plan(GOOD, {})


def test_every_fault_arrives():
    """By file and line, as if it had been found here."""
    faulty = GOOD | {"a.rego": "package lockgate.a\n\nx := y.z(1)\n", "b.rego": "package elsewhere\n"}
    with pytest.raises(ConfigError) as here:
        checked_plan(faulty, {})
    with pytest.raises(ConfigError) as there:
        planned(faulty, {})
    assert there.value.faults == here.value.faults
    assert len(there.value.faults) == 2


def test_wrong_data_is_refused():
    """Before anything is started for it."""
    with pytest.raises(ConfigError, match="must lie below"):
        planned(GOOD, {"elsewhere": 1})


def test_policies_that_take_for_ever_to_read_are_refused(monkeypatch):
    """Sixty brackets are enough for the interpreter's parser."""
    monkeypatch.setattr(planning, "MOST_S", 2)
    with pytest.raises(ConfigError, match=r"took more than 2 seconds\.$"):
        planned(nested("{", 60), {})


def test_policies_that_take_all_memory_to_read_are_refused(monkeypatch):
    """The process that reads them has a limit, and is the only one that ends."""
    monkeypatch.setattr(planning, "MEMORY", 96 << 20)
    with pytest.raises(ConfigError, match="broke off"):
        planned(GOOD | {f"{n}.rego": f"package lockgate.lib.p{n}\n\n" + "x if input.a == 1\n" * 2000 for n in range(60)}, {})


@pytest.mark.parametrize("told", [b"", b"{", b"[]", b"{}", b'{"faults": []}', b'{"faults": [], "plan": {}}', b'{"faults": 1}'])
def test_what_is_neither_plan_nor_fault_is_refused(told):
    """Whoever wrote the policies may speak for that process."""
    with pytest.raises(ConfigError, match="gave no plan"):
        _read(told, GOOD)
