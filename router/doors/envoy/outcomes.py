"""Decisions whose request Envoy has under way, until somebody says how it ended: the response's header, or Envoy's access log.

Only the access log knows of resets, of replies that Envoy made itself and of its router's retries, and whether a response went whole. Where
it is sent to us the outcome waits for it: with patience once the request has ended, and for as long as a request may last where Envoy shows
us no more of it before its end, as it does once a response's header is answered, and ext_authz from the beginning. What lasts longer is
kept without its body, some kilobytes each. Where no log comes, the outcome is what the response's header told.

Nobody says that none comes. A log that is quiet may be one of sockets that are open for hours, and what is given up is on record with an
end that it did not have; so it takes a request that has ended for certain, or several that should have.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from router.decision import NO_BODY, Decision, Outcome, Result
from router.doors.envoy.keeping import Keeping
from router.doors.gate import Gate
from router.doors.runtime import Observer, Runtime
from router.errors import AuditError
from router.ports import Clock

log = logging.getLogger("lockgate.envoy")
SWEEP_S = 0.5
STOOD_NS = 1_000_000_000  # a sweep that comes so much later than it should was kept from it by our own process, or its machine
MOST = 100_000
LASTING = 20_000  # of these may be responses that go on
SEVERAL, QUIET = 16, 6  # so many, and so long, as a multiple of what they wait with patience
MANY = 1_000  # responses that may go on, of which none ended for so long: though the log did tell of others before
AT_ONCE = 1_000  # outcomes that are given up together: the ledger refuses everybody's records while too many wait
SILENT = (
    "Envoy's access log tells nothing here of requests that have ended, so that outcomes are what the heads of responses told, until it "
    "does; set `envoy.access_log: false` where Envoy sends none"
)
SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Report:
    """One request as Envoy's access log has it. `reason`: a reason code, empty where all went well; `routed`: an upstream answered it;
    `node`: which one decided, empty where nodes do not know each other."""

    decision_id: str
    status: int
    reason: str
    routed: bool
    upstream: str
    attempts: int
    upstream_ns: int
    total_ns: int
    response_bytes: int
    node: str = ""


@dataclass(slots=True)
class Awaited:
    """`status` is that of the response's header, 0 while there was none; `local`, that Envoy gave it by itself; `whole`, that nothing
    follows it; `shown`, that what follows is shown here; `unseen`, that not even the header is. `stays`: it may well be open for hours, as
    WebSockets and streams are. `due_ns`: when to give up; with `lasting`, what nobody is going to show the end of. `stood_ns`: how long it
    was not heard since. `runtime`: None where that keeps no configuration from being closed any more. `keeping`: for whoever repeats
    the request."""

    decision: Decision
    runtime: Runtime | None
    started_ns: int
    request_digest: str | None = None
    status: int = 0
    local: bool = False
    whole: bool = False
    shown: bool = False
    unseen: bool = False
    stays: bool = False
    lasting: bool = False
    ended_ns: int = 0
    due_ns: int = 0
    stood_ns: int = 0
    keeping: Keeping | None = None

    @property
    def goes_on(self) -> bool:
        """Perhaps, when nothing more of it is shown."""
        return self.unseen or (self.status != 0 and not self.surely_ended)

    @property
    def surely_ended(self) -> bool:
        """With its stream. Where no answer was seen Envoy may never have heard of the decision, and tells nobody of its end."""
        return self.whole or self.shown or self.local

    @property
    def since_ns(self) -> int:
        """From when on nothing more of it was shown."""
        return self.ended_ns or self.started_ns


class Outcomes:
    """`longest_s`: how long a response may go on before its outcome is what is known of it, of no more than `lasting` at once."""

    def __init__(
        self,
        gate: Gate,
        clock: Clock,
        observer: Observer,
        *,
        logged: bool,
        patience_s: float,
        longest_s: float,
        most: int = MOST,
        lasting: int = LASTING,
    ) -> None:
        self._gate = gate
        self._clock = clock
        self._observer = observer
        self._logged = logged
        self._patience_ns = int(patience_s * SECOND)
        self._longest_ns = int(longest_s * SECOND)
        self._most = most
        self._lasting = lasting
        self._heard_ns = 0  # when the log last told of a request of ours
        self._missed = 0  # ended since, and it did not tell of them
        self._silent = False  # nobody sends it here, by all that is known
        self._awaited: dict[str, Awaited] = {}  # in the order of their decisions
        self._recording: set[asyncio.Task[None]] = set()
        self._none = asyncio.Event()  # is waited for any more; looked at by who waits for that

    def begin(self, awaited: Awaited) -> None:
        """The caller may go on from here; of one that is `unseen` nobody is going to say that its request is over."""
        if awaited.runtime is not None:
            self._gate.keep(awaited.runtime)
        if len(self._awaited) >= self._most:
            self._give_up(next(iter(self._awaited.values())))
        self._awaited[awaited.decision.id] = awaited
        if not awaited.unseen:
            return
        if self._logged:
            awaited.due_ns = self._clock.monotonic_ns() + min(self._patience_ns, self._longest_ns)
        else:
            self._give_up(awaited)

    def over(self, awaited: Awaited) -> None:
        """Envoy has ended the stream on which it asked; nothing more comes there."""
        if awaited.decision.id not in self._awaited:
            return
        awaited.ended_ns = self._clock.monotonic_ns()
        if self._logged:
            awaited.due_ns = awaited.ended_ns + self._patience_ns
        else:
            self._give_up(awaited)

    def broken(self, awaited: Awaited, status: int, reason: str, *, began: bool = False) -> None:
        """Envoy was not told that it may go on; or, with `began`, not with all of it."""
        if awaited.keeping is not None and not began:
            self._in_background(awaited.keeping.claim.release())
        self._end(awaited, Outcome(Result.FAILED, status, reason, total_ns=self._since(awaited), complete=False))

    def answered(self, awaited: Awaited) -> None:
        """All of the answer has been shown here, as far as it was asked for."""
        if awaited.keeping is not None and awaited.keeping.ready:
            self._in_background(awaited.keeping.keep())

    def told(self, report: Report) -> bool:
        """Whether the decision is one that is waited for here."""
        awaited = self._awaited.get(report.decision_id)
        if awaited is None:
            return False
        self._heard_ns, self._missed, self._silent = self._clock.monotonic_ns(), 0, False
        self._end(
            awaited,
            Outcome(
                Result.ROUTED if report.routed and not report.reason else Result.FAILED,
                report.status,
                report.reason,
                upstream=report.upstream,
                attempts=report.attempts,
                upstream_ns=report.upstream_ns,
                total_ns=report.total_ns,
                request_digest=awaited.request_digest,
                response_bytes=report.response_bytes,
                complete=not report.reason,
            ),
            reported=True,
        )
        return True

    async def keep(self) -> None:
        """Gives up what was waited for too long, until it is cancelled. While this process stood still it heard nobody: that time is none
        that was waited, for reports that came meanwhile are still to be read."""
        while True:
            began_ns = self._clock.monotonic_ns()
            await asyncio.sleep(SWEEP_S)
            stood_ns = self._clock.monotonic_ns() - began_ns - int(SWEEP_S * SECOND)
            if stood_ns > STOOD_NS:
                self._put_off(stood_ns)
            self.sweep()

    def sweep(self) -> None:
        """What is due is given up, or waited for as long as a request may last. That would be in vain, and is not done, where the log is
        silent. Of what was waited for long, no more is given up than the ledger takes beside what others do."""
        now = self._clock.monotonic_ns()
        due = [each for each in self._awaited.values() if each.due_ns and each.due_ns <= now and not each.lasting]
        self._missed += sum(each.surely_ended and each.ended_ns > self._heard_ns for each in due)
        self._note(silent=self._missed >= (SEVERAL if self._heard_ns else 1))
        for awaited in due:
            if awaited.goes_on and not self._silent:
                self._wait_longer(awaited)
            else:
                self._give_up(awaited)
        lasting = [each for each in self._awaited.values() if each.lasting]
        self._note(silent=self._should_have_ended(lasting, now))
        beyond = len(lasting) - self._lasting
        vain = [each for place, each in enumerate(lasting) if self._silent or place < beyond or each.due_ns <= now]
        for awaited in vain[:AT_ONCE]:
            self._give_up(awaited)

    async def ended(self, until: float) -> None:
        """Returns when no outcome is waited for, and not after `until`, in seconds by the loop's clock."""
        self._none.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while self._awaited:
                    await self._none.wait()
                    self._none.clear()

    async def close(self) -> None:
        """Records what is known of all that is still waited for. Returns when that is durable, or known not to be. Who has no time for that
        cancels it, and what is left is recorded at once."""
        try:
            while self._awaited or self._recording:
                for awaited in list(islice(self._awaited.values(), AT_ONCE)):
                    self._give_up(awaited)
                await asyncio.wait(self._recording)
        finally:
            for awaited in list(self._awaited.values()):
                self._give_up(awaited)

    def __len__(self) -> int:
        return len(self._awaited)

    @property
    def alone(self) -> int:
        """How many are waited for whose stream has ended, or who had none."""
        return sum(each.due_ns != 0 for each in self._awaited.values())

    def _put_off(self, by_ns: int) -> None:
        for awaited in self._awaited.values():
            if awaited.due_ns:
                awaited.due_ns += by_ns
                awaited.stood_ns += by_ns

    def _note(self, *, silent: bool) -> None:
        if silent and not self._silent:
            self._silent = True
            log.warning(SILENT)

    def _should_have_ended(self, lasting: Sequence[Awaited], now: int) -> bool:
        """So many, for so long, of those of which one would think so; many more where the log has told of any, and none of them since."""
        since, enough = now - QUIET * self._patience_ns, MANY if self._heard_ns else SEVERAL
        waited = (each for each in lasting if self._heard_ns < each.since_ns < since - each.stood_ns)
        return sum(not each.stays for each in waited) >= enough

    def _wait_longer(self, awaited: Awaited) -> None:
        """An outcome needs nothing of a body, nor of the configuration that was decided by, which would not go after a reload. Who repeats
        the request is not told of its answer: it is not shown here, and a claim does not last as long as it may."""
        awaited.lasting = True
        awaited.due_ns = awaited.since_ns + self._longest_ns
        runtime, awaited.runtime = awaited.runtime, None
        keeping, awaited.keeping = awaited.keeping, None
        if keeping is not None:
            self._in_background(self._spent(keeping, runtime))
        elif runtime is not None:
            self._gate.leave(runtime)
        decision = awaited.decision
        request, signals = replace(decision.request, body=NO_BODY, earlier=()), replace(decision.signals, masked_text=None)
        awaited.decision = replace(decision, request=request, signals=signals)

    async def _spent(self, keeping: Keeping, runtime: Runtime | None) -> None:
        try:
            await keeping.claim.end(None, None)
        finally:
            if runtime is not None:
                self._gate.leave(runtime)

    def _give_up(self, awaited: Awaited) -> None:
        """Nobody says more: a service's answer of which only the header was seen is routed, and not known to be whole."""
        total_ns, digest = self._since(awaited), awaited.request_digest
        if awaited.status and not awaited.local:
            outcome = Outcome(Result.ROUTED, awaited.status, total_ns=total_ns, request_digest=digest, complete=awaited.whole)
        else:
            reason = "envoy_local_reply" if awaited.status else "envoy_unreported"
            outcome = Outcome(Result.FAILED, awaited.status, reason, total_ns=total_ns, request_digest=digest, complete=False)
        self._end(awaited, outcome)

    def _since(self, awaited: Awaited) -> int:
        return (awaited.ended_ns or self._clock.monotonic_ns()) - awaited.started_ns

    def _end(self, awaited: Awaited, outcome: Outcome, *, reported: bool = False) -> None:
        if self._awaited.pop(awaited.decision.id, None) is None:
            return
        if not self._awaited:
            self._none.set()
        keeping, settling = awaited.keeping, None
        if keeping is not None:
            settling = self._in_background(keeping.settle(outcome, reported=reported))
        self._in_background(self._record(awaited, outcome, settling))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)
        return task

    async def _record(self, awaited: Awaited, outcome: Outcome, settling: asyncio.Task[None] | None) -> None:
        """`settling`: who remembers its key is told meanwhile, by the configuration that it was decided by."""
        self._observer.ended(awaited.decision, outcome)
        kept = awaited.runtime
        try:
            if (runtime := kept or self._gate.runtime) is not None:
                await runtime.pipeline.ended(awaited.decision, outcome)
        except AuditError as error:  # what happened has happened; the decision without an outcome stays visible in the ledger
            log.error("no outcome recorded for decision %s: %s", awaited.decision.id, error)
        finally:
            if settling is not None:
                await asyncio.wait((settling,))
            if kept is not None:
                self._gate.leave(kept)
