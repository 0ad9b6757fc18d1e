"""What readiness looks at in the control process."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from router.errors import AuditError
from router.wiring.control import ProcessStatus
from router.workspace_policies import EMBEDDED


@dataclass
class Kept:
    """A ledger, or subjects' keys, that can be asked unless `failing`."""

    failing: AuditError | None = None

    async def ping(self) -> None:
        if self.failing is not None:
            raise self.failing


class Workers:
    async def ask(self, kind: str) -> list[tuple[int, object]]:
        return [(0, "digest")] if kind == "ping" else []


def status(ledger: Kept, keys: Kept) -> ProcessStatus:
    engine = SimpleNamespace(engine=SimpleNamespace(adapter=EMBEDDED))
    workspace = SimpleNamespace(digests=SimpleNamespace(config="digest"), shared_state=None, config=SimpleNamespace(policy=engine))
    made: Any = ProcessStatus
    ready: ProcessStatus = made(Workers(), SimpleNamespace(workspace=workspace), ledger, int, keys=keys)
    return ready


async def test_a_node_is_ready_where_records_and_keys_can_be_had() -> None:
    """Both are asked."""
    checks = await status(Kept(), Kept()).ready()
    assert [(check.name, check.ok) for check in checks if check.name in ("audit", "keys")] == [("audit", True)]
    assert all(check.ok for check in checks)


@pytest.mark.parametrize("code", ["audit_disk_full", "audit_io_failed", "audit_keys_unconfirmed"])
async def test_a_node_is_not_ready_while_no_key_can_be_had(code: str) -> None:
    """Each request of somebody whom it does not know yet would get 503."""
    checks = await status(Kept(), Kept(AuditError("The disk is full.", code))).ready()
    assert [(check.name, check.detail) for check in checks if not check.ok] == [("keys", code)]


async def test_a_ledger_that_is_away_is_said_alone() -> None:
    """The keys are not asked then."""
    away = AuditError("The disk is full.", "audit_disk_full")
    checks = await status(Kept(away), Kept(away)).ready()
    assert [(check.name, check.detail) for check in checks if not check.ok] == [("audit", "audit_disk_full")]
