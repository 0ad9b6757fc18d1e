"""Starts workers, keeps them running, and hands them configurations: all of them take a new one, or none does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakSet

from router.errors import ConfigError, LockgateError, UnpreparedError
from router.ipc import Handler, Peer, RemoteError, connect, heard
from router.processes import messages
from router.processes.launching import Duty, Loading
from router.processes.stopping import DOORS
from router.settings import Address

log = logging.getLogger("lockgate.supervisor")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
HEALTHY_AFTER_S = 30.0
MOST_UNHEARD = 16 << 20  # bytes that wait for a worker which takes nothing
ANSWER_S, PREPARE_S = 3.0, 60.0  # a worker that is stuck must not stop everybody who asks
ELSEWHERE = frozenset(("worker_silent", "state_unavailable", "audit_unavailable", "secret_unavailable"))  # than in what is prepared


@dataclass(frozen=True, slots=True)
class Assignment:
    """A configuration as workers get it; `plan` is of its policies, `candidate` others that are rolled out over them."""

    digest: str
    snapshot: bytes
    model: str | None
    plan: Mapping[str, Any] | None = None
    candidate: Mapping[str, Any] | None = None

    @property
    def payload(self) -> list[Any]:
        return [self.snapshot, self.model, self.plan, self.candidate]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Worker:
    index: int
    process: asyncio.subprocess.Process
    peer: Peer

    async def prepare(self, assignment: Assignment) -> None:
        """Raises RemoteError with the worker's own fault."""
        await _within(PREPARE_S, self.peer.call(messages.PREPARE, assignment.payload))

    async def activate(self, assignment: Assignment) -> None:
        """Raises RemoteError with the worker's own fault."""
        await _within(ANSWER_S, self.peer.call(messages.ACTIVATE, assignment.digest))

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


class Supervisor:
    """`listening`: the sockets of the HTTP doors that are open, by name. `handlers` answer the workers' calls. `envoy`: where each worker
    serves Envoy; empty for nowhere. `node`: this one's name among others. `loading`: processes that were begun before, for the first
    workers."""

    def __init__(
        self,
        listening: Mapping[str, socket.socket],
        handlers: Callable[[], Mapping[str, Handler]],
        envoy: Sequence[Address] = (),
        node: str = "",
        loading: Loading | None = None,
    ) -> None:
        self._listening = listening
        self._loading = loading or Loading()
        self._envoy = envoy
        self._node = node
        self._handlers = handlers
        self._workers: dict[int, Worker] = {}
        self._fresh: set[Worker] = set()  # those that have no configuration yet, and were not told what one is told before it serves
        self._keepers: list[asyncio.Task[None]] = []
        self._current: Assignment | None = None
        self._changing = asyncio.Lock()
        self._ending = False
        self._over: set[int] = set()  # workers that end, and have heard from Envoy all that there is to hear
        self._all_over = asyncio.Event()
        self._deaf: WeakSet[Worker] = WeakSet()  # those that were told of as taking nothing
        self._out = False  # whether workers take up nothing new
        self._stepped: tuple[str, Mapping[str, Any]] | None = None  # the rollout that was told of a stage last, and that stage
        self._policy_until: float | None = None
        self._certificates: Mapping[str, Any] = {}
        self._count = 0

    async def launch(self, count: int) -> None:
        """The workers' processes, which load what they need while their configuration is still prepared. Raises ConfigError."""
        self._count = count
        await _all([self._launched(index) for index in range(count)])

    @property
    def current(self) -> Assignment | None:
        """What workers serve, and those that start from here on."""
        return self._current

    async def start(self, assignment: Assignment) -> None:
        """Returns when every worker that was launched serves. Raises ConfigError where one cannot."""
        self._current = assignment
        await _all([self._begin(worker) for worker in self._workers.values()])
        self._keepers = [asyncio.create_task(self._keep(index)) for index in self._workers]

    async def change(self, assignment: Assignment) -> None:
        """Every worker prepares first; only when all could is it activated anywhere. Raises ConfigError; the last good one stays."""
        async with self._changing:
            assignment = self._as_stepped(assignment)
            workers = await self._prepared(assignment)
            if (stepped := self._as_stepped(assignment)) is not assignment and stepped.candidate is not None:  # meanwhile
                await self.ask(messages.STEP, [stepped.candidate["rollout"], stepped.candidate["stage"]])
            self._current = assignment = stepped  # a worker that starts from here on gets the new one
            self._fresh.difference_update(workers)
            activated = await asyncio.gather(*(each.activate(assignment) for each in workers), return_exceptions=True)
            for worker, fault in zip(workers, activated, strict=True):
                if isinstance(fault, BaseException):
                    log.error("worker %d did not take the configuration up and is replaced: %s", worker.index, fault)
                    worker.kill()

    async def _prepared(self, assignment: Assignment) -> list[Worker]:
        """Those that are to take it up. Where all are gone the next that comes is waited for: nobody else can say whether it can be served.
        Raises ConfigError; UnpreparedError where nobody could say it, or for what lies elsewhere."""
        until = time.monotonic() + PREPARE_S
        while True:
            workers = list(self._workers.values())
            faults = await asyncio.gather(*(self._prepare(each, assignment) for each in workers), return_exceptions=True)
            for fault in faults:
                if isinstance(fault, RemoteError) and fault.code != "peer_gone":
                    raise (UnpreparedError if fault.code in ELSEWHERE else ConfigError)(str(fault))
            if None in faults:
                return workers
            if time.monotonic() > until:
                raise UnpreparedError(f"No worker was there for {PREPARE_S:g} seconds to say whether it can be served.")
            await asyncio.sleep(FIRST_PAUSE_S)

    async def _prepare(self, worker: Worker, assignment: Assignment) -> None:
        """Raises RemoteError."""
        if worker in self._fresh:
            await _within(PREPARE_S, worker.peer.call(messages.CERTIFICATES, self._certificates))  # it may still be starting
            await _within(ANSWER_S, worker.peer.call(messages.POLICY_UNTIL, self._policy_until))
            await _within(ANSWER_S, worker.peer.call(messages.DRAIN, self._out))
        await worker.prepare(assignment)

    async def step(self, rollout: str, stage: Mapping[str, Any]) -> None:
        """From here on the candidate decides for those. Returns when every worker knows it: one that does not answer is ended, and
        replaced by one that does. Workers hear it at once, also while they prepare another configuration, and a configuration that was
        made before it does not take it back."""
        self._stepped = rollout, stage
        await self.ask(messages.STEP, [rollout, stage])
        async with self._changing:
            current = self._current
            if current is None or current.candidate is None or current.candidate["rollout"] != rollout:
                return
            self._current = replace(current, candidate={**current.candidate, "stage": stage})
            await self._told_or_replaced(messages.STEP, [rollout, stage], "took up the rollout's step")

    def _as_stepped(self, assignment: Assignment) -> Assignment:
        candidate, stepped = assignment.candidate, self._stepped
        if candidate is None or stepped is None or candidate["rollout"] != stepped[0] or candidate["stage"] == stepped[1]:
            return assignment
        return replace(assignment, candidate={**candidate, "stage": stepped[1]})

    async def _told_or_replaced(self, kind: str, payload: Any, what: str) -> None:
        """Of one that has no configuration yet there is nothing to be told: it begins with what holds by then."""
        workers = [each for each in self._workers.values() if each not in self._fresh]
        asked = (_within(ANSWER_S, each.peer.call(kind, payload)) for each in workers)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for worker, fault in zip(workers, answers, strict=True):
            if isinstance(fault, BaseException):
                log.error("worker %d did not say that it %s and is replaced: %s", worker.index, what, fault)
                worker.kill()
                await worker.process.wait()

    async def ask(self, kind: str, payload: Any = None) -> list[tuple[int, object]]:
        """(index, answer) of every worker that answers in time."""
        workers = list(self._workers.values())
        answers = await asyncio.gather(*(_within(ANSWER_S, each.peer.call(kind, payload)) for each in workers), return_exceptions=True)
        return [(each.index, answer) for each, answer in zip(workers, answers, strict=True) if not isinstance(answer, BaseException)]

    async def forget_key(self, key_id: str) -> None:
        """Returns when no worker keeps it any more: one that does not answer is ended, and replaced."""
        await self._told_or_replaced(messages.FORGET_KEY, key_id, "forgot a key")

    def keys_until(self, until: float) -> None:
        """Nobody waits for an answer: a worker that does not hear it stops using keys by itself."""
        for worker in self._workers.values():
            worker.peer.begin(messages.KEYS_UNTIL, until).add_done_callback(heard)

    def policy_until(self, until: float | None) -> None:
        """As with keys: a worker that does not hear it stops deciding by itself. One that starts later is told before it serves."""
        self._policy_until = until
        for worker in self._workers.values():
            worker.peer.begin(messages.POLICY_UNTIL, until).add_done_callback(heard)

    async def envoy_told(self, reports: Any) -> None:
        """Every worker hears it, for only they know whose they are; nobody waits for an answer. For one that hangs not all of it is kept:
        what it decided is given up as without a report."""
        for worker in self._workers.values():
            if worker.peer.unsent < MOST_UNHEARD:
                worker.peer.begin(messages.ENVOY_TOLD, reports).add_done_callback(heard)
            elif worker not in self._deaf:
                self._deaf.add(worker)
                log.error("worker %d takes nothing any more, and is not told how requests behind Envoy ended", worker.index)

    async def _envoy_over(self, index: int) -> None:
        """Answered when all workers have said so, or have ended; at once to one that ends by itself."""
        self._over.add(index)
        self._look_over()
        if self._ending:
            await self._all_over.wait()

    def _look_over(self) -> None:
        if self._over.issuperset(each.index for each in self._workers.values() if each.process.returncode is None):
            self._all_over.set()

    async def certificates(self, payload: Mapping[str, Any]) -> None:
        """The listeners' TLS, by listener. Returns when every worker shows it; one that starts later gets it before it serves."""
        self._certificates = payload
        async with self._changing:
            if self._current is None:  # nobody serves yet
                return
            await self._told_or_replaced(messages.CERTIFICATES, payload, "took up the certificates")

    @property
    def alive(self) -> int:
        return sum(1 for worker in self._workers.values() if worker.process.returncode is None)

    async def drain(self, out: bool) -> list[tuple[int, object]]:
        """Whether workers take up nothing new; what each is busy with, as `Drainable.busy` tells it. One that starts later is told before
        it serves; one that does not answer has to be told again."""
        self._out = out
        return await self.ask(messages.DRAIN, out)

    async def end(self, until: float = math.inf) -> None:
        """Workers finish what they are doing and end by themselves; one that has not by `until`, by `time.monotonic`, is ended. Who has
        no configuration yet has nothing to finish."""
        self._ending = True
        until = min(until, time.monotonic() + DOORS.whole)
        for keeper in self._keepers:
            keeper.cancel()
        for worker in self._fresh:
            worker.kill()
        await self.ask(messages.END, until)
        await asyncio.gather(*(self._ended(worker, until) for worker in self._workers.values()))

    async def _ended(self, worker: Worker, until: float) -> None:
        await _end(worker, until)
        self._look_over()

    async def _keep(self, index: int) -> None:
        """Starts a worker again when it ends by itself, more slowly each time it ends soon."""
        pause = FIRST_PAUSE_S
        while True:
            began = asyncio.get_running_loop().time()
            status = await self._workers[index].process.wait()
            if self._ending:
                return
            log.error("worker %d ended with status %s; starting another", index, status)
            if asyncio.get_running_loop().time() - began > HEALTHY_AFTER_S:
                pause = FIRST_PAUSE_S
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
            try:
                await self._spawn(index)
            except (LockgateError, OSError) as error:
                log.error("worker %d could not be started: %s", index, error)

    async def _begin(self, worker: Worker) -> None:
        """The wait for the configuration may have been long, and one that has ended meanwhile is started again."""
        if worker.process.returncode is None:
            await self._assign(worker)
        else:
            await self._spawn(worker.index)

    async def _spawn(self, index: int) -> None:
        await self._assign(await self._launched(index))

    async def _assign(self, worker: Worker) -> None:
        """What is current, where no change has brought it meanwhile."""
        try:
            async with self._changing:
                if self._current is None or worker not in self._fresh:
                    return
                assignment = self._as_stepped(self._current)
                await self._prepare(worker, assignment)
                if (stepped := self._as_stepped(assignment)) is not assignment and stepped.candidate is not None:  # meanwhile
                    await self.ask(messages.STEP, [stepped.candidate["rollout"], stepped.candidate["stage"]])
                self._fresh.discard(worker)
                await worker.activate(assignment)
        except LockgateError:  # alive and without a configuration it would be neither of use nor replaced
            worker.kill()
            raise

    async def _launched(self, index: int) -> Worker:
        self._over.discard(index)
        self._all_over.clear()  # of those before it
        envoy = str(self._envoy[index]) if self._envoy else ""
        duty = Duty(index, self._count, tuple(self._listening), envoy, self._node)
        launched = await self._loading.take(duty, [sock.fileno() for sock in self._listening.values()])
        handlers = {messages.ENVOY_ENDED: self.envoy_told, messages.ENVOY_OVER: self._envoy_over, **self._handlers()}
        with contextlib.ExitStack() as undone:
            undone.callback(launched.sock.close)
            peer = await connect(launched.sock, handlers)
            undone.pop_all()
        worker, before = Worker(index, launched.process, peer), self._workers.get(index)
        self._fresh = {*self._fresh - {before}, worker}
        self._workers[index] = worker
        return worker


async def _all(attempts: Sequence[Awaitable[object]]) -> None:
    """All are made, also when one fails. Raises ConfigError with the first fault."""
    for result in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(result, BaseException):
            raise ConfigError(str(result)) from result


async def _within(seconds: float, answer: Coroutine[Any, Any, Any]) -> Any:
    """Raises RemoteError `worker_silent` where there is no answer by then."""
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        raise RemoteError(f"a worker has not answered within {seconds:g} seconds", "worker_silent") from None


async def _end(worker: Worker, until: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, until - time.monotonic())):
            await worker.process.wait()
    except TimeoutError:
        log.error("worker %d did not finish in time and is ended", worker.index)
        worker.kill()
        await worker.process.wait()
    worker.peer.close()
