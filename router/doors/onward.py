"""From a decision to what is still to go out: made when the decision's record is, and begun once that is durable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from router.decision import Decision, Effect, Outcome, Result
from router.delivery.judging import NS, Terms
from router.delivery.packing import seal_held, seal_outbound
from router.delivery.running import Running
from router.doors.runtime import Observer, Runtime
from router.errors import LockgateError
from router.ports import Clock, Delivery, Due, Held, Outbound, ReviewStore, Settled
from router.quick import quickly_made

MakeOutbound = Callable[[Decision], Outbound]


@quickly_made
@dataclass(frozen=True, slots=True)
class Ahead:
    """What follows a decision. `held`: what is to be put where reviewers look."""

    delivery: Delivery
    outbound: Outbound
    held: Held | None = None


class Onward:
    def __init__(self, running: Running, reviews: ReviewStore, clock: Clock, observer: Observer) -> None:
        self._running = running
        self._reviews = reviews
        self._clock = clock
        self._observer = observer

    def ahead(
        self, runtime: Runtime, decision: Decision, make: MakeOutbound, key_id: str, key: bytes, order: bytes
    ) -> Ahead | Outcome | None:
        """None where nothing follows. An outcome where it cannot be made as policy wants it: then nothing goes out."""
        due, route = _due(decision), decision.route
        if due is None or route is None:
            return None
        try:
            outbound = runtime.dispatcher.oblige(decision, make(decision))
            if due is Due.HOLD:
                held = runtime.holder.prepared(decision, outbound, key_id, key)
                waiting = self._delivery(runtime, decision, due, key_id, seal_held(key, held), b"")
                return Ahead(replace(waiting, until_ns=held.expires_ns), outbound, held)
            runtime.dispatcher.check_copies(decision)
            sealed = seal_outbound(key, outbound, decision.id, route.name, route.destination)
            return Ahead(self._delivery(runtime, decision, due, key_id, sealed, order), outbound)
        except LockgateError as error:
            return Outcome(Result.DENIED, 403 if due is Due.DISPATCH else 503, error.code)

    def begin(self, runtime: Runtime, decision: Decision, ahead: Ahead) -> None:
        """In the background: sends, and records how it ended; or puts it where reviewers look. Raises nothing."""

        async def record(outcome: Outcome, settled: Settled) -> None:
            self._observer.ended(decision, outcome)
            await runtime.pipeline.ended(decision, outcome, settled)

        if ahead.held is not None:
            held = ahead.held
            self._observer.ended(decision, decision.outcome)
            self._running.begin_hold(ahead.delivery, lambda: self._reviews.hold(held), record)
            return
        runtime.dispatcher.copy(decision, ahead.outbound)
        self._running.begin(ahead.delivery, ahead.outbound, record)

    def _delivery(self, runtime: Runtime, decision: Decision, due: Due, key_id: str, sealed: bytes, order: bytes) -> Delivery:
        """Leased by this process, so that it may be sent at once; one with an order waits for its turn like all others, and any while
        this process has enough to do."""
        route = decision.route
        if route is None:
            raise ValueError("a decision without a route has no delivery")
        now_ns = self._clock.now_ns()
        terms = runtime.deliveries.get(route.name, Terms())
        owner, leased_ns = ("", 0) if order or self._running.full else (self._running.owner, self._running.leased_until_ns())
        until_ns = now_ns + int(terms.patience_s * NS)
        where, times = (decision.id, route.name, route.destination), (now_ns, now_ns, until_ns)
        return Delivery(*where, due, key_id, sealed, *times, order, owner, leased_ns, tenant=decision.request.subject.tenant)


def _due(decision: Decision) -> Due | None:
    if decision.outcome is None:
        return None if decision.splits else Due.DISPATCH
    return Due.HOLD if decision.outcome.result is Result.HELD and decision.verdict.effect is Effect.REVIEW else None
