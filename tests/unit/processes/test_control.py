"""What is on record of a node that could not start."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from router.errors import AuditError, ConfigError
from router.processes import control
from router.processes.control import ControlProcess
from router.processes.stopping import LAST_RECORDS, Step


class Book:
    """The evidence of a node; `refuses`: its ledger takes no record from the second on; `waits`: nor says so."""

    def __init__(self, *, refuses: bool = False, waits: bool = False) -> None:
        self.told: list[tuple[str, Any]] = []
        self.refuses, self.waits = refuses, waits

    async def system(self, event: str, details: Any) -> None:
        if self.told and self.waits:
            await asyncio.Event().wait()
        if self.told and self.refuses:
            raise AuditError("The disk is full.", "audit_disk_full")
        self.told.append((event, details.get("failed")))

    async def record_refusals(self) -> None: ...


async def started(book: Book, fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raises the fault that the start fails for once it is on record."""
    workspace = SimpleNamespace(config=SimpleNamespace(telemetry=SimpleNamespace(log=None), nodes=None), ledger_store=None)

    async def begun(*_: Any) -> Any:
        return SimpleNamespace(workspace=workspace)

    async def evidence(*_: Any) -> Any:
        return book

    async def failing(*_: Any) -> None:
        raise fault

    async def closed(*_: Any) -> None: ...

    for name, instead in {"begin_with": begun, "open_evidence": evidence, "configure_logs": lambda _: None}.items():
        monkeypatch.setattr(control, name, instead)
    monkeypatch.setattr(control, "hand_over_soon", lambda: None)
    monkeypatch.setattr(control, "_describe", lambda _: {})
    monkeypatch.setattr(ControlProcess, "_with_evidence", failing)
    monkeypatch.setattr(ControlProcess, "_close", closed)
    await ControlProcess(Path("unused"), None, lambda *_: None, lambda _: None).run()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ConfigError("no"), "config_invalid"),
        (AuditError("The nodes' store is away.", "audit_unavailable"), "audit_unavailable"),
        (ValueError("unforeseen"), "internal"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_start_that_fails_says_what_for(fault: Exception, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for a store beside the ledger, which takes records: else the trail tells of a crash."""
    book = Book()
    with pytest.raises(type(fault)):
        await started(book, fault, monkeypatch)
    assert book.told == [("started", None), ("stopped", code)]


@pytest.mark.parametrize("how", ["refuses", "waits"])
async def test_a_ledger_that_takes_no_record_hides_no_fault(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told is why the start failed, and soon."""
    monkeypatch.setattr(control, "LAST_RECORDS", Step(0.01, LAST_RECORDS.after))
    book = Book(**{how: True})
    async with asyncio.timeout(20):
        with pytest.raises(AuditError, match="away"):
            await started(book, AuditError("The nodes' store is away."), monkeypatch)
    assert book.told == [("started", None)]
