"""A worker serves or is replaced; there is nothing in between."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from router.errors import ConfigError
from router.processes.supervisor import Assignment, Supervisor

PATIENCE_S = 20.0


async def test_a_worker_that_cannot_take_its_configuration_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alive without a configuration it would count as a worker, serve nobody and never be replaced. Nor does it import anything from the
    folder that Lockgate was started in."""
    (tmp_path / "msgpack.py").write_text("raise SystemExit('imported from the working directory')")
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        supervisor = Supervisor([listening], dict)
        try:
            await supervisor.launch(1)
            with pytest.raises(ConfigError, match="failed"):
                await supervisor.start(Assignment("d" * 64, b"rubbish", None))
            async with asyncio.timeout(PATIENCE_S):
                while supervisor.alive:  # noqa: ASYNC110  # the supervisor tells nobody
                    await asyncio.sleep(0.01)
        finally:
            await supervisor.drain()


async def test_a_worker_that_ends_before_there_is_a_configuration_is_replaced() -> None:
    """Training may take minutes; what happens to an idle worker meanwhile must not cost the start."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        supervisor = Supervisor([listening], dict)
        try:
            await supervisor.launch(1)
            (launched,) = supervisor._workers.values()
            launched.process.kill()
            await launched.process.wait()
            with pytest.raises(ConfigError, match="failed"):  # the next one's answer, not that the first is gone
                await supervisor.start(Assignment("d" * 64, b"rubbish", None))
        finally:
            await supervisor.drain()
