from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from adapters.sqlite.reader import SqliteReader
from router.audit.questions.reader import Stored
from router.audit.tree.checkpoint import note_checkpoint
from router.errors import AuditError
from router.wiring.witnesses import ReadLedger
from tests.unit.audit.ledgers import entries, run, written


async def test_a_proof_leads_to_what_was_signed(tmp_path: Path) -> None:
    """Over the ledger's file, from any size."""
    checkpoint = note_checkpoint(written(tmp_path, entries(40)))
    view = ReadLedger(partial(SqliteReader, tmp_path / "ledger.sqlite", Stored))
    assert [bool(await view.prove(old, checkpoint)) for old in (1, 20, 39)] == [True] * 3
    assert note_checkpoint(await view.newest() or "") == checkpoint
    await view.close()


async def test_a_broken_disk_is_not_taken_for_another_history(tmp_path: Path) -> None:
    """A stored hash that changed is found before a witness is shown a proof from it."""
    checkpoint = note_checkpoint(written(tmp_path, entries(40)))
    run(tmp_path, ("UPDATE leaf_hashes SET hash = ? WHERE idx = 30", (bytes(32),)))
    view = ReadLedger(partial(SqliteReader, tmp_path / "ledger.sqlite", Stored))
    with pytest.raises(AuditError) as caught:
        await view.prove(20, checkpoint)
    assert caught.value.code == "audit_tree_broken"
    await view.close()
