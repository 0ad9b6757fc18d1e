"""Decisions whose request Envoy has under way, until somebody says how it ended: the response's header, or Envoy's access log.

Only the access log knows of resets, of replies that Envoy made itself and of its router's retries, and whether a response went whole. Where
it is sent to us the outcome waits for it: with patience once the request has ended, and for as long as a request may last where Envoy shows
us no more of it before its end, as it does once a response's header is answered. What lasts longer is kept without its body, some kilobytes
each. Where no log comes, the outcome is what the response's header told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any

from router.decision import NO_BODY, Decision, Outcome, Result
from router.doors.envoy.keeping import Keeping
from router.doors.gate import Gate
from router.doors.runtime import Observer, Runtime
from router.errors import AuditError
from router.ports import Clock

log = logging.getLogger("lockgate.envoy")
SWEEP_S = 0.5
MOST = 100_000
LASTING = 20_000  # of these may be responses that go on
SEVERAL, QUIET = 16, 6  # of these, and of what all wait for with patience: so long none of so many ended
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
    """`status` is that of the response's header, 0 while there was none; `whole`, that nothing follows it; `shown`, that what follows is
    shown here. `due_ns`: when to give up; with `lasting`, what nobody is going to show the end of, and what keeps no configuration from
    being closed. `keeping`: for whoever repeats the request."""

    decision: Decision
    runtime: Runtime
    started_ns: int
    request_digest: str | None = None
    status: int = 0
    whole: bool = False
    shown: bool = False
    lasting: bool = False
    ended_ns: int = 0
    due_ns: int = 0
    keeping: Keeping | None = None

    @property
    def goes_on(self) -> bool:
        """After its stream has ended."""
        return self.status != 0 and not (self.whole or self.shown)


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
        self._silent = False  # it did not tell of one that had ended
        self._awaited: dict[str, Awaited] = {}  # in the order of their decisions
        self._recording: set[asyncio.Task[None]] = set()
        self._none = asyncio.Event()  # is waited for any more; looked at by who waits for that

    def begin(self, awaited: Awaited, longest_s: float | None = None) -> None:
        """The caller may go on from here; with `longest_s` nobody is going to say that its request is over."""
        self._gate.keep(awaited.runtime)
        if len(self._awaited) >= self._most:
            self._give_up(next(iter(self._awaited.values())))
        if longest_s is not None:
            awaited.due_ns = self._clock.monotonic_ns() + int(longest_s * SECOND)
        self._awaited[awaited.decision.id] = awaited
        if longest_s is not None and not self._logged:
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
        self._heard_ns, self._silent = self._clock.monotonic_ns(), False
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
        """Gives up what was waited for too long, until it is cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()

    def sweep(self) -> None:
        """What is due is given up, or waited for as long as a request may last. That would be in vain, and is not done, while the log says
        nothing even of what has ended, or nothing at all for long although several go on."""
        now = self._clock.monotonic_ns()
        due = [each for each in self._awaited.values() if each.due_ns and each.due_ns <= now]
        for awaited in due:
            if awaited.ended_ns and not awaited.goes_on and self._heard_ns < awaited.ended_ns:
                self._silent = True
        for awaited in due:
            if awaited.goes_on and not (awaited.lasting or self._silent):
                self._wait_longer(awaited, now)
            else:
                self._give_up(awaited)
        lasting = [each for each in self._awaited.values() if each.lasting]
        if len(lasting) >= SEVERAL and now - max(self._heard_ns, lasting[0].ended_ns) > QUIET * self._patience_ns:
            self._silent = True
        for awaited in lasting if self._silent else lasting[: -self._lasting]:
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
        """Records what is known of all that is still waited for. Returns when that is durable, or known not to be."""
        for awaited in list(self._awaited.values()):
            self._give_up(awaited)
        while self._recording:
            await asyncio.wait(self._recording)

    def __len__(self) -> int:
        return len(self._awaited)

    @property
    def alone(self) -> int:
        """How many are waited for whose stream has ended, or who had none."""
        return sum(each.due_ns != 0 for each in self._awaited.values())

    def _wait_longer(self, awaited: Awaited, now: int) -> None:
        """An outcome needs nothing of a body."""
        awaited.lasting = True
        self._gate.leave(awaited.runtime)
        awaited.due_ns = now + self._longest_ns
        decision = awaited.decision
        request, signals = replace(decision.request, body=NO_BODY, earlier=()), replace(decision.signals, masked_text=None)
        awaited.decision = replace(decision, request=request, signals=signals)

    def _give_up(self, awaited: Awaited) -> None:
        """Nobody says more: an answer of which only the header was seen is routed, and not known to be whole."""
        if awaited.status:
            outcome = Outcome(Result.ROUTED, awaited.status, total_ns=self._since(awaited), complete=awaited.whole)
        else:
            outcome = Outcome(Result.FAILED, 0, "envoy_unreported", total_ns=self._since(awaited), complete=False)
        self._end(awaited, outcome)

    def _since(self, awaited: Awaited) -> int:
        return (awaited.ended_ns or self._clock.monotonic_ns()) - awaited.started_ns

    def _end(self, awaited: Awaited, outcome: Outcome, *, reported: bool = False) -> None:
        if self._awaited.pop(awaited.decision.id, None) is None:
            return
        if not self._awaited:
            self._none.set()
        if awaited.keeping is not None:
            self._in_background(awaited.keeping.settle(outcome, reported=reported))
        self._in_background(self._record(awaited, outcome))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    async def _record(self, awaited: Awaited, outcome: Outcome) -> None:
        self._observer.ended(awaited.decision, outcome)
        try:
            await awaited.runtime.pipeline.ended(awaited.decision, outcome)
        except AuditError as error:  # what happened has happened; the decision without an outcome stays visible in the ledger
            log.error("no outcome recorded for decision %s: %s", awaited.decision.id, error)
        finally:
            if not awaited.lasting:
                self._gate.leave(awaited.runtime)
