"""The same events through all of Lockgate: consumed, decided with both records durable, delivered. CPU of its processes is what counts."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from router.config.evidence import CheckpointConfig
from tests.e2e.processes import group
from tests.e2e.running import Lockgate, prepared
from tests.e2e.yard import load, save

SOURCE = "bench"
OFTEN = CheckpointConfig()  # as who says nothing has it; tests want checkpoints more often
CHECKPOINT = {"every": f"{OFTEN.every:g}s", "records": OFTEN.records}
SETTLE_S = 0.5
LONGEST_S = 300.0
ENDED = (  # in one question, for records come between two
    'SELECT count(*), count(*) FILTER (WHERE CAST(leaf AS TEXT) LIKE \'%"result":"routed"%\')'
    ' FROM records WHERE CAST(leaf AS TEXT) LIKE \'%"schema":"lockgate.outcome.v1"%\''
)


class Decided:
    """A Lockgate between a broker's input and its output."""

    def __init__(self, reading: dict[str, Any], writing: dict[str, Any]) -> None:
        self._reading = reading
        self._writing = writing
        self._stack = tempfile.TemporaryDirectory()
        self._running: Any = None
        self.lockgate: Lockgate | None = None

    def start(self) -> None:
        events = {"listen": None, "sources": {SOURCE: self._source()}}
        self._running = prepared(Path(self._stack.name), events=events, audit={"checkpoint": CHECKPOINT})
        lockgate: Lockgate = self._running.__enter__()
        catalog = load(lockgate.yard.folder / "catalog.yaml")
        catalog["destinations"]["out"] = self._writing
        catalog["routes"]["out"] = {"destination": "out"}
        catalog["rules"].insert(0, {"name": SOURCE, "match": {"path": f"/events/{SOURCE}"}, "intent": "look", "route": "out"})
        save(lockgate.yard.folder / "catalog.yaml", catalog)
        data = load(lockgate.yard.data)
        data["lockgate"]["config"]["access"]["routes"]["out"] = {"employee": ["*"]}
        save(lockgate.yard.data, data)
        lockgate.start()
        self.lockgate = lockgate

    async def spent(self, fill: Callable[[int], Awaitable[None]], events: int) -> float:
        """Microseconds of CPU an event, from before the first is there until the outcome of the last is recorded."""
        wanted, before, began = self._ended() + events, self._cpu(), time.monotonic()
        await fill(events)
        while self._ended() < wanted:
            if time.monotonic() - began > LONGEST_S:
                raise TimeoutError(f"{wanted - self._ended()} of {events} events did not come out: {self._said()}")
            await asyncio.sleep(0.2)
        await asyncio.sleep(SETTLE_S)
        return (self._cpu() - before) / events * 1e6

    def stop(self) -> None:
        if self._running is not None:
            self._running.__exit__(None, None, None)
        self._stack.cleanup()

    def _ended(self) -> int:
        """Events whose outcome is on record; each is a success, or the run means nothing."""
        if self.lockgate is None:
            return 0
        with closing(sqlite3.connect(f"{self.lockgate.yard.ledger.as_uri()}?mode=ro", uri=True, timeout=5)) as ledger:
            ended, routed = ledger.execute(ENDED).fetchone()
        if ended != routed:
            raise RuntimeError(f"{ended - routed} events were not delivered: {self._said()}")
        return int(ended)

    def _said(self) -> str:
        return self.lockgate.process.said[-1000:] if self.lockgate is not None else ""

    def _source(self) -> dict[str, Any]:
        speaker = {"subject": SOURCE, "roles": ["employee"]}
        names = {"id": "{{ body.id }}", "type": "order.paid"}
        return {"consume": self._reading, "speaks_for": speaker, "names": names}

    def _cpu(self) -> float:
        if self.lockgate is None:
            return 0.0
        pids = [self.lockgate.process.pid, *group(self.lockgate.process.pid)]
        times = [psutil.Process(pid).cpu_times() for pid in pids]
        return sum(each.user + each.system for each in times)
