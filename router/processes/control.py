"""The control process: owns the ledger, subject keys and reviews, serves the control API, and supervises the workers.

Start:  1 read and check the workspace   2 open the evidence   3 record the start, finish erasures   4 give workers their duty
        5 prepare the model, check the policies   6 hand workers their configuration, which they serve from then on   7 control API
        Loading takes longest: the first worker's process does it from before this one does, and 7 is loaded beside 5 and 6.
Stop:   7 and the workers in reverse, then the held-back refusals and the end are recorded, and the ledger is closed; the other nodes hear
        of it last. All of it by one deadline (`router.processes.stopping`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.config import Config, EnvoyConfig
from router.errors import AuditError, ConfigError, LockgateError
from router.ipc import Handler
from router.processes import messages
from router.processes.bundle_server import Beginning, begin_with
from router.processes.bundles import Bundles
from router.processes.certificates import ListenerCertificates
from router.processes.conversations import ConversationDesk
from router.processes.envoy_reports import EnvoyReports
from router.processes.evidence import Evidence, open_evidence
from router.processes.fates import FateDesk
from router.processes.lasting import lasting
from router.processes.launching import Loading
from router.processes.outbox import OutboxDesk
from router.processes.quotas import QuotaDesk
from router.processes.repeats import RepeatDesk
from router.processes.sockets import bound, held, listen, refuse_shared
from router.processes.stopping import CHECKPOINT, DISPATCHES, GOODBYES, LAST_RECORDS, STOP_S, WORKERS, Deadline
from router.processes.supervisor import Assignment, Supervisor
from router.processes.training import Progress, prepare_model
from router.processes.waiting import ReviewFeedDesk
from router.settings import Address
from router.system import SystemClock, UuidV7, hand_over_soon, loading
from router.telemetry.logs import configure_logs
from router.wiring.fates import make_fates
from router.wiring.governance import Governance
from router.wiring.learning import Learning, open_learning
from router.wiring.ledger_keys import open_sealing_key
from router.wiring.membership import Membership, facts, said_of_node
from router.wiring.nodes import shared_place
from router.wiring.policy import plan_policies
from router.wiring.reviews import Reviews, open_reviews
from router.wiring.sign_in import link_url
from router.workspace import Workspace

if TYPE_CHECKING:
    from router.processes.serving import Serving

log = logging.getLogger("lockgate.control")
MOST_HANDSHAKES, HANDSHAKE_S = 256, 10.0  # of the control API, at once


@dataclass(frozen=True, slots=True)
class Started:
    """What `serve` tells the person who started it: URLs, but for Envoy's addresses. `doors`: the HTTP ones that are open. `sign_in` makes
    its first user an administrator; empty where nobody signs in so."""

    doors: Mapping[str, str]
    envoy: tuple[str, ...]
    control: str
    workers: int
    records: int
    config_digest: str
    sign_in: str = ""


class ControlProcess:
    """`loading`: processes that load already, for the first workers."""

    def __init__(
        self,
        path: Path,
        workers: int | None,
        progress: Progress,
        announce: Callable[[Started], None],
        loading: Loading | None = None,
    ) -> None:
        self._path = path
        self._loading = loading
        self._wanted_workers = workers
        self._progress = progress
        self._announce = announce
        self._clock = SystemClock()
        self._stopping = asyncio.Event()
        self._look_again = asyncio.Event()
        self._deadline = Deadline(STOP_S)
        self._membership: Membership | None = None

    def stop(self) -> None:
        self._deadline.begin()
        self._stopping.set()

    def look_again(self) -> None:
        """What lies beside the configuration, such as certificates, may have been read already: once it serves it looks again."""
        self._look_again.set()

    async def run(self) -> None:
        """Returns after a clean stop. Raises ConfigError, AuditError, StateError where it could not start."""
        hand_over_soon()
        beginning = asyncio.ensure_future(begin_with(self._path, os.environ))  # 1
        if not await self._ends_before_a_stop(beginning) or self._stopping.is_set():
            return
        begun = beginning.result()
        workspace = begun.workspace
        configure_logs(workspace.config.telemetry.log)
        evidence = await open_evidence(workspace, self._clock)  # 2
        try:
            of_node = said_of_node(workspace)
            await evidence.system("started", {**_describe(workspace), **of_node})  # 3
            try:
                await self._with_evidence(begun, evidence)
            except Exception as error:
                await self._record_failure(evidence, error, of_node)
                raise
            await self._record_end(evidence, of_node)
        finally:
            await self._close(evidence)

    async def _record_failure(self, evidence: Evidence, error: Exception, of_node: Mapping[str, str]) -> None:
        """That it ended by itself and why: without a record it would look as if it had been killed. Where it is the ledger that fails it
        takes no record, either, and who started this process is not kept waiting for what went wrong."""
        code = error.code if isinstance(error, LockgateError) else LockgateError.code
        try:
            await self._record_end(evidence, {**of_node, "failed": code}, LAST_RECORDS.seconds)
        except AuditError as unrecorded:
            log.warning("%s", unrecorded)

    async def _record_end(self, evidence: Evidence, details: Mapping[str, Any], most: float = math.inf) -> None:
        """Raises AuditError."""
        why = "the ledger did not answer in time."
        try:
            if await self._deadline.within(LAST_RECORDS, "its last records", _recorded_end(evidence, details), most):
                return
        except AuditError as error:
            why = str(error)
        raise AuditError(f"That this node stopped is not on record: {why}", "audit_unsettled")

    async def _close(self, evidence: Evidence) -> None:
        """The ledger first: that others hear of it spares them a wait, and is no more than that."""
        first: dict[str, Awaitable[object]] = {"the ledger's last checkpoint": evidence.ledger.close()}
        if evidence.witnesses is not None:
            first["what is asked of witnesses"] = evidence.witnesses.close()
        await self._deadline.beside(CHECKPOINT, first)
        last: dict[str, Awaitable[object]] = {"the subjects' keys to be given up": evidence.keys.close()}
        if self._membership is not None:
            last["the other nodes to hear that it is gone"] = self._membership.close()
        await self._deadline.beside(GOODBYES, last)

    async def _with_evidence(self, begun: Beginning, evidence: Evidence) -> None:
        snapshot, workspace = begun.snapshot, begun.workspace
        config = workspace.config
        certificates = ListenerCertificates(workspace.root, config, MOST_HANDSHAKES, HANDSHAKE_S, evidence.refusals.add)
        workers = self._wanted_workers or config.workers
        own = {setting: bound(address.host, address.port, setting) for setting, address in config.beside.items()}  # while nobody is served
        sockets = {name: bound(address.host, address.port, f"{name}.listen") for name, address in config.doors.items()}
        for_envoy = _for_envoy(config.envoy, workers)
        membership = self._membership = await _among_others(workspace, evidence)
        if membership is not None and begun.given and workspace.override is None:
            await membership.refuse_older(workspace.bundle)
        learning = await open_learning(workspace, evidence, self._clock, UuidV7())
        try:
            reviews = await open_reviews(workspace, evidence, self._clock, None if membership is None else membership.members)
        except BaseException:
            await _closed(learning)
            raise
        if learning is not None:
            learning.reviews = reviews.store
        fates = make_fates(workspace, evidence.outbox, self._clock)
        reports = None if membership is None else _envoy_reports(workspace, membership.members.node)
        supervisor = Supervisor(
            sockets,
            partial(
                _handlers,
                evidence,
                reviews,
                QuotaDesk(self._clock),
                RepeatDesk(self._clock),
                OutboxDesk(evidence.outbox),
                FateDesk(fates),
                ConversationDesk(self._clock),
                reports,
            ),
            _addresses(for_envoy),
            "" if membership is None else membership.members.node,
            self._loading,
        )
        if reports is not None:
            reports.here = supervisor.envoy_told
        around = evidence.keys.holders = Around(supervisor, reviews, learning)
        governance = Governance(workspace, evidence, self._clock, UuidV7(), around)
        recording = asyncio.create_task(lasting("recording refusals", evidence.keep_recording))
        serving: Serving | None = None
        loaded = asyncio.create_task(_loaded())
        try:
            await governance.finish()  # 3, before anybody gets a key that was ordered to be destroyed
            if reports is not None:
                await reports.open()
            await supervisor.launch(workers)  # 4
            preparing = asyncio.gather(prepare_model(snapshot, workspace, self._progress), _planned(begun))  # 5
            if not await self._ends_before_a_stop(preparing):
                return
            model, plan = preparing.result()
            for name, sock in sockets.items():
                listen(sock, f"{name}.listen")
            for address in _addresses(for_envoy):
                refuse_shared(address.host, address.port, "envoy.listen")  # who began at the same time serves by now
            bundles = Bundles(evidence, supervisor.policy_until)
            fresh = begun.given or not bundles.is_kept(workspace)
            bundles.begin(workspace, fresh=fresh)
            await supervisor.certificates(certificates.payload)
            starting = asyncio.ensure_future(supervisor.start(Assignment(workspace.digests.config, snapshot.to_bytes(), model, plan)))  # 6
            if not await self._ends_before_a_stop(starting):
                return
            starting.result()
            await bundles.in_force(snapshot, workspace, fresh=fresh)
            tell = lambda address, token: self._tell(workspace, evidence, supervisor, sockets, for_envoy, address, token)  # noqa: E731 - shorter so
            serving = (await loaded)(
                self._path,
                snapshot,
                workspace,
                evidence,
                reviews,
                governance,
                supervisor,
                self._progress,
                self._clock,
                tell,
                bundles,
                certificates,
                fates,
                self._deadline,
                own,
                self._look_again,
                membership,
                learning,
                reports,
            )
            await serving.run(self._stopping)  # 7
        finally:
            recording.cancel()
            loaded.cancel()
            for sock in (
                *own.values(),
                *sockets.values(),
                *for_envoy,
            ):  # while ours is open, who connects would wait for an answer that nobody is going to give
                sock.close()
            until = self._deadline.until - WORKERS.after
            await asyncio.gather(supervisor.end(until), *([serving.end_export()] if serving is not None else []))
            works: dict[str, Awaitable[object]] = {
                "approved requests that are being sent": reviews.close(),
                "what told how requests ended": fates.close(),
                "erasures and holds": governance.close(),
                "what is learnt": _closed(learning),
            }
            if reports is not None:
                works["reports of Envoy's access log to reach the nodes that decided"] = reports.close()
            await self._deadline.beside(DISPATCHES, works)

    async def _ends_before_a_stop(self, work: asyncio.Future[Any]) -> bool:
        """Training may take minutes, and so may workers that hang. Who wants this process to end does not wait for them: what has not ended
        is cancelled."""
        told = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((told, work), return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
            ended = work.done()
            if not ended:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        return ended

    def _tell(
        self,
        workspace: Workspace,
        evidence: Evidence,
        supervisor: Supervisor,
        sockets: Mapping[str, socket.socket],
        for_envoy: Sequence[socket.socket],
        control: Address,
        token: str,
    ) -> None:
        config = workspace.config
        doors = {name: _url(config, name, *_addresses([sock])) for name, sock in sockets.items()}
        envoy, records = tuple(map(str, _addresses(for_envoy))), evidence.ledger.size
        link = link_url(config.control, control, token) if token else ""
        told = Started(doors, envoy, _url(config, "control", control), supervisor.alive, records, workspace.digests.config, link)
        self._announce(told)


def _url(config: Config, listener: str, address: Address) -> str:
    return f"{'https' if listener in config.listeners_tls else 'http'}://{address}"


async def _among_others(workspace: Workspace, evidence: Evidence) -> Membership | None:
    """None where this node shares nothing. Raises ConfigError, AuditError."""
    place = shared_place(workspace)
    if place is None:
        return None
    membership = Membership(place, evidence)
    await membership.open(lambda: facts(workspace, None))
    return membership


def _envoy_reports(workspace: Workspace, node: str) -> EnvoyReports | None:
    """None where Envoy sends no access log here. Not open yet. Raises ConfigError."""
    config, place = workspace.config, shared_place(workspace)
    if place is None or config.envoy is None or not config.envoy.access_log:
        return None
    return EnvoyReports(place.envoy_reports(node), node, partial(open_sealing_key, config.audit.sealing_key, workspace.root, create=False))


async def _recorded_end(evidence: Evidence, details: Mapping[str, Any]) -> None:
    await evidence.record_refusals()
    await evidence.system("stopped", details)


async def _closed(learning: Learning | None) -> None:
    if learning is not None:
        await learning.close()


class Around:
    """Where a subject's key may still be when it is gone from the keys' file."""

    def __init__(self, supervisor: Supervisor, reviews: Reviews, learning: Learning | None = None) -> None:
        self._learning = learning
        self._supervisor = supervisor
        self._reviews = reviews

    async def forget_key(self, key_id: str) -> None:
        await self._supervisor.forget_key(key_id)

    def keys_until(self, until: float) -> None:
        self._supervisor.keys_until(until)

    async def drop_held(self, key_id: str) -> None:
        await self._reviews.drop_held(key_id)
        if self._learning is not None:
            await self._learning.forget(key_id)


def _for_envoy(config: EnvoyConfig | None, workers: int) -> list[socket.socket]:
    """Raises ConfigError."""
    if config is None:
        return []
    if config.server == "grpc" and not _has("grpc", "grpc_health"):
        raise ConfigError("The door for Envoy needs more packages: pip install 'lockgate[envoy]'.")
    if config.server == "zttp" and not _has("zttp", "google", "google.protobuf"):
        raise ConfigError("'envoy.server: zttp' needs more packages: pip install 'lockgate[envoy-zttp]'.")
    return held(config.listen.host, config.listen.port, workers, "envoy.listen")


def _has(*modules: str) -> bool:
    return all(find_spec(each) is not None for each in modules)


def _addresses(sockets: Sequence[socket.socket]) -> tuple[Address, ...]:
    return tuple(Address(*sock.getsockname()[:2]) for sock in sockets)


async def _planned(begun: Beginning) -> dict[str, Any] | None:
    """Raises ConfigError."""
    return begun.plan if begun.plan is not None else await plan_policies(begun.workspace)


async def _loaded() -> type[Serving]:
    """On a thread, beside what workers prepare."""
    with loading():
        module = await asyncio.to_thread(import_module, "router.processes.serving")
    found: type[Serving] = module.Serving
    return found


def _handlers(
    evidence: Evidence,
    reviews: Reviews,
    quotas: QuotaDesk,
    repeats: RepeatDesk,
    outbox: OutboxDesk,
    fates: FateDesk,
    talks: ConversationDesk,
    reports: EnvoyReports | None,
) -> Mapping[str, Handler]:
    return {
        **({} if reports is None else {messages.ENVOY_ENDED: reports.ended}),
        **outbox.handlers,
        **fates.handlers,
        **ReviewFeedDesk(reviews).handlers,
        messages.CONVERSATION_READ: talks.read,
        messages.CONVERSATION_WRITE: talks.write,
        messages.APPEND: evidence.append,
        messages.SUBJECT_KEY: evidence.subject_key,
        messages.PING_LEDGER: evidence.ping,
        messages.REFUSED: evidence.refused,
        messages.HOLD: reviews.hold,
        messages.RESUME_KEEP: reviews.telling.rest,
        messages.QUOTA: quotas.take,
        messages.REPEAT_BEGIN: repeats.begin,
        messages.REPEAT_END: repeats.end,
        messages.REPEAT_RELEASE: repeats.release,
    }


def _describe(workspace: Workspace) -> dict[str, str]:
    digests = workspace.digests
    return {
        "version": version("lockgate"),
        "config_digest": digests.config,
        "catalog_digest": digests.catalog,
        "policy_digest": digests.policy,
    }
