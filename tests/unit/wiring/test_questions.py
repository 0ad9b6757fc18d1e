"""Questions while the index that answers them is still being made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.sqlite.subject_keys import KeyFile
from router.audit.keys.caching import CachedSubjectKeys
from router.audit.keys.files import read_sealing_key
from router.audit.questions import index
from router.config.evidence import AuditConfig
from router.control.services import AuditFilters
from router.errors import AuditError
from router.wiring import questions as module
from router.wiring.questions import AuditQuestions
from tests.unit.docs import asked_ledger as asked


class Recorded:
    async def system(self, event: str, details: dict[str, Any]) -> None: ...


@pytest.fixture
async def questions(tmp_path: Path) -> AsyncIterator[AuditQuestions]:
    ledger = asked.make(tmp_path)
    for each in ledger.folder.glob("index.sqlite*"):
        each.unlink()
    root = ledger.folder.parent
    workspace: Any = SimpleNamespace(
        path=lambda name: root / name, ledger_store=None, config=SimpleNamespace(state="state", audit=AuditConfig())
    )
    subjects = CachedSubjectKeys(KeyFile(ledger.folder / "keys.sqlite", read_sealing_key(ledger.folder / "keys" / "sealing.key")))
    await subjects.open()
    made = AuditQuestions(workspace, subjects, Recorded())
    yield made
    await made.close()
    await subjects.close()


async def test_nobody_waits_for_an_index_that_is_being_made(questions: AuditQuestions, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told how much is to go, and answered once it is there; where nothing is to be made nobody is refused."""
    under_way, on = Event(), Event()

    def held_up() -> None:
        under_way.set()
        on.wait(10)

    for place in (module, index):
        monkeypatch.setattr(place, "FAR", 0)
    monkeypatch.setattr(module, "GivingWay", lambda: held_up)
    making = asyncio.create_task(questions.prepare())
    await asyncio.to_thread(under_way.wait, 10)
    with pytest.raises(AuditError, match=r"is being made; \d+ records are still to go") as refused:
        await questions.query(AuditFilters(), None, 10, "nora")
    assert refused.value.code == "audit_indexing"
    on.set()
    await making
    assert (await questions.query(AuditFilters(), None, 10, "nora")).items


async def test_an_index_in_the_making_is_let_go_at_a_stop(questions: AuditQuestions, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no stop waits for it: what is not made yet is made after the next start."""
    under_way, on = Event(), Event()

    def held_up() -> None:
        under_way.set()
        on.wait(10)

    for place in (module, index):
        monkeypatch.setattr(place, "FAR", 0)
    monkeypatch.setattr(index, "SLICE", 1)
    monkeypatch.setattr(module, "GivingWay", lambda: held_up)
    making = asyncio.create_task(questions.prepare())
    await asyncio.to_thread(under_way.wait, 10)
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    on.set()
    assert making.cancelled()
