"""The way of one event.

    1 it becomes a request   2 it is decided: that it came, and what follows, is durable with the decision   3 its sender is told
    4 what follows is begun

After 2 the sender may forget it. A crash before leaves no trace, and the sender sends it again; a crash after it leaves a delivery, which
somebody takes up. One that is sent again gets the first one's answer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import orjson

from router.decision import Decision, Outcome, Request, Result, Subject, TraceContext
from router.doors.body import whole_body_view
from router.doors.events.event import Event
from router.doors.events.plan import SourcePlan
from router.doors.forwarding import decision_headers
from router.doors.head import trace_context
from router.doors.onward import Ahead, Onward
from router.doors.runtime import Observer, Runtime
from router.errors import EVENT_KNOWN, AuditError, DestinationError
from router.ports import Arrival, Arrivals, Beside, Clock, Headers, Ids, Outbound, Random
from router.quick import quickly_made
from router.telemetry.logs import current_trace

DOOR = "events"
Ending = Literal["accepted", "held", "denied", "abstained"]
_ENDINGS: dict[Result, Ending] = {Result.DENIED: "denied", Result.ABSTAINED: "abstained", Result.HELD: "held"}


@quickly_made
@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told, the first time and every other. `outcome` is how the decision ended it: accepted means that it goes out."""

    decision_id: str
    outcome: Ending
    reason: str = ""

    @property
    def status(self) -> int:
        return 202 if self.outcome in ("accepted", "held") else 200

    def to_bytes(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def from_bytes(cls, kept: bytes) -> Answer:
        return cls(**orjson.loads(kept))


@quickly_made
@dataclass(frozen=True, slots=True)
class Taken:
    answer: Answer
    again: bool = False


class Taking:
    """`runtime` gives the configuration that serves now, which is kept as long as it is used."""

    def __init__(
        self,
        runtime: Callable[[], AbstractContextManager[Runtime]],
        onward: Onward,
        arrivals: Arrivals,
        clock: Clock,
        ids: Ids,
        random: Random,
        observer: Observer,
    ) -> None:
        self._runtime = runtime
        self._onward = onward
        self._arrivals = arrivals
        self._clock = clock
        self._ids = ids
        self._random = random
        self._observer = observer

    async def take(self, event: Event, plan: SourcePlan, subject: Subject, broker_order: bytes = b"", client: str = "") -> Taken:
        """Durable when it returns. Raises RefusedError (over a quota), AuditError, StateError: nothing of the event is kept then."""
        with self._runtime() as runtime:
            request = self._request(runtime, event, plan, subject, client)  # 1
            current_trace.set(request.trace)
            key = plan.key(event, subject)
            following = _Following(self._onward, runtime, event, key, plan.order(event, broker_order))
            try:
                decision = await runtime.pipeline.decide(request, beside=following.beside)  # 2
            except AuditError as error:
                if error.code != EVENT_KNOWN:
                    raise
                return await self._first(key)
            await self._go_on(runtime, decision, following)
            return Taken(following.answer(decision))  # 3

    async def _first(self, key: bytes) -> Taken:
        kept = await self._arrivals.answer(key)
        if kept is None:  # forgotten this very moment: whoever sends it again may
            raise AuditError("The event was known, and is not any more.", "audit_unavailable")
        return Taken(Answer.from_bytes(kept), again=True)

    async def _go_on(self, runtime: Runtime, decision: Decision, following: _Following) -> None:
        if following.ahead is not None:
            self._onward.begin(runtime, decision, following.ahead)  # 4
            return
        outcome = following.failed or decision.outcome
        self._observer.ended(decision, outcome)
        if following.failed is not None:
            await runtime.pipeline.ended(decision, following.failed)

    def _request(self, runtime: Runtime, event: Event, plan: SourcePlan, subject: Subject, client: str) -> Request:
        options = runtime.options
        return Request(
            id=self._ids.new(),
            received_ns=self._clock.now_ns(),
            door=DOOR,
            subject=subject,
            method="POST",
            host="",
            path=plan.path,
            headers=tuple(event.fields()),
            content_type=event.content_type,
            body=whole_body_view(event.content, event.content_type, options.text_paths, options.limits),
            client=client,
            source=event.named,
            trace=self._trace(event, options.sample),
        )

    def _trace(self, event: Event, sample: float) -> TraceContext:
        """CloudEvents' distributed tracing extension: what the event says of its cause."""
        parent = event.attributes.get("traceparent", "").encode("latin-1", "replace")
        return trace_context(parent, [], self._random.random() < sample)


class _Following:
    """What follows from the decision, known when its record is made."""

    def __init__(self, onward: Onward, runtime: Runtime, event: Event, key: bytes, order: bytes) -> None:
        self._onward = onward
        self._runtime = runtime
        self._event = event
        self._key = key
        self._order = order
        self.ahead: Ahead | None = None
        self.failed: Outcome | None = None

    def beside(self, decision: Decision, key_id: str, key: bytes) -> Beside:
        make = partial(event_outbound, self._event)
        found = self._onward.ahead(self._runtime, decision, make, key_id, key, self._order)
        if isinstance(found, Outcome):
            self.failed = found
        else:
            self.ahead = found
        delivery = self.ahead.delivery if self.ahead is not None else None
        return Beside(Arrival(self._key, self.answer(decision).to_bytes()), delivery)

    def answer(self, decision: Decision) -> Answer:
        outcome = self.failed or decision.outcome
        if outcome is None:
            return Answer(decision.id, "accepted")
        return Answer(decision.id, _ENDINGS[outcome.result], outcome.reason)


def event_outbound(event: Event, decision: Decision) -> Outbound:
    """The event as the route's destination gets it: a CloudEvent in HTTP's binary mode, under the decision's id."""
    route = decision.route
    if route is None:
        raise DestinationError("The decision names no route.", "route_missing")
    headers: Headers = [(b"content-type", event.content_type.encode("latin-1", "replace"))] if event.content else []
    headers += [(name.encode(), value.encode()) for name, value in event.fields()]
    headers += decision_headers(decision)
    trace = decision.request.trace
    if trace is not None:
        headers.append((b"traceparent", f"00-{trace.trace_id}-{trace.span_id}-{'01' if trace.sampled else '00'}".encode()))
    headers.append((b"idempotency-key", decision.id.encode()))
    path = route.path or decision.request.path
    return Outbound(route.method or "POST", path, headers, event.content, idempotent=True, idempotency_key=decision.id)
