"""Processes that evaluate policies, and what becomes of those that hang, grow or break off: ended, replaced at once, and never waited for
by anybody but the request that they were asked for.

Each has one question at a time; what comes meanwhile waits here, for whichever is free first. A question's answer is late when it took more
CPU than the deadline, or by the wall several times that: a machine that gave the process no CPU for a while is no fault of the policy's.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from adapters.rego.framing import LENGTH, MOST_FRAME, frame
from router.errors import ConfigError, LockgateError, PolicyError

log = logging.getLogger("lockgate.policy")
ENVIRONMENT: Mapping[str, str] = {
    "MIMALLOC_ARENA_RESERVE": "0"
}  # the interpreter's allocator would take a gibibyte of addresses in advance
START_S = 20.0
PATIENCE = 4  # times the deadline, by the wall
SOONEST_S = 0.001
CPU_LIFE_S = 300.0  # then it makes room for a new one; the kernel would end it at twice that
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
STARTED, LATE, BROKEN, ENDED, RETIRED = "started", "late", "broken", "ended", "retired"


class HelperError(LockgateError):
    """A process did not come up."""

    code = "policy_unavailable"


@dataclass(frozen=True, slots=True)
class Limits:
    """`memory` in bytes of addresses for each process."""

    deadline_s: float
    memory: int

    @property
    def wall_s(self) -> float:
        return self.deadline_s * PATIENCE


class Helper(asyncio.Protocol):
    """One process. `free` is called with it whenever it can be asked; `why` says how it ended, and `answers` how many it gave."""

    def __init__(self, limits: Limits, free: Callable[[Helper], None]) -> None:
        self._limits = limits
        self._free = free
        self._loop = asyncio.get_running_loop()
        self._in = bytearray()
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._began_ns, self._began_s = 0, 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._setting_up = True
        self.answers = 0
        self.why = ENDED

    @property
    def alive(self) -> bool:
        return self._transport is not None and self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    async def start(self, setup: bytes) -> None:
        """Returns when it can be asked. Raises HelperError, and is then to be ended."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-m", "adapters.rego.helper", str(self._limits.memory), str(int(2 * CPU_LIFE_S))),
                    stdin=theirs.fileno(),
                    stdout=asyncio.subprocess.DEVNULL,  # what it could say there may be what a person sent
                    stderr=asyncio.subprocess.DEVNULL,
                    env=ENVIRONMENT,
                    start_new_session=True,
                )
            await self._loop.create_connection(lambda: self, sock=ours)
            self._waiting = self._loop.create_future()
            self._write(setup)
            async with asyncio.timeout(START_S):
                await self._waiting
        except (TimeoutError, PolicyError, OSError) as error:
            raise HelperError(
                "A process that evaluates policies did not come up: it cannot be confined here, or needs more memory."
            ) from error
        finally:
            self._setting_up = False

    def ask(self, content: bytes) -> asyncio.Future[bytes]:
        """Its answer, or PolicyError. Who does not wait for it any more cancels it, and it is then looked after all the same."""
        self._waiting = self._loop.create_future()
        self._began_s, self._began_ns = self._loop.time(), self._cpu_ns()
        self._timer = self._loop.call_later(self._limits.deadline_s, self._look)
        self._write(content)
        return self._waiting

    def end(self, why: str) -> None:
        self.why = why
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        if self._transport is not None:
            self._transport.abort()

    async def ended(self) -> None:
        if self._process is not None:
            await self._process.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream transport by construction

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._failed(PolicyError("The process that evaluates policies broke off; there is another.", "policy_error"))
        self.end(self.why)  # whatever closes the connection and goes on is of no use

    def data_received(self, data: bytes) -> None:
        self._in += data
        if len(self._in) < LENGTH.size:
            return
        (length,) = LENGTH.unpack_from(self._in)
        if self._waiting is None or length > MOST_FRAME or len(self._in) > LENGTH.size + length:
            self._failed(PolicyError("The process that evaluates policies answered with something that is no answer.", "policy_malformed"))
            self.end(BROKEN)
        elif len(self._in) == LENGTH.size + length:
            content = bytes(self._in[LENGTH.size :])
            self._in.clear()
            self._answered(content)

    def _answered(self, content: bytes) -> None:
        if not self._setting_up and self._spent_s() > self._limits.deadline_s:
            self._failed(_late())
        waiting, self._waiting = self._waiting, None
        self._forget_timer()
        self.answers += 1
        if waiting is not None and not waiting.done():
            waiting.set_result(content)
        if self._setting_up:
            self.answers = 0
        elif self._cpu_ns() > CPU_LIFE_S * 1e9:
            self.end(RETIRED)
        else:
            self._free(self)

    def _look(self) -> None:
        """Whether it took too long, or only got no CPU."""
        left = self._limits.deadline_s - self._spent_s()
        patient = self._began_s + self._limits.wall_s - self._loop.time()
        if left <= 0 or patient <= 0:
            self._failed(_late())
            self.end(LATE)
        else:
            self._timer = self._loop.call_later(max(SOONEST_S, min(left, patient)), self._look)

    def _failed(self, error: PolicyError) -> None:
        waiting, self._waiting = self._waiting, None
        self._forget_timer()
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _spent_s(self) -> float:
        return (self._cpu_ns() - self._began_ns) / 1e9

    def _cpu_ns(self) -> int:
        """All that the process ever took: clock_getcpuclockid(3)."""
        try:
            return time.clock_gettime_ns((~self.pid << 3) | 2)
        except OSError:  # it is gone, which its connection says too
            return 0

    def _write(self, content: bytes) -> None:
        if self._transport is None:
            self._failed(PolicyError("The process that evaluates policies is gone; there is another.", "policy_error"))
        else:
            self._transport.write(content)


class Helpers:
    """`count` processes with the same policies, so that there is another while one hangs. `told` hears what becomes of them."""

    def __init__(self, setup: bytes, count: int, limits: Limits, told: Callable[[str], None]) -> None:
        self._setup = frame(setup)
        self._count = count
        self._limits = limits
        self._told = told
        self._idle: list[Helper] = []
        self._living: set[Helper] = set()
        self._waiting: deque[asyncio.Future[Helper]] = deque()
        self._keepers: list[asyncio.Task[None]] = []
        self._closed = False

    @property
    def living(self) -> int:
        return sum(1 for helper in self._living if helper.alive)

    async def open(self) -> None:
        """Returns when all can be asked. Raises ConfigError."""
        first = await asyncio.gather(*(self._started() for _ in range(self._count)), return_exceptions=True)
        for fault in first:
            if isinstance(fault, BaseException):
                await self.close()
                raise ConfigError(str(fault)) from fault
        self._keepers = [asyncio.create_task(self._keep(helper)) for helper in first if isinstance(helper, Helper)]

    async def close(self) -> None:
        """Questions under way are denied."""
        self._closed = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for helper in self._living:
            helper.end(ENDED)
        await asyncio.gather(*(helper.ended() for helper in self._living))
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(PolicyError("The policy engine was closed.", "policy_unavailable"))

    async def ask(self, content: bytes) -> bytes:
        """The answer of whichever is free first. Raises PolicyError."""
        helper = self._free_now()
        return await (helper or await self._free_soon()).ask(content)

    def _free_now(self) -> Helper | None:
        while self._idle:
            helper = self._idle.pop()  # the one that was used last, so that the others are in reserve
            if helper.alive:
                return helper
        return None

    async def _free_soon(self) -> Helper:
        """Raises PolicyError where nobody was free for as long as one question may take by the wall."""
        waiting: asyncio.Future[Helper] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(self._limits.wall_s):
                return await waiting
        except BaseException as error:
            if waiting.done() and not waiting.cancelled():  # it was given one at the moment in which it gave up
                self._freed(waiting.result())
            if isinstance(error, TimeoutError):
                raise PolicyError("No process that evaluates policies was free in time.", "policy_late") from None
            raise

    def _freed(self, helper: Helper) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(helper)
                return
        self._idle.append(helper)

    async def _started(self) -> Helper:
        helper = Helper(self._limits, self._freed)
        self._living.add(helper)
        try:
            await helper.start(self._setup)
        except BaseException:
            self._living.discard(helper)
            helper.end(ENDED)
            await helper.ended()
            raise
        self._told(STARTED)
        self._freed(helper)
        return helper

    async def _keep(self, helper: Helper) -> None:
        """One process after the other; only such as break off without any answer are replaced more and more slowly."""
        pause = 0.0
        while True:
            await helper.ended()
            self._living.discard(helper)
            log.warning("a process that evaluates policies is replaced: %s", helper.why)
            self._told(helper.why)
            pause = 0.0 if helper.answers or helper.why == LATE else min(max(2 * pause, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            await asyncio.sleep(pause)
            helper = await self._replacement()

    async def _replacement(self) -> Helper:
        pause = FIRST_PAUSE_S
        while True:
            try:
                return await self._started()
            except HelperError as error:
                log.error("%s", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)


def _late() -> PolicyError:
    return PolicyError("Policy took longer than its deadline.", "policy_late")
