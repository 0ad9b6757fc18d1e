from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from router.audit.governance.erasing import Who
from router.cli.main import run
from router.errors import AuditError
from router.processes.evidence import open_evidence
from router.system import UuidV7
from router.wiring.governance import Governance
from router.workspace import Workspace, parse, read
from tests.unit.audit.governed import DAY_NS, Clock, Noted
from tests.unit.audit.samples import DECISION
from tests.unit.cli.test_audit_orders import filled

RETENTION = "  retention: {every: 10ms, classes: [{name: rest, keep: 184d}]}\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    folder = tmp_path / "bank"
    assert run(["init", str(folder)]) == 0
    config = folder / "lockgate.yaml"
    config.write_text(config.read_text().replace("\naudit:\n", f"\naudit:\n{RETENTION}"))
    return parse(read(config, {}), {})


async def test_what_could_not_be_finished_is_finished_later(workspace: Workspace) -> None:
    """An order that is on record and was not carried out, while everything goes on running."""
    clock = Clock()
    evidence = await open_evidence(workspace, clock)
    governance, (key_id, _) = Governance(workspace, evidence, clock, UuidV7(), Noted()), await evidence.keys.key_for("zoe")
    await evidence.system("erasure_ordered", {"key_id": key_id, "reason": "gdpr_art_17"})
    keeping = asyncio.create_task(governance.keep_up(0.01))
    async with asyncio.timeout(20):
        while evidence.ledger.size < 2:  # noqa: ASYNC110  # the ledger tells nobody
            await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert await evidence.keys.key(key_id) is None
    await governance.close()
    await evidence.close()


async def test_the_schedule_prunes_and_goes_on_after_a_failure(
    workspace: Workspace, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and again and again; a run that fails is logged, and the next one does it."""
    clock = Clock(DECISION.decided_ns + 29 * 14 * DAY_NS)
    evidence = await open_evidence(workspace, clock)
    await filled(evidence)
    governance = Governance(workspace, evidence, clock, UuidV7(), Noted())
    failing = AuditError("The disk is full.", "audit_disk_full")

    async def fail(_: object) -> None:
        raise failing

    monkeypatch.setattr(evidence.ledger, "call", fail)
    pruning = asyncio.create_task(governance.keep_pruning())
    async with asyncio.timeout(20):
        while "pruning did not get through: The disk is full." not in caplog.text:  # noqa: ASYNC110  # the log tells nobody
            await asyncio.sleep(0.01)
        monkeypatch.undo()
        size = evidence.ledger.size
        while evidence.ledger.size == size:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)
    pruning.cancel()
    await asyncio.gather(pruning, return_exceptions=True)
    assert (await governance.prune(Who("olga", "")))["classes"][0]["parts"] == 0
    await governance.close()
    await evidence.close()
