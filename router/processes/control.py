"""The control process: owns the ledger, subject keys and reviews, serves the control API, and supervises the workers.

Start:  1 read and check the workspace   2 open the evidence   3 record the start   4 prepare the model   5 workers   6 control API
Stop:   6 5 in reverse, then the held-back refusals and the end are recorded, and the ledger is closed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from router.control.app import create_app
from router.doors.http1 import GuardedHttp
from router.ipc import Handler
from router.processes import messages
from router.processes.evidence import Evidence, open_evidence
from router.processes.reload import Reloader
from router.processes.server import server, started
from router.processes.sockets import listen
from router.processes.supervisor import Assignment, Supervisor
from router.processes.training import Progress, prepare_model
from router.settings import Address
from router.system import SystemClock, settle_memory
from router.telemetry.exporting import Exporters, export_figures
from router.telemetry.logs import configure_logs
from router.wiring.control import AuditQuestions, ProcessStatus, make_control
from router.wiring.reviews import Reviews, open_reviews
from router.workspace import Snapshot, Workspace, parse, read

log = logging.getLogger("lockgate.control")
GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class Started:
    """What `serve` tells the person who started it."""

    gateway: str
    decide: str | None
    control: str
    workers: int
    records: int
    config_digest: str


class ControlProcess:
    def __init__(self, path: Path, workers: int | None, progress: Progress, announce: Callable[[Started], None]) -> None:
        self._path = path
        self._wanted_workers = workers
        self._progress = progress
        self._announce = announce
        self._clock = SystemClock()
        self._stopping = asyncio.Event()
        self._exported: Exporters | None = None

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Returns after a clean stop. Raises ConfigError, AuditError, StateError where it could not start."""
        snapshot = read(self._path, os.environ)  # 1
        workspace = parse(snapshot, os.environ)
        configure_logs(workspace.config.telemetry.log)
        evidence = await open_evidence(workspace, self._clock)  # 2
        try:
            await evidence.system("started", _describe(workspace))  # 3
            await self._with_evidence(snapshot, workspace, evidence)
            await evidence.record_refusals()
            await evidence.system("stopped", {})
        finally:
            await evidence.close()

    async def _with_evidence(self, snapshot: Snapshot, workspace: Workspace, evidence: Evidence) -> None:
        model = await prepare_model(snapshot, workspace, self._progress)  # 4
        assignment = Assignment(workspace.digests.config, snapshot.to_bytes(), model)
        config = workspace.config
        doors = [config.gateway.listen, *([config.decide.listen] if config.decide is not None else [])]
        listening = [listen(address.host, address.port) for address in doors]
        reviews = await open_reviews(workspace, evidence, self._clock)
        supervisor = Supervisor(listening, lambda: _handlers(evidence, reviews))
        recording = asyncio.create_task(evidence.keep_recording())
        try:
            await supervisor.start(self._wanted_workers or config.workers, assignment)  # 5
            await self._with_workers(snapshot, workspace, evidence, reviews, supervisor, listening)
        finally:
            recording.cancel()
            for sock in listening:  # while ours is open, who connects would wait for an answer that nobody is going to give
                sock.close()
            await asyncio.gather(supervisor.drain(), self._end_export())
            await reviews.close()

    async def _with_workers(
        self,
        snapshot: Snapshot,
        workspace: Workspace,
        evidence: Evidence,
        reviews: Reviews,
        supervisor: Supervisor,
        listening: list[socket.socket],
    ) -> None:
        reloader = Reloader(self._path, snapshot, workspace, evidence, supervisor, reviews, self._progress)
        address = workspace.config.control.listen
        sock = listen(address.host, address.port)
        audit = AuditQuestions(workspace, evidence.keys, evidence)
        status = ProcessStatus(supervisor, reloader, evidence.ledger, lambda: reviews.pending)
        self._exported = export_figures(workspace.config.telemetry.otlp, "control", status.figures)
        control = make_control(workspace, audit, reviews.api, status, self._clock)
        running = server(create_app(control.services), http=GuardedHttp, grace_s=GRACE_S, ssl=control.ssl)
        serving = asyncio.create_task(running.serve([sock]))  # 6
        watching = asyncio.create_task(reloader.watch())
        try:
            await started(running, serving)
            settle_memory()
            self._tell(workspace, evidence, supervisor, [*listening, sock])
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.wake)
            await reviews.resume()
            await self._until_stopped(serving)
        finally:
            watching.cancel()
            running.stop()
            await serving
            await control.close()

    async def _end_export(self) -> None:
        """Beside the draining, and on a thread: a collector that hangs must keep neither the ledger nor its callers waiting."""
        if self._exported is not None:
            await asyncio.to_thread(self._exported.close)

    async def _until_stopped(self, serving: asyncio.Task[None]) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((stopping, serving), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    def _tell(self, workspace: Workspace, evidence: Evidence, supervisor: Supervisor, sockets: list[socket.socket]) -> None:
        names = [str(Address(*sock.getsockname()[:2])) for sock in sockets]
        decide = names[1] if len(names) == 3 else None
        self._announce(Started(names[0], decide, names[-1], supervisor.alive, evidence.ledger.size, workspace.digests.config))


def _handlers(evidence: Evidence, reviews: Reviews) -> Mapping[str, Handler]:
    return {
        messages.APPEND: evidence.append,
        messages.SUBJECT_KEY: evidence.subject_key,
        messages.PING_LEDGER: evidence.ping,
        messages.REFUSED: evidence.refused,
        messages.HOLD: reviews.hold,
    }


def _describe(workspace: Workspace) -> dict[str, str]:
    digests = workspace.digests
    return {
        "version": version("lockgate"),
        "config_digest": digests.config,
        "catalog_digest": digests.catalog,
        "policy_digest": digests.policy,
    }
