"""One request of Envoy's: who it is, what is decided, and what may go on or what its caller is told. Knows no protocol.

1 head   2 identity   3 rate limit   4 rules   then, with as much of the body as there will be, 5 decide (durable)   6 pass, hold or stop
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from router.decision import BodyView, Decision, Outcome, Result, Subject
from router.dispatch import content_digest, undeliverable
from router.doors.body import BodyReader, ClientGoneError, read_whole
from router.doors.envoy.cases import Body, Case, Pass, Stop
from router.doors.envoy.changes import changes, lost
from router.doors.envoy.heads import is_grpc, is_of_events, is_upgrade, scope
from router.doors.envoy.keeping import Keeping
from router.doors.envoy.outcomes import Awaited, Outcomes
from router.doors.forwarding import request_headers
from router.doors.gate import Gate
from router.doors.gateway import Gateway
from router.doors.head import Head, trusts
from router.doors.held import held_headers
from router.doors.own_space import OwnSpace, Visit
from router.doors.relay import Exchange, outbound, target
from router.doors.repeating import Claim, claimed, keeping, packed, refuse_unremembered, replayed, unpacked
from router.doors.responses import STATE_FAILED, Send, ended, refuse, respond_problem
from router.doors.runtime import Observer, Runtime
from router.errors import AuditError, DestinationError, LockgateError, PolicyError, RefusedError, StateError
from router.obligations import added_headers, response_limit
from router.ports import Clock, Headers, Outbound

log = logging.getLogger("lockgate.envoy")
T = TypeVar("T")
INTERNAL = "The request failed inside Lockgate; the log has the details."
UNLIMITED = "The length of an answer cannot be limited where Envoy passes it on."


class EnvoyDoor:
    """`most`: how many decisions may be under way in this worker; beyond it they are shed. `own`: paths that are answered here, as by the
    gateway. `node`: this one's name among others."""

    def __init__(
        self,
        gate: Gate,
        gateway: Gateway,
        clock: Clock,
        observer: Observer,
        outcomes: Outcomes,
        most: int,
        own: OwnSpace | None = None,
        node: str = "",
    ) -> None:
        self.outcomes = outcomes
        self.node = node
        self._own = own
        self._gate = gate
        self._gateway = gateway
        self._clock = clock
        self._observer = observer
        self._most = most
        self.inside = 0  # decisions that are under way
        self._cases = 0  # opened and not closed
        self._deciding: set[asyncio.Task[Pass | Stop]] = set()

    async def open(self, came: Headers, source: str, *, bodiless: bool, unseen: bool) -> Case | Stop:
        """`unseen`: Envoy is not going to show a body. A case is to be closed. The one call that may be broken off: nothing is recorded."""
        opened = await self._caught(lambda: self._opened(came, source, bodiless=bodiless, unseen=unseen))
        if isinstance(opened, Case):
            self._cases += 1
            self._gate.under_way.shown += 1
        return opened

    def close(self, case: Case) -> None:
        """Its configuration may go, as far as it is concerned."""
        self._cases -= 1
        self.begun(case)
        self._gate.leave(case.runtime)

    def begun(self, case: Case) -> None:
        """Its answer has; nothing more is going to be decided about it. Twice is harmless."""
        if case.at_hand:
            case.at_hand = False
            self._gate.under_way.shown -= 1

    @property
    def beyond(self) -> int:
        """Requests that nothing is being decided about: their bodies are awaited, or Envoy passes them on."""
        return max(0, self._cases - self.inside) + self.outcomes.alone

    async def judge(self, case: Case, body: bytes, deadline_s: float, *, asked_once: bool = False, blind: bool = False) -> Pass | Stop:
        """`body`: all of it where the case waits for the whole; `asked_once`: by a filter that can change no body, and shows nothing more;
        `blind`: one that is not shown answers, so that none can be kept. A decision that is late, or that nobody waits for any more because
        Envoy's caller is gone, is recorded as it is, and what would have gone on does not."""
        task = asyncio.create_task(self._caught(lambda: self._decided(case, body, asked_once, blind)))
        self._deciding.add(task)
        task.add_done_callback(self._deciding.discard)
        self._gate.keep(case.runtime)  # the case may be closed before the decision is there
        task.add_done_callback(lambda _: self._gate.leave(case.runtime))
        try:
            if await _done(task, deadline_s):
                return task.result()
        except asyncio.CancelledError:
            self._abandon(task, 499, "client_gone")
            raise
        self._abandon(task, 503, "decision_late")
        return await self._refused(RefusedError("The decision took longer than it may.", "decision_late", 503, 1))

    async def refuse(self, error: RefusedError) -> Stop:
        """What is wrong with how Envoy asks, told to its caller and to our own figures."""
        return await self._refused(error)

    async def decided(self, seconds: float) -> None:
        """Waits, no longer than that, for decisions that perhaps nobody waits for any more: they have an outcome, too."""
        if self._deciding:
            await asyncio.wait(self._deciding, timeout=seconds)

    def answered_by_envoy(self, status: int) -> None:
        """Before anything was decided: the body was too large for it, or too slow."""
        self._observer.refused({408: "body_timeout", 413: "body_too_large"}.get(status, "envoy_local_reply"), status)

    async def _opened(self, came: Headers, source: str, *, bodiless: bool, unseen: bool) -> Case | Stop:
        started_ns, received_ns = self._clock.monotonic_ns(), self._clock.now_ns()
        with self._gate.using() as runtime:
            head = self._gateway.read_head(runtime, scope(came, source))
            subject = await self._gateway.identify(runtime, head)
            own = self._own is not None and self._own.holds(head)
            if self._own is not None and own and (bodiless or not self._own.takes(head)):
                return await self._of_own(self._own, runtime, head, subject, b"")
            visible = head.visible(runtime.options.visible)
            looked = self._gateway.look(runtime, head, visible)
            if own:
                if unseen:
                    raise RefusedError("Envoy does not show what this says, so it cannot be taken.", "body_unseen", 415)
                self._gate.keep(runtime)
                return Case(runtime, head, came, subject, visible, looked, Body.WHOLE, False, received_ns, started_ns, own=True)
            socket = is_upgrade(came)
            if socket and (looked.match is None or looked.match.route not in runtime.options.websockets):
                raise RefusedError("No rule admits a WebSocket here.", "websocket_not_routed", 403)
            if socket and (head.method != "GET" or head.has_body):  # it would go on unread, and to an upstream that may not answer with 101
                raise RefusedError("A WebSocket begins with a GET that has no body.", "websocket_malformed", 400)
            if bodiless or socket:
                body = Body.NONE
            elif unseen or is_grpc(came) or self._gateway.streams(runtime, looked):
                body = Body.UNSEEN
            else:
                body = Body.WHOLE
            self._gate.keep(runtime)
            return Case(runtime, head, came, subject, visible, looked, body, socket, received_ns, started_ns)

    async def _of_own(self, own: OwnSpace, runtime: Runtime, head: Head, subject: Subject, body: bytes) -> Stop:
        """Nobody waits here: Envoy asks for no longer than its filter's time-out."""
        answer, limits = _Answer(), runtime.options.limits
        whole = partial(read_whole, _once(body), limits, declared=head.content_length, empty=not body)
        await own.answer(runtime, head, subject, answer, Visit(head.headers), whole)
        return Stop(answer.status, answer.headers, answer.body, "answered")

    async def _decided(self, case: Case, body: bytes, asked_once: bool, blind: bool) -> Pass | Stop:
        if self.inside >= self._most:
            raise RefusedError("Lockgate is at its limit; please try again.", "overloaded", 503, 1)
        self.inside += 1
        try:
            with self._gate.using():
                return await self._weighed(case, body, asked_once, blind)
        finally:
            self.inside -= 1

    async def _weighed(self, case: Case, body: bytes, asked_once: bool, blind: bool) -> Pass | Stop:
        runtime = case.runtime
        if case.own and self._own is not None:
            return await self._of_own(self._own, runtime, case.head, case.subject, body)
        reader = BodyReader(_once(body), runtime.options.limits, None, empty=case.body is Body.NONE)
        unseen = case.body is Body.UNSEEN
        view = BodyView(truncated=True) if unseen else await self._gateway.read_view(runtime, case.head, reader)
        request = self._gateway.build(case.head, case.subject, case.received_ns, case.visible, view)
        decision = await runtime.pipeline.decide(request, case.looked, socket=case.socket)
        exchange = Exchange(runtime, case.head, decision, case.started_ns, reader)
        if decision.outcome is not None and decision.outcome.result is not Result.HELD:
            self._observer.ended(decision, decision.outcome)
            return await self._told(decision.outcome, lambda send: ended(send, decision, runtime.descriptions), decision)
        try:
            claim = await self._claimed(case, exchange, blind)
        except LockgateError as error:
            return await self._failed(exchange, error)
        if isinstance(claim, bytes):
            return await self._replayed(exchange, claim)
        try:
            if decision.outcome is not None:
                return await self._held(case, exchange, claim)
            return self._passed(case, exchange, body, asked_once, claim)
        except LockgateError as error:  # an obligation that cannot be met, or a store that cannot hold it: nothing was sent
            return await self._failed(exchange, error, claim)
        except Exception:  # its decision is recorded, so that its end must be
            log.exception("a request failed in a way that nobody foresaw")
            failed = DestinationError(INTERNAL, "internal", 500)
            failed.unsettled = decision.outcome is not None  # reviewers may have it
            return await self._failed(exchange, failed, claim)

    async def _claimed(self, case: Case, exchange: Exchange, blind: bool) -> Claim | bytes | None:
        """See `repeating.claimed`; of a WebSocket there is no answer to be kept. Raises RefusedError."""
        if blind or case.socket:
            refuse_unremembered(exchange)
            return None
        settings = keeping(exchange)
        return await claimed(exchange, settings) if settings is not None else None

    async def _replayed(self, exchange: Exchange, answer: bytes) -> Stop:
        try:
            status, headers, body = unpacked(answer, exchange.decision)
        except DestinationError as error:
            return await self._failed(exchange, error)
        outcome = replayed(exchange, status, body, self._clock.monotonic_ns() - exchange.started_ns)
        await self._ended(exchange, outcome)
        return Stop(status, headers, body, outcome.reason, exchange.decision.id)

    def _passed(self, case: Case, exchange: Exchange, body: bytes, asked_once: bool, claim: Claim | None) -> Pass:
        decision, dispatcher = exchange.decision, exchange.runtime.dispatcher
        dispatcher.destination(decision)
        if response_limit(decision.verdict.obligations) is not None:
            raise PolicyError(UNLIMITED, "obligation_failed")
        if (field := lost(added_headers(decision.verdict.obligations))) is not None:
            raise PolicyError(f"Envoy writes the header field '{field}' itself, so policy cannot set it there.", "obligation_failed")
        if decision.route is not None and decision.route.name in exchange.runtime.deliveries:
            raise undeliverable()
        obliged = _socket(exchange) if case.socket else dispatcher.oblige(decision, outbound(exchange))
        made = changes(case.came, body, obliged)
        if asked_once and made.body is not None:
            raise PolicyError("This filter of Envoy's cannot change a body.", "obligation_failed")
        if decision.verdict.obligations:
            dispatcher.mirror(decision, obliged)
        awaited = Awaited(decision, exchange.runtime, case.started_ns, exchange.reader.digest if case.body is Body.WHOLE else None)
        awaited.unseen, awaited.stays = asked_once, case.socket or is_grpc(case.came) or is_of_events(case.came)
        awaited.keeping = Keeping(claim) if claim is not None else None
        self.outcomes.begin(awaited)
        return Pass(decision, made, awaited)

    async def _held(self, case: Case, exchange: Exchange, claim: Claim | None) -> Stop:
        decision, runtime, outcome = exchange.decision, exchange.runtime, exchange.decision.outcome
        if case.socket or outcome is None:
            raise PolicyError("A WebSocket cannot wait for a reviewer.", "websocket_cannot_be_held")
        held = runtime.dispatcher.oblige(decision, outbound(exchange))
        content_digest(held)
        await runtime.holder.hold(decision, held)
        self._observer.ended(decision, outcome)
        told = await self._told(outcome, lambda send: ended(send, decision, runtime.descriptions), decision)
        told = replace(told, headers=[*told.headers, *held_headers(decision.id, decision.request.subject)])
        if claim is not None:
            await claim.end(outcome, packed(told.status, told.headers, told.body, waits=True))
        return told

    async def _failed(self, exchange: Exchange, error: LockgateError, claim: Claim | None = None) -> Stop:
        """Recorded as our own gateway does; the caller hears why."""
        decision = exchange.decision
        status = 403 if isinstance(error, PolicyError) else getattr(error, "status", 503)
        result = Result.FAILED if isinstance(error, DestinationError) or error.unsettled else Result.DENIED
        outcome = Outcome(result, status, error.code, total_ns=self._clock.monotonic_ns() - exchange.started_ns, complete=False)
        if claim is not None:
            await (claim.spend(None) if error.unsettled else claim.release())
        await self._ended(exchange, outcome)
        return await self._told(outcome, lambda send: respond_problem(send, status, error.code, str(error), decision.id), decision)

    async def _ended(self, exchange: Exchange, outcome: Outcome) -> None:
        self._observer.ended(exchange.decision, outcome)
        try:
            await exchange.runtime.pipeline.ended(exchange.decision, outcome)
        except AuditError as unrecorded:
            log.error("no outcome recorded for decision %s: %s", exchange.decision.id, unrecorded)

    async def _caught(self, work: Callable[[], Awaitable[T]]) -> T | Stop:
        """Every failure is an answer; nobody who could not be judged goes on."""
        try:
            return await work()
        except RefusedError as error:
            return await self._refused(error)
        except ClientGoneError:
            return await self._refused(RefusedError("The body did not arrive whole.", "body_unfinished", 400))
        except AuditError as error:
            detail = "The decision could not be recorded, so nothing was done."
            return await self._refused(RefusedError(detail, error.code, 503))
        except StateError as error:
            log.error("a request could not be judged: %s", error)
            return await self._refused(RefusedError(STATE_FAILED, error.code, 503))
        except Exception:
            log.exception("a request failed in a way that nobody foresaw")
            return await self._refused(RefusedError(INTERNAL, "internal", 500))

    async def _refused(self, error: RefusedError) -> Stop:
        self._observer.refused(error.code, error.status)
        answer = _Answer()
        await refuse(answer, error)
        return Stop(error.status, answer.headers, answer.body, error.code)

    async def _told(self, outcome: Outcome, respond: Callable[[Send], Awaitable[None]], decision: Decision) -> Stop:
        answer = _Answer()
        await respond(answer)
        return Stop(answer.status, answer.headers, answer.body, outcome.reason, decision.id)

    def _abandon(self, task: asyncio.Task[Pass | Stop], status: int, reason: str) -> None:
        def passed(finished: asyncio.Task[Pass | Stop]) -> None:
            if not finished.cancelled() and isinstance(answer := finished.result(), Pass):
                self.outcomes.broken(answer.awaited, status, reason)

        task.add_done_callback(passed)


async def _done(task: asyncio.Task[Pass | Stop], seconds: float) -> bool:
    """Whether it ended in time; it goes on in any case. `asyncio.wait` for one task, at a third of the price."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def settle(_: Any = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    late = loop.call_later(seconds, settle)
    task.add_done_callback(settle)
    try:
        await waiter
    finally:
        late.cancel()
    return task.done()


class _Answer:
    """What would have been sent over a connection of our own."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: Headers = []
        self.body = b""

    async def __call__(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(name, value) for name, value in message["headers"] if name not in (b"content-length", b"date", b"connection")]
        else:
            self.body += message.get("body", b"")


def _once(body: bytes) -> Callable[[], Awaitable[Mapping[str, Any]]]:
    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _socket(exchange: Exchange) -> Outbound:
    head, decision = exchange.head, exchange.decision
    trusted = trusts(head.peer, exchange.runtime.options.trusted)
    headers = request_headers(head, decision, trusted_peer=trusted, idempotency_key=None)
    return exchange.runtime.dispatcher.oblige_socket(decision, target(exchange), headers)
