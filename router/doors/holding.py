"""A request that policy wants a person to look at is put where reviewers look; its caller is told so, or how it ended if he waits."""

from __future__ import annotations

import logging

from router.decision import Outcome
from router.dispatch import content_digest, unheld
from router.doors.body import Receive
from router.doors.following import follows
from router.doors.held import NS, WAITING, GoneError, applied, awaited, held_headers, preferred_wait, told
from router.doors.own_space import Told, whole
from router.doors.relay import Exchange, Relay, outbound
from router.doors.responses import Send, ending, respond
from router.doors.runtime import Observer
from router.errors import LockgateError
from router.ports import Clock, Headers
from router.review.waiting import Waiter

log = logging.getLogger("lockgate.gateway")


class Holds:
    def __init__(self, relay: Relay, clock: Clock, observer: Observer) -> None:
        self._relay = relay
        self._clock = clock
        self._observer = observer

    async def hold(self, exchange: Exchange, outcome: Outcome, receive: Receive, send: Send) -> Outcome:
        """The decision says `held`; the caller hears 202 only when the request itself is durable too."""
        seconds = preferred_wait(exchange.head.headers, exchange.runtime.options.held.wait_s)
        waiter = self._waiter(exchange) if seconds else None  # before it is held, so that nothing is missed
        if waiter is None:
            return await self._put(exchange, outcome, send) or await self._later(exchange, outcome, send)
        with waiter:
            failed = await self._put(exchange, outcome, send)
            if failed is not None:
                return failed
            await send(WAITING)
            try:
                end = await self._end_of(exchange, waiter, seconds, receive)
            except GoneError:  # it is held all the same, and there is nobody to answer
                return outcome
        if end is None:
            return await self._later(exchange, outcome, send, [applied(seconds)])
        await whole(send, exchange.head.method, end, [applied(seconds)])
        return outcome

    def _waiter(self, exchange: Exchange) -> Waiter | None:
        waits = exchange.runtime.waits
        if waits is None or not follows(exchange.decision.request.subject):
            return None
        return waits.begin(exchange.decision.id)

    async def _put(self, exchange: Exchange, outcome: Outcome, send: Send) -> Outcome | None:
        """How it failed, if it did."""
        decision, runtime = exchange.decision, exchange.runtime
        try:
            held = runtime.dispatcher.oblige(decision, outbound(exchange))
            content_digest(held)
            await runtime.holder.hold(decision, held)
        except LockgateError as error:
            failed = unheld(error)
            await self._relay.fail(exchange, failed, str(error), send)
            return failed
        self._observer.ended(decision, outcome)
        return None

    async def _later(self, exchange: Exchange, outcome: Outcome, send: Send, more: Headers | None = None) -> Outcome:
        decision = exchange.decision
        said = ending(decision, exchange.runtime.descriptions)
        headers = [*said.headers, *held_headers(decision.id, decision.request.subject), *(more or [])]
        await respond(send, said.status, said.problem, headers)
        return outcome

    async def _end_of(self, exchange: Exchange, waiter: Waiter, seconds: float, receive: Receive) -> Told | None:
        """None where there is none in time, or it cannot be told now: the request is held, whatever else fails."""
        runtime, subject, decision_id = exchange.runtime, exchange.decision.request.subject, exchange.decision.id
        if runtime.waits is None or runtime.keys is None:
            return None
        feed = runtime.waits.feed
        try:
            key_id, _ = await runtime.keys.key_for(subject.id)
            found = await awaited(waiter, lambda: feed.standing(decision_id, key_id, subject.tenant), seconds, receive)
        except LockgateError as error:
            log.error("how the held request %s ended cannot be told now: %s", decision_id, error)
            return None
        if found is None or not found.ended:
            return None
        return told(found, decision_id, int(runtime.options.held.keep_s * NS), self._clock.now_ns())
