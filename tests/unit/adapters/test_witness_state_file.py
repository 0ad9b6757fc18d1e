"""What a witness remembers is one file, and nobody cosigns from another."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.witness_state_file import WitnessStateFile
from router.audit.witnesses.desk import Seen
from router.errors import AuditError
from tests.unit.audit.witnesses import Log


def refused(path: Path) -> str:
    with pytest.raises(AuditError) as error:
        WitnessStateFile(path).open(new=False)
    return error.value.code


def test_a_state_is_neither_lost_nor_shared_nor_overtaken(tmp_path: Path) -> None:
    """A witness that forgot what it saw, or knew something else than is there, would cosign a fork."""
    path, seen = tmp_path / "state", Seen(Log().note(5), 1)
    assert refused(path) == "witness_state_missing"
    state = WitnessStateFile(path)
    state.open(new=True)
    assert refused(path) == "witness_state_locked"
    with pytest.raises(AuditError) as error:
        state.replace("ledger.test", seen, seen)
    assert (error.value.code, state.last("ledger.test")) == ("witness_state_changed", None)
    state.close()
