"""What a control process pays to take in records of several busy workers: frames, its ledger's writer, a real disk, and nothing else.
`python -m tests.bench.intake FD…` is the other side: as many workers, each of which always has some calls under way."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from pathlib import Path

import uvloop

from adapters.sqlite.ledger import SqliteStore
from router.audit.journal import Checkpointing, Journal
from router.audit.keys.files import ensure_signing_key
from router.audit.ledger import AuditLedger
from router.audit.tree.checkpoint import NoteSigner
from router.ipc import Peer
from router.ports import Entry
from tests.bench.ledger import RECORD
from tests.bench.processes import ROOT
from tests.bench.report import Figure, Report

WORKERS = (1, 8, 16)
UNDER_WAY, PER_FRAME = 4, 2
SECONDS = 2.0


async def measure(report: Report, folder: Path) -> None:
    figures = [figure for workers in WORKERS for figure in await _of(folder, workers)]
    note = f"{UNDER_WAY} frames of {PER_FRAME} records under way for each worker: as small as they get"
    report.section("Records taken in by a control process", figures, note)


async def _of(folder: Path, workers: int) -> list[Figure]:
    signer = NoteSigner("bench.example/intake", ensure_signing_key(folder / "intake.key"))
    store = SqliteStore(folder / f"intake-{workers}.sqlite")
    ledger = AuditLedger(Journal(store, Checkpointing(signer)))
    await ledger.open()
    frames = 0

    async def append(payload: list) -> list[int]:
        nonlocal frames
        frames += 1
        return await ledger.append_many([Entry(*fields) for fields in payload])

    pairs = [socket.socketpair() for _ in range(workers)]
    for ours, _ in pairs:
        ours.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: Peer({"append": append}), ours)
    theirs = [str(their.fileno()) for _, their in pairs]
    command, handles = (sys.executable, "-m", "tests.bench.intake", *theirs), [their.fileno() for _, their in pairs]
    other = await asyncio.create_subprocess_exec(*command, cwd=ROOT, pass_fds=handles)
    try:
        await asyncio.sleep(1.0)
        began, before, size = time.process_time(), frames, ledger.size
        at = time.perf_counter()
        await asyncio.sleep(SECONDS)
        cpu, taken, frames = time.process_time() - began, ledger.size - size, frames - before
        seconds = time.perf_counter() - at
    finally:
        other.kill()
        await other.wait()
        await ledger.close()
    name = f"{workers} workers" if workers > 1 else "1 worker"
    return [
        Figure(f"{name}, a decision of two records", cpu / taken * 2e6, "µs", None, None, f"CPU; {taken / frames:.1f} records a frame"),
        Figure(f"{name}, decisions", taken / 2 / seconds, "/s", None, None, f"{cpu / seconds:.2f} of a core"),
    ]


async def _worker(handle: int) -> None:
    sock = socket.socket(fileno=handle)
    sock.setblocking(False)
    _, peer = await asyncio.get_running_loop().connect_accepted_socket(lambda: Peer({}), sock)
    payload = [(RECORD.leaf, RECORD.sealed, RECORD.key_id)] * PER_FRAME

    async def one() -> None:
        while not peer.closed.is_set():
            await peer.call("append", payload)

    await asyncio.gather(*(one() for _ in range(UNDER_WAY)))


async def _workers(handles: list[int]) -> None:
    await asyncio.gather(*(_worker(handle) for handle in handles))


if __name__ == "__main__":
    uvloop.run(_workers([int(each) for each in sys.argv[1:]]))
