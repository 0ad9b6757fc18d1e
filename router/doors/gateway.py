"""The gateway door: a raw ASGI reverse proxy. It speaks HTTP; what happens to a request is decided in the pipeline.

1 header   2 identity   3 rate limit   4 body   5 decide (durable)   6 answer, hold or relay   7 outcome
"""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import Any

from router.decision import BodyView, Outcome, Request, Result, Subject
from router.doors.body import BodyReader, ClientGoneError, Receive, body_view, read_whole
from router.doors.conversing import Conversing
from router.doors.cors import Cors, answer_preflight, preflight, sharing
from router.doors.delivering import Delivering
from router.doors.head import Head, read_head
from router.doors.held import GoneError, waiting_passes
from router.doors.holding import Holds
from router.doors.onward import Onward
from router.doors.own_space import OwnSpace, Visit, missing
from router.doors.relay import Exchange, Relay
from router.doors.repeating import Repeating, keeping
from router.doors.responses import STATE_FAILED, Send, ended, refuse, respond_problem
from router.doors.runtime import Observer, Runtime
from router.doors.steps import Steps
from router.errors import AuditError, RefusedError, StateError
from router.ports import Clock, Ids, Random
from router.stages.rules import Looked
from router.telemetry.logs import current_trace

log = logging.getLogger("lockgate.gateway")


class Gateway:
    def __init__(
        self,
        clock: Clock,
        ids: Ids,
        random: Random,
        observer: Observer,
        door: str = "gateway",
        onward: Onward | None = None,
        own: OwnSpace | None = None,
    ) -> None:
        """`door`: what records call it; `onward`: how requests are delivered, where they can be; `own`: what it answers itself."""
        self._onward = onward
        self._own = own
        self._clock = clock
        self._door = door
        self._ids = ids
        self._random = random
        self._observer = observer
        self._relay = Relay(clock, observer)
        self._repeating = Repeating(self._relay)
        self._holds = Holds(self._relay, clock, observer)
        self._steps = Steps(self._relay, clock, ids, observer)

    async def handle(self, runtime: Runtime, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One HTTP request. Every failure is answered in one sentence; none with a stack trace."""
        started_ns = self._clock.monotonic_ns()
        try:
            head = self.read_head(runtime, scope)
            if runtime.options.cors is not None:
                answered, send = await self._shared(runtime.options.cors, head, send)
                if answered:
                    return
            if self._own is not None and self._own.holds(head):
                visit = Visit(head.headers, receive, waiting_passes(send))
                body = partial(read_whole, receive, runtime.options.limits, declared=head.content_length, empty=not head.has_body)
                await self._own.answer(runtime, head, await self.identify(runtime, head), send, visit, body)
                return
            reader = BodyReader(receive, runtime.options.limits, head.content_length, empty=not head.has_body)
            request, looked = await self._request(runtime, head, reader)
            talk = _conversing(runtime)
            if talk is not None:
                request = await talk.informed(head, request)
            splits = runtime.options.steps is not None
            following = None
            if self._onward is not None and runtime.deliveries:
                following = Delivering(self._onward, runtime, head, reader, started_ns)
            beside = following.beside if following is not None else None
            decision = await runtime.pipeline.decide(request, looked, splits=splits, beside=beside)  # 5
        except RefusedError as error:
            self._observer.refused(error.code, error.status)
            await refuse(send, error)
        except (ClientGoneError, GoneError):
            self._observer.refused("client_gone", 499)
        except AuditError as error:
            self._observer.refused(error.code, 503)
            await respond_problem(send, 503, error.code, "The decision could not be recorded, so nothing was done.")
        except StateError as error:
            self._observer.refused(error.code, 503)
            log.error("a request could not be judged: %s", error)
            await respond_problem(send, 503, error.code, STATE_FAILED)
        else:
            if talk is not None:
                await talk.said(runtime, decision)
            exchange = Exchange(runtime, head, decision, started_ns, reader)
            if following is None or not await following.act(exchange, self._relay, send):
                await self._act(exchange, receive, send)

    async def _act(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        outcome, steps = exchange.decision.outcome, exchange.runtime.options.steps  # 6
        if steps is not None and exchange.decision.splits:
            await self._steps.act(exchange, steps, send)
            return
        if outcome is not None and outcome.result is not Result.HELD:
            self._observer.ended(exchange.decision, outcome)
            await ended(send, exchange.decision, exchange.runtime.descriptions)
            return

        async def acting(send: Send) -> Outcome:
            return await (
                self._relay.relay(exchange, receive, send) if outcome is None else self._holds.hold(exchange, outcome, receive, send)
            )

        if (settings := keeping(exchange)) is None:
            await acting(send)
        else:
            await self._repeating.act(exchange, settings, send, acting)

    def read_head(self, runtime: Runtime, scope: dict[str, Any]) -> Head:
        head = read_head(scope, runtime.options.trusted, self._random.random() < runtime.options.sample)  # 1
        if runtime.options.addresses is not None:
            runtime.options.addresses.check(head.client)
        current_trace.set(head.trace)
        return head

    def refuse_own(self, head: Head) -> None:
        """For what the gateway's own paths do not serve. Raises RefusedError."""
        if self._own is not None and self._own.holds(head):
            raise missing()

    async def _shared(self, cors: Cors, head: Head, send: Send) -> tuple[bool, Send]:
        """Whether a preflight was answered; else how this request's answer is to be sent. Raises RefusedError."""
        asked = preflight(head)
        policy = cors.policy(asked or head.method, head.path)
        if policy is None:
            return False, send
        if asked is None:
            return False, sharing(policy, head, send)
        await answer_preflight(policy, head, asked, send)
        self._observer.preflight()
        return True, send

    async def identify(self, runtime: Runtime, head: Head) -> Subject:
        """Raises RefusedError (401, 403, 429), StateError."""
        subject = await runtime.authenticator.identify(head.headers, self._clock.now_ns(), head.certificate)  # 2
        wait = await runtime.limiter.admit(subject, head.client)  # 3
        if wait is not None:
            raise RefusedError("Too many requests.", "rate_limited", 429, math.ceil(wait))
        return subject

    async def _request(self, runtime: Runtime, head: Head, reader: BodyReader) -> tuple[Request, Looked]:
        received_ns = self._clock.now_ns()
        subject = await self.identify(runtime, head)
        visible = head.visible(runtime.options.visible)
        looked = self.look(runtime, head, visible)
        unread = head.has_body and self.streams(runtime, looked)
        view = BodyView(truncated=True) if unread else await self.read_view(runtime, head, reader)  # 4
        return self.build(head, subject, received_ns, visible, view), looked

    def look(self, runtime: Runtime, head: Head, visible: tuple[tuple[str, str], ...]) -> Looked:
        """What the rules say of the head alone."""
        return runtime.pipeline.stages.rules.look(head.method, head.path, visible, None)

    def streams(self, runtime: Runtime, looked: Looked) -> bool:
        """Whether a body is never waited for."""
        return looked.match is not None and looked.match.route in runtime.options.streams

    async def read_view(self, runtime: Runtime, head: Head, reader: BodyReader) -> BodyView:
        """Raises RefusedError (408, 413) and ClientGoneError."""
        await reader.read_view()
        options, limits = runtime.options, runtime.options.limits
        encoding = (head.text(b"content-encoding") or "").lower()
        # Whether the last chunk happened to be there already must not decide how much is judged.
        digest = reader.digest if len(reader.data) <= limits.view else None
        content_type = head.text(b"content-type") or ""
        return body_view(reader.data[: limits.view], digest, content_type, encoding, options.text_paths, limits.text_chars)

    def build(self, head: Head, subject: Subject, received_ns: int, visible: tuple[tuple[str, str], ...], body: BodyView) -> Request:
        return Request(
            id=self._ids.new(),
            received_ns=received_ns,
            door=self._door,
            subject=subject,
            method=head.method,
            host=head.host,
            path=head.path,
            query=head.query,
            headers=visible,
            content_type=head.text(b"content-type") or "",
            body=body,
            client=head.client,
            trace=head.trace,
            idempotency_key=head.text(b"idempotency-key"),
        )


def _conversing(runtime: Runtime) -> Conversing | None:
    options = runtime.options.conversation
    if options is None or runtime.conversations is None or runtime.keys is None:
        return None
    return Conversing(runtime.conversations, runtime.keys, options)
