"""A stop that comes before there is anything to stop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from router.processes import control
from router.processes.control import ControlProcess


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_stop_while_the_workspace_is_read_opens_no_evidence(monkeypatch: pytest.MonkeyPatch, hangs: bool) -> None:
    """Also where a server of bundles keeps the start waiting: nothing has begun that would be on record."""
    process = ControlProcess(Path("unused"), None, lambda *_: None, lambda _: None)

    async def reading(*_: Any) -> None:
        process.stop()
        if hangs:
            await asyncio.Event().wait()

    async def opened(*_: Any) -> None:
        raise AssertionError("evidence was opened")

    monkeypatch.setattr(control, "hand_over_soon", lambda: None)
    monkeypatch.setattr(control, "begin_with", reading)
    monkeypatch.setattr(control, "open_evidence", opened)
    await asyncio.wait_for(process.run(), 30)
