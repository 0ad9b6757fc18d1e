"""A worker: the gateway and decide doors on one core. It owns no durable state; the control process does.

Started as `python -m router.processes.worker DESCRIPTOR` by `router.processes.launching`, which says what comes over that socket.
"""

from __future__ import annotations

import gc

_looked = gc.isenabled()
gc.disable()  # as `router.system.loading`, but here the modules are those of this module

import signal

if __name__ == "__main__":
    # Both go to the whole group. Who started this one ends it at Ctrl-C, and reads the workspace again when the terminal hangs up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import uvloop

from router.audit.keys.leasing import lease_clock
from router.delivery.running import Running, Ways
from router.doors.http1 import guarded
from router.doors.http1_websocket import MOST_MESSAGE
from router.doors.onward import Onward
from router.doors.tls import Listening, Material
from router.doors.under_way import UnderWay
from router.errors import LockgateError
from router.ipc import Handler, Peer, connect, heard
from router.processes import messages
from router.processes.conversations import RemoteConversations
from router.processes.drained import Drainable
from router.processes.fates import RemoteFates
from router.processes.launching import Duty, told
from router.processes.outbox import RemoteOutbox
from router.processes.quotas import RemoteQuotas
from router.processes.refusals import Refusals
from router.processes.remote import Outcomes, RemoteLedger, RemoteReviews, RemoteSubjectKeys
from router.processes.repeats import RemoteRepeats
from router.processes.server import Server, inherited, server
from router.processes.sockets import most_connections
from router.processes.stopping import CLOSE, DOORS, DRAIN_S, GIVE_BACK, RECORD, Deadline
from router.processes.waiting import RemoteReviewFeed
from router.review.waiting import Waits
from router.rollout.rolling import Rolling
from router.rollout.stage import NOBODY, Stage
from router.settings import Address, address
from router.snapshot import Snapshot
from router.stages.lapsing import Lapse
from router.system import SystemClock, SystemRandom, UuidV7, hand_over_soon, release_memory, settle_memory
from router.telemetry.logs import configure_logs
from router.telemetry.objectives.indicators import Indicators
from router.telemetry.setup import Telemetry, start_telemetry
from router.wiring.candidate import Candidate
from router.wiring.delivering import make_delivering
from router.wiring.doors import Doors, make_doors
from router.wiring.runtime import Built, Services, build, set_pace
from router.workspace import Workspace, parse

if TYPE_CHECKING:
    from router.wiring.envoy import EnvoyListener
    from router.wiring.events import Events

gc.freeze()
if _looked:
    gc.enable()
log = logging.getLogger("lockgate.worker")
HANDSHAKE_S = 60.0  # after which one is not counted any more that nobody has told of
REFUSALS_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Inherited:
    """File descriptors, None for a door that is switched off. `envoy`: where this worker serves Envoy, None for nowhere; `node`: what its
    node is called among others, empty where there are none."""

    ipc: int
    gateway: int | None = None
    decide: int | None = None
    events: int | None = None
    envoy: Address | None = None
    node: str = ""


class Worker:
    def __init__(self, index: int, workers: int) -> None:
        self._index = index
        self._workers = workers
        self._asked = 0  # how many configurations were to be prepared
        self._prepared: Built | None = None
        self._serving: Built | None = None
        self._retiring: asyncio.Task[None] | None = None
        self._doors: Doors | None = None
        self._services: Services | None = None
        self._telemetry: Telemetry | None = None
        self._rollings: WeakSet[Rolling] = WeakSet()  # also those that requests under way began with
        self._refusals = Refusals()
        self._lapse = Lapse(lease_clock)
        self._servers: list[Server] = []
        self._listening: dict[str, Listening] = {}
        self._peer: Peer | None = None
        self._envoy: EnvoyListener | None = None
        self._delivering: Running | None = None
        self._onward: Onward | None = None
        self._events: Events | None = None
        self._for_envoy: Material | None = None
        self._drainable = Drainable(UnderWay())
        self._configured = asyncio.Event()
        self._stopping = asyncio.Event()
        self.deadline = Deadline(DOORS.whole)

    async def run(self, given: Inherited) -> None:
        peer = self._peer = await connect(inherited(given.ipc), self._handlers())
        self._services = _services(peer, self._workers, self._lapse, self._drainable.under_way)
        self._drainable.waits, self._drainable.late = self._services.waits, self._services.late
        watch = asyncio.create_task(self._stop_with(peer))
        reporting = asyncio.create_task(self._report_refusals(peer))
        try:
            await self._first_of(self._configured, self._stopping)
            if not self._stopping.is_set():
                await self._serve(given)
        finally:
            reporting.cancel()
            watch.cancel()
            await self._close(peer)

    def stop(self, until: float | None = None) -> None:
        """Ends the servers once what they are serving is finished. The process is to have ended by `until`, by `time.monotonic`."""
        self.deadline.begin(until)
        self._stopping.set()
        if self._services is not None and self._services.waits is not None:
            self._services.waits.stop()
        if self._delivering is not None:
            self._delivering.drain(True)  # what is sent when the doors have ended is given little time
        for running in self._servers:
            running.stop()

    def _handlers(self) -> Mapping[str, Handler]:
        return {
            messages.PREPARE: self._prepare,
            messages.ACTIVATE: self._activate,
            messages.METRICS: self._metrics,
            messages.INDICATORS: self._indicators,
            messages.STEP: self._step,
            messages.ROLLOUT_FIGURES: self._rollout_figures,
            messages.FORGET_KEY: self._forget_key,
            messages.KEYS_UNTIL: self._keys_until,
            messages.POLICY: self._policy,
            messages.SHARED_STATE: self._shared_state,
            messages.POLICY_UNTIL: self._policy_until,
            messages.CERTIFICATES: self._take_certificates,
            messages.ENVOY_TOLD: self._envoy_told,
            messages.DRAIN: self._drain,
            messages.END: self._end,
            messages.PING: self._ping,
        }

    async def _prepare(self, payload: Any) -> None:
        """`[snapshot bytes, model directory or None, the policies' plan or None, a rollout's candidate or None]`. Raises ConfigError; what
        serves goes on serving. The one that was asked for last counts: who asked for one before it waits for that no more."""
        self._asked += 1
        place = self._asked
        snapshot, model, plan, given = payload
        candidate = Candidate.from_payload(given) if given is not None else None
        serving = self._serving.workspace if self._serving is not None else None
        workspace = await asyncio.to_thread(_parsed, snapshot, serving)  # requests go on meanwhile
        if self._telemetry is None:
            settings = workspace.config.telemetry
            configure_logs(settings.log)
            self._telemetry = start_telemetry(settings.otlp, f"worker-{self._index}", self._refusals.add)
        if self._services is None:
            raise LockgateError("the worker has no connection yet", "not_connected")
        self._check_asked(place)
        await self._discard()
        beside = self._serving
        built = await build(workspace, model, self._services, self._telemetry, beside, plan, candidate)
        try:
            self._check_asked(place)
        except LockgateError:
            await built.close(keeping=beside)
            raise
        self._prepared = built
        if built.rolling is not None:
            self._rollings.add(built.rolling)

    def _check_asked(self, place: int) -> None:
        """Raises LockgateError."""
        if place != self._asked:
            raise LockgateError("another configuration was to be prepared meanwhile", "not_prepared")

    async def _discard(self) -> None:
        """Lets go of what was prepared and never activated, because another worker could not prepare it."""
        stale, self._prepared = self._prepared, None
        if stale is not None:
            await stale.close(keeping=self._serving)

    async def _activate(self, digest: Any) -> None:
        built, before = self._prepared, self._serving
        if self._telemetry is None or built is None or built.workspace.digests.config != digest:
            raise LockgateError("that configuration was not prepared", "not_prepared")
        self._prepared = None
        if self._doors is None:
            self._delivering, self._onward = make_delivering(built.services, self._telemetry, self._telemetry.metrics, self._ways)
            self._doors = make_doors(built.workspace.config.gateway.limits, built.services, self._telemetry, self._onward)
            under_way, late = built.services.under_way, built.services.late
            self._telemetry.metrics.count_active(lambda: under_way.count)
            self._telemetry.metrics.count_late(lambda: len(late))
        self._doors.serve(built.runtime)
        settings = built.workspace.config.telemetry
        configure_logs(settings.log)
        self._telemetry.access_log = settings.access_log
        self._serving = built
        self._step_everywhere(built.rolling)
        set_pace(built.services.waits, built.workspace)
        if self._delivering is not None:
            self._drainable.delivering = self._delivering
            self._delivering.often = built.workspace.config.events is not None or bool(built.runtime.deliveries)
        await self._serve_events(built.workspace)
        self._configured.set()
        if before is None:
            settle_memory()
        else:
            self._retire(before, built)

    async def _serve_events(self, workspace: Workspace) -> None:
        """What comes from brokers is taken up with the configuration."""
        if self._doors is None or self._telemetry is None or self._onward is None or self._services is None:
            return
        if self._events is None and workspace.config.events is not None:
            from router.wiring.events import make_events  # only who takes events has what it needs

            self._events = make_events(
                workspace, self._services, self._telemetry, self._telemetry.metrics, self._doors.gate.using, self._onward
            )
        if self._events is not None:
            self._drainable.events = self._events
            self._drainable.tell()
            await self._events.serve(workspace)

    def _ways(self) -> Ways | None:
        """Where deliveries go now."""
        if self._serving is None:
            return None
        return Ways(self._serving.destinations.exactly, self._serving.runtime.deliveries)

    def _retire(self, before: Built, after: Built) -> None:
        """The former configuration is closed when the last request that began under it has ended, and after all before it: they may use
        parts of it, which it shares with them but not with what comes after."""
        self._retiring = asyncio.create_task(self._close_when_idle(before, after, self._retiring))

    async def _close_when_idle(self, before: Built, after: Built, earlier: asyncio.Task[None] | None) -> None:
        if before.rolling is not None:  # nobody else uses it, and a socket that is open for days would keep each rollout's engine
            await self._idle(before)
            await _quietly(before.rolling.close())
        if earlier is not None:
            await asyncio.wait([earlier])
        await self._idle(before)
        await _quietly(before.close(keeping=after))
        del before
        release_memory()

    async def _idle(self, built: Built) -> None:
        if self._doors is not None:
            await self._doors.gate.idle(built.runtime)

    async def _serve(self, given: Inherited) -> None:
        if self._serving is None or self._doors is None:
            return
        limits = self._serving.workspace.config.gateway.limits
        http = self._drainable.http = guarded(limits.header_timeout, limits.header_count, limits.header_bytes, most_connections())
        self._drainable.servers = self._servers
        bounds: dict[str, Any] = {"http": http, "grace_s": DRAIN_S, "handshake_s": limits.header_timeout}
        sockets = []
        if given.gateway is not None:
            most = min(limits.body, MOST_MESSAGE)
            self._servers.append(server(self._doors.gate, ssl=self._listening.get("gateway"), date=False, messages=most, **bounds))
            sockets.append(inherited(given.gateway))
        if given.decide is not None:
            from router.doors.decide_api import create_app  # who switches this door off does not wait for what it needs

            app = create_app(self._doors.decide, lambda: not self._stopping.is_set() and not self._drainable.out, limits.body)
            self._servers.append(server(app, ssl=self._listening.get("decide"), **bounds))
            sockets.append(inherited(given.decide))
        if given.events is not None and self._events is not None:
            self._servers.append(server(self._events.door, ssl=self._listening.get("events"), date=False, **bounds))
            sockets.append(inherited(given.events))
        self._drainable.tell()
        if self._delivering is not None:
            self._delivering.start()
        serving = [running.serve([sock]) for running, sock in zip(self._servers, sockets, strict=True)]
        doors = asyncio.gather(*serving, *([self._serve_envoy(given.envoy, given.node)] if given.envoy is not None else []))
        await self._first_of(self._stopping, ended=doors)
        await self.deadline.within(DOORS, "its doors", doors)

    async def _serve_envoy(self, address: Address, node: str) -> None:
        """Raises ConfigError."""
        if self._serving is None or self._doors is None or self._services is None or self._telemetry is None:
            return
        from router.wiring.envoy import Others, make_envoy  # only who fronts with Envoy has what it needs

        workspace = self._serving.workspace
        gate, telemetry = self._doors.gate, self._telemetry
        others = None
        if self._peer is not None and (self._workers > 1 or node):
            others = Others(self._tell_elsewhere, partial(self._peer.call, messages.ENVOY_OVER, self._index), self._peer.closed)
        self._envoy = make_envoy(workspace, self._services, gate, telemetry, others, self._for_envoy, node, self._count_refusal)
        self._drainable.envoy = self._envoy
        self._drainable.tell()
        await self._envoy.serve(address, self._stopping, DRAIN_S)

    def _tell_elsewhere(self, reports: Sequence[Any]) -> None:
        """What Envoy's access log says of requests that another worker decided, or another node: the control process finds them."""
        if self._peer is not None:
            self._peer.begin(messages.ENVOY_ENDED, list(reports)).add_done_callback(heard)

    async def _envoy_told(self, reports: Any) -> None:
        if self._envoy is not None:
            self._envoy.told(reports)

    async def _stop_with(self, peer: Peer) -> None:
        """Without the control process nothing can be recorded, so nothing may be accepted."""
        await peer.closed.wait()
        self.stop()

    async def _report_refusals(self, peer: Peer) -> None:
        while True:
            await asyncio.sleep(REFUSALS_EVERY_S)
            await self._tell_refusals(peer)

    async def _tell_refusals(self, peer: Peer) -> None:
        counts = self._refusals.take()
        if not counts:
            return
        try:
            await peer.call(messages.REFUSED, counts)
        except LockgateError:
            self._refusals.put(counts)
        else:
            self._refusals.done()

    async def _metrics(self, _: Any) -> str:
        return self._telemetry.exposition() if self._telemetry is not None else ""

    async def _indicators(self, _: Any) -> Indicators | None:
        return self._telemetry.metrics.indicators() if self._telemetry is not None else None

    async def _step(self, payload: Any) -> None:
        """`[rollout, stage]`"""
        rollout, stage = payload
        for each in self._rollings:
            if each.rollout == rollout:
                each.stage = Stage.from_json(stage)
        rolling = self._serving.rolling if self._serving is not None else None
        if rolling is None or rolling.rollout != rollout:
            raise LockgateError("that rollout is not under way here", "not_prepared")

    def _step_everywhere(self, serving: Rolling | None) -> None:
        """A request that is under way keeps the parts that it began with, but no candidate decides it that has been taken back."""
        for each in self._rollings:
            each.stage = serving.stage if serving is not None and serving.rollout == each.rollout else NOBODY

    async def _rollout_figures(self, rollout: Any) -> Any:
        rolling = self._serving.rolling if self._serving is not None else None
        return rolling.take() if rolling is not None and rolling.rollout == rollout else None

    async def _forget_key(self, key_id: Any) -> None:
        if self._services is not None:
            self._services.keys.forget(key_id)

    async def _keys_until(self, until: Any) -> None:
        if self._services is not None:
            self._services.keys.usable_until(until)

    async def _policy(self, _: Any) -> str:
        return (self._serving.policy.problem or "") if self._serving is not None else ""

    async def _shared_state(self, _: Any) -> str:
        return self._serving.shared_state.problem if self._serving is not None else ""

    async def _policy_until(self, until: Any) -> None:
        self._lapse.until = until

    async def _take_certificates(self, payload: Any) -> None:
        """By listener. Connections go on with what they began with."""
        for name, material in payload.items():
            if name == "envoy":  # whose listener makes of it what it needs
                self._for_envoy = Material.from_payload(material)
                if self._envoy is not None:
                    self._envoy.take(self._for_envoy)
            elif name in self._listening:
                self._listening[name].take(Material.from_payload(material))
            else:
                self._listening[name] = Listening.of(
                    Material.from_payload(material), self._count_refusal, most_connections() // 2, HANDSHAKE_S
                )

    def _count_refusal(self, code: str) -> None:
        """Without a line in the access log: there was no request."""
        self._refusals.add(code)
        if self._telemetry is not None:
            self._telemetry.metrics.refused(code)

    async def _drain(self, out: Any) -> dict[str, Any]:
        if not self._stopping.is_set():
            self._drainable.drain(bool(out))
        return self._drainable.busy()

    async def _end(self, until: Any) -> None:
        self.stop(until)

    async def _ping(self, _: Any) -> str:
        return self._serving.workspace.digests.config if self._serving is not None else ""

    async def _close(self, peer: Peer) -> None:
        stop = self.deadline
        await stop.within(GIVE_BACK, "messages and deliveries that are under way", self._give_back())
        await stop.within(RECORD, "the outcomes of what was cut to be on record", self._recorded(peer))
        works: dict[str, Awaitable[object]] = {"its connections": self._let_go()}
        if self._telemetry is not None:
            works["telemetry that is left"] = asyncio.to_thread(self._telemetry.close)
        await stop.beside(CLOSE, works)
        peer.close()

    async def _give_back(self) -> None:
        if self._events is not None:
            await self._events.close(self.deadline.left(DOORS))
        if self._delivering is not None:
            await self._delivering.close(self.deadline.left(DOORS))

    async def _recorded(self, peer: Peer) -> None:
        """Requests that were cut have an outcome, too, and are under way until it is on record."""
        await self._tell_refusals(peer)
        if self._retiring is not None:
            await asyncio.wait([self._retiring])
        if self._serving is not None:
            await self._idle(self._serving)
        if self._services is not None:
            await self._services.late.recorded()

    async def _let_go(self) -> None:
        await self._discard()
        if self._serving is not None:
            await self._serving.close()

    @staticmethod
    async def _first_of(*events: asyncio.Event, ended: asyncio.Future[Any] | None = None) -> None:
        """`ended` may come first, too, and goes on where it does not."""
        told = [asyncio.ensure_future(event.wait()) for event in events]
        await asyncio.wait([*told, *([] if ended is None else [ended])], return_when=asyncio.FIRST_COMPLETED)
        for task in told:
            task.cancel()


def _parsed(content: bytes, serving: Workspace | None) -> Workspace:
    """The very one that serves, where only a rollout begins or ends."""
    snapshot = Snapshot.from_bytes(content)
    given = snapshot.root, snapshot.digest, snapshot.secrets
    if serving is not None and (serving.root, serving.digests.config, serving.secrets) == given:
        return serving
    return parse(snapshot, os.environ)


async def _quietly(closing: Awaitable[None]) -> None:
    try:
        await closing
    except Exception:  # it serves nobody any more, but what it left open should be known
        log.exception("a former configuration was not closed cleanly")


def _services(peer: Peer, workers: int, lapse: Lapse, under_way: UnderWay) -> Services:
    ledger = RemoteLedger(peer, under_way.at_hand)
    return Services(
        ledger=ledger,
        keys=RemoteSubjectKeys(peer),
        reviews=(reviews := RemoteReviews(peer)),
        resumes=reviews,
        clock=SystemClock(),
        ids=UuidV7(),
        random=SystemRandom(),
        workers=workers,
        outcomes=Outcomes(ledger),
        quotas=RemoteQuotas(peer),
        repeats=RemoteRepeats(peer),
        outbox=RemoteOutbox(peer),
        conversations=RemoteConversations(peer),
        fates=RemoteFates(peer),
        waits=Waits(RemoteReviewFeed(peer)),
        lapse=lapse,
        under_way=under_way,
    )


def _inherited(ipc: int, duty: Duty, doors: Mapping[str, int]) -> Inherited:
    return Inherited(
        ipc, doors.get("gateway"), doors.get("decide"), doors.get("events"), address(duty.envoy) if duty.envoy else None, duty.node
    )


async def main(index: int, workers: int, given: Inherited) -> None:
    hand_over_soon()
    worker = Worker(index, workers)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, worker.stop)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C goes to the whole group; the control process drains us
    await worker.run(given)
    if worker.deadline.behind:
        os._exit(0)  # nothing is left to do, but for threads that may wait for minutes


def begin(sock: socket.socket) -> None:
    """What a process does from when it has loaded to its end."""
    with sock:
        given = told(sock)
        ipc = sock.detach()
    if given is not None:
        with contextlib.suppress(KeyboardInterrupt):
            uvloop.run(main(given[0].index, given[0].workers, _inherited(ipc, *given)))


if __name__ == "__main__":
    begin(socket.socket(fileno=int(sys.argv[1])))
