"""What the control process does beside its workers while these serve: the control API, taking up changes, exporting figures.

Loaded while the workers start: it takes the control process as long as it takes them, and nobody asks it anything before.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from router.audit.questions.reader import LedgerReader, Stored
from router.control.app import create_app
from router.doors.http1 import GuardedHttp
from router.identity.certificate_callers import CertificateCallers
from router.ports import Clock
from router.processes import messages
from router.processes.acts import keep_acts
from router.processes.bundle_server import follow
from router.processes.bundles import Bundles
from router.processes.certificates import CONTROL, TILES, ListenerCertificates
from router.processes.ended_sessions import keep_ended
from router.processes.envoy_reports import EnvoyReports
from router.processes.evidence import Evidence
from router.processes.lasting import lasting
from router.processes.outbox_keeping import OutboxKeeping
from router.processes.probes import serving_probes
from router.processes.projecting import Projecting
from router.processes.reload import Reloader
from router.processes.rollout_desk import make_rollouts
from router.processes.rollouts import keep_rolling
from router.processes.server import server, started
from router.processes.sockets import listen
from router.processes.stopping import LISTENERS, Deadline
from router.processes.supervisor import Supervisor
from router.processes.tiles import serving_tiles
from router.processes.training import Progress
from router.processes.versions import InForce
from router.settings import Address
from router.system import SystemRandom, UuidV7, settle_memory
from router.wiring.control import ProcessStatus, make_control
from router.wiring.delivery_desk import OutboxDesk
from router.wiring.draining import Draining
from router.wiring.evidence_in import EvidenceIntake
from router.wiring.fates import LedgerFates
from router.wiring.following import Following
from router.wiring.governance import Governance
from router.wiring.identity import LiveHolders
from router.wiring.indexing import GivingWay, Indexing
from router.wiring.learning import Learning
from router.wiring.ledger_place import ledger_place
from router.wiring.membership import Facts, Membership, facts
from router.wiring.objective_keeping import FILE
from router.wiring.objective_ledger import LedgerCounts
from router.wiring.objectives import Objectives, Sources
from router.wiring.policy_trials import Trials
from router.wiring.projections import make_projections
from router.wiring.questions import AuditQuestions
from router.wiring.readings import Readings
from router.wiring.reconciling import Reconciling
from router.wiring.reviews import Reviews
from router.wiring.terms import delivery_terms
from router.workspace import Snapshot, Workspace

if TYPE_CHECKING:
    from router.telemetry.exporting import Exporters

GRACE_S = 10.0
REMEMBER_S = 7 * 86_400.0
LAST_BATCH_S = 2.0  # for projections; nobody who stops waits for a collector that hangs


@dataclass(slots=True)
class Serving:
    """`announce` is told the control API's address, and a token that signs in an administrator or nothing, once everything serves.
    `sockets`: the control process's own, bound, by setting. `asked`: whether somebody wanted the workspace read again meanwhile."""

    path: Path
    snapshot: Snapshot
    workspace: Workspace
    evidence: Evidence
    reviews: Reviews
    governance: Governance
    supervisor: Supervisor
    progress: Progress
    clock: Clock
    announce: Callable[[Address, str], None]
    bundles: Bundles
    certificates: ListenerCertificates
    fates: LedgerFates
    deadline: Deadline
    sockets: Mapping[str, socket.socket]
    asked: asyncio.Event
    membership: Membership | None = None
    learning: Learning | None = None
    envoy_reports: EnvoyReports | None = None
    _exported: Exporters | None = field(default=None, init=False)

    async def run(self, stopping: asyncio.Event) -> None:
        """Until it is to stop, or the control API has ended."""
        workspace, reviews = self.workspace, self.reviews
        in_force = InForce(workspace.path(workspace.config.state), self.evidence, self.clock)
        reloader = Reloader(
            self.path, self.snapshot, workspace, self.evidence, self.supervisor, reviews, self.progress, self.bundles, in_force
        )
        if self.learning is not None:
            self.learning.serve(reloader)
        sock = listen(self.sockets["control.listen"], "control.listen")
        audit = AuditQuestions(workspace, self.evidence.keys, self.evidence)
        destinations = lambda: frozenset(reloader.workspace.catalog.destinations)  # noqa: E731  # one line, once
        state, open_reader = workspace.path(workspace.config.state), partial(ledger_place(workspace).reader, Stored)
        taking = EvidenceIntake(open_reader, state, self.evidence.keys, self.evidence.ledger, self.clock, UuidV7(), destinations)
        following = Following(open_reader, state, self.evidence.keys, taking, lambda: reloader.workspace, self.clock, SystemRandom())
        reconciling = Reconciling(open_reader, state, lambda: reloader.workspace, self.evidence.keys, self.evidence, self.clock)
        projecting = Projecting(make_projections(workspace), open_reader)
        index = workspace.config.audit.index
        records = None if index is None else index.records
        indexing = Indexing(open_reader, state, records, self.evidence.ledger, self.clock)
        outbox = OutboxKeeping(self.evidence.outbox, self.clock, lambda: _remembered(reloader.workspace), self.evidence.lanes.lane)
        trials = Trials(audit, lambda: reloader.workspace)
        rolling = make_rollouts(reloader, self.supervisor, in_force, self.evidence, self.clock, trials)
        waiting = lambda: reviews.pending  # noqa: E731  # as above
        node = None if self.membership is None else self.membership.members.node
        due = lambda: int(outbox.figures()["lockgate.deliveries.pending"])  # noqa: E731  # as above
        sending = lambda: reviews.sending  # noqa: E731  # as above
        draining = Draining(self.supervisor, self.evidence.ledger, self.evidence.keys, self.clock, UuidV7(), node, sending, waiting, due)
        objectives = self._objectives(reloader, open_reader, state)
        status = ProcessStatus(
            self.supervisor,
            reloader,
            self.evidence.ledger,
            waiting,
            self.evidence.witnesses,
            projecting.lags,
            self.bundles,
            rolling.desk,
            self.certificates,
            self.membership,
            lambda: following.count,
            outbox.figures,
            reviews.telling.figures,
            tuple if self.learning is None else self.learning.watch.figures,
            draining,
            objectives.figures,
            tuple if self.envoy_reports is None else self.envoy_reports.figures,
            lambda: self.governance.destroyed_again,
            self.evidence.keys,
        )
        if self.membership is not None:
            self.membership.follow(lambda: {**self._runs(reloader), "state": draining.state})
        if (collector := workspace.config.telemetry.otlp) is not None:
            from router.telemetry.exporting import export_figures  # as in workers, only who has a collector loads what sends to it

            self._exported = export_figures(collector, "control", status.figures)
        certificates = CertificateCallers(LiveHolders(lambda: reloader.workspace.config.identity), self.clock)
        control = make_control(
            workspace,
            audit,
            taking,
            reconciling,
            reviews.api,
            status,
            self.clock,
            self.governance,
            indexing,
            trials,
            rolling.desk,
            self.membership,
            OutboxDesk(self.evidence.outbox, self.evidence.system, self.clock, self.fates, lambda: delivery_terms(reloader.workspace)),
            lambda: reloader.workspace.policies,
            self.evidence.verifier,
            None if self.learning is None else self.learning.api,
            None if self.learning is None else self.learning.labels,
            certificates,
            reviews.telling.alarm,
            None if self.learning is None else self.learning.quality,
            draining,
            objectives,
        )
        if control.services.sign_in is not None:
            status.open_glass = control.services.sign_in.open_glass
        running = server(create_app(control.services), http=GuardedHttp, grace_s=GRACE_S, ssl=self.certificates.context(CONTROL))
        await in_force.note(self.snapshot, workspace)
        serving = asyncio.create_task(running.serve([sock]))
        reading = Readings(workspace.path(workspace.config.state), self.evidence.keys, self.evidence)
        parts: dict[str, Callable[[], Awaitable[object]]] = {
            "looking for changes of the workspace": reloader.watch,
            "making the index of the audit trail": audit.prepare,
            "finishing what was ordered": self.governance.keep_up,
            "pruning": self.governance.keep_pruning,
            "taking up notes about readings": reading.keep_taking_up,
            "signing the index": indexing.keep,
            "following work": following.keep,
            "looking after events and deliveries": outbox.keep,
            "asking for bundles": partial(follow, reloader, self.bundles),
            "looking after rollouts": partial(keep_rolling, rolling.service),
            "looking at certificates": partial(self.certificates.keep, self.supervisor),
            "recording refusals of the control API": partial(keep_acts, control.services),
            "draining": draining.keep,
            "looking at objectives": objectives.keep,
            "recording ends of sessions": partial(keep_ended, control.services),
            **({} if self.learning is None else {"learning": self.learning.keep}),
        }
        keeping = asyncio.gather(*(lasting(what, keep) for what, keep in parts.items()))
        besides = AsyncExitStack()
        try:
            await started(running, serving)
            await besides.enter_async_context(
                serving_tiles(
                    self.sockets.get("audit.tiles.listen"),
                    workspace,
                    self.evidence,
                    control.services,
                    self.clock,
                    self.certificates.context(TILES),
                )
            )
            await besides.enter_async_context(serving_probes(self.sockets.get("control.probes"), control.services))
            projecting.start()
            settle_memory()
            links = control.services.sign_in.local if control.services.sign_in is not None else None
            self.announce(Address(*sock.getsockname()[:2]), links.token() if links is not None else "")
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._look_again, reloader)
            if self.asked.is_set():
                self._look_again(reloader)
            await reviews.resume()
            await _first(stopping, serving)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            running.stop()
            await self.deadline.beside(LISTENERS, {"the control API": serving, "tiles and probes": besides.aclose()})
            works = {
                "refusals of the control API to be on record": control.services.acts.flush(),
                "what followed the work that was sent": following.close(),
                "what counted for objectives": objectives.close(),
                "the projections": asyncio.to_thread(projecting.close, LAST_BATCH_S),
                "what read the ledger for people": control.close(),
            }
            await self.deadline.beside(LISTENERS, works)

    def _objectives(self, reloader: Reloader, open_reader: Callable[[], LedgerReader], state: Path) -> Objectives:
        """Where the signed index is not kept, that of questions is not either, and keeping it would be work for this alone."""
        counts = None if self.workspace.config.audit.index is None else LedgerCounts(open_reader, state, GivingWay())
        sources = Sources(
            partial(self.supervisor.ask, messages.INDICATORS),
            self.evidence.ledger,
            self.evidence.refusals.waiting,
            lambda: self.bundles.age,
            counts,
        )
        return Objectives(sources, lambda: reloader.workspace.config.telemetry.objectives, state / FILE, self.clock)

    def _runs(self, reloader: Reloader) -> Facts:
        current = self.supervisor.current
        return facts(reloader.workspace, None if current is None else current.model)

    def _look_again(self, reloader: Reloader) -> None:
        reloader.wake()
        self.certificates.wake()

    async def end_export(self) -> None:
        """Beside the draining, and on a thread: a collector that hangs must keep neither the ledger nor its callers waiting."""
        if self._exported is not None:
            await asyncio.to_thread(self._exported.close)


def _remembered(workspace: Workspace) -> float:
    """Where no events are taken any more, those that were are forgotten as if some were."""
    events = workspace.config.events
    return events.remember if events is not None else REMEMBER_S


async def _first(stopping: asyncio.Event, serving: asyncio.Task[None]) -> None:
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait((told, serving), return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
