"""A request for several things: a decision for each, all of them on record before any is dispatched, and one answer that tells of all.

    1 the parent is on record   2 each clause is decided, by its own intent's policy and with what was found in the whole
    3 each is dispatched, or held   4 the parent's outcome names its steps, and how each ended

The steps have no order but the text's and know nothing of each other; what was done stays done. Where one is not understood, nothing is.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from router.decision import Decision, Outcome, Request, Result, Step
from router.dispatch import content_digest, failure, undeliverable, unheld
from router.doors.body import whole_body_view
from router.doors.head import Head
from router.doors.relay import Exchange, Relay, outbound
from router.doors.repeating import Claim
from router.doors.responses import Send, respond, respond_problem
from router.doors.runtime import Observer, StepOptions
from router.doors.step_keys import Begun, begun, looked_up, only_once, settled
from router.errors import AuditError, DestinationError, LockgateError, RefusedError
from router.obligations import response_limit
from router.pipeline import Part
from router.ports import Clock, Headers, Ids
from router.review.sending import Received, received
from router.stages.classification import SEVERAL_INTENTS, normalise
from router.stages.clauses import clauses

UNCLEAR = "step_unclear"
NOT_TOGETHER = "steps_not_together"
NOT_NEEDED = "step_not_needed"
UNCERTAIN = "step_uncertain"
_UNTOLD = frozenset(("upstream_timeout", "upstream_idle", "upstream_reset", "upstream_protocol"))
MULTI_STATUS = 207  # RFC 4918 §11.1
_DETAIL = "It asks for more than one thing, and one of them is not clear enough. Please ask for one after the other."


@dataclass(slots=True)
class _Taken:
    """One step on its way. `answer` is the service's, where it was asked; `taken`: that is over; `uncertain`: it was sent or
    put before people, and no whole answer came that says what was done."""

    exchange: Exchange
    outcome: Outcome | None
    answer: Received | None = None
    taken: bool = False
    uncertain: bool = False

    @property
    def decision(self) -> Decision:
        return self.exchange.decision

    @property
    def ready(self) -> bool:
        return self.decision.outcome is None


class Steps:
    def __init__(self, relay: Relay, clock: Clock, ids: Ids, observer: Observer) -> None:
        self._relay = relay
        self._observer = observer
        self._clock = clock
        self._ids = ids

    async def act(self, exchange: Exchange, options: StepOptions, send: Send) -> None:
        """`exchange.decision` splits. Raises nothing that a door has to answer; exactly one outcome for the parent and for each step."""
        try:
            steps = await self._decided(exchange)  # 2
        except (AuditError, RefusedError) as error:
            status = error.status if isinstance(error, RefusedError) else 503
            await self._relay.fail(exchange, Outcome(Result.FAILED, status, error.code, complete=False), str(error), send)
            return
        stopped = _stopped(steps, options)
        if stopped is not None:
            await self._none(exchange, steps, stopped, send)
            return
        if options.first_success:
            await self._one_by_one(steps, options)
        else:
            await asyncio.gather(*(self._once(step, options) for step in steps))  # 3
        await self._told(exchange, steps, send)  # 4

    async def _decided(self, exchange: Exchange) -> list[_Taken]:
        """Raises AuditError, RefusedError; what was decided before has an outcome then."""
        parts = clauses(normalise(exchange.decision.request.body.text or ""))
        deciding = (self._decide(exchange, place, part) for place, part in enumerate(parts, start=1))
        found = await asyncio.gather(*deciding, return_exceptions=True)
        steps = [each for each in found if isinstance(each, _Taken)]
        failed = next((each for each in found if isinstance(each, BaseException)), None)
        if failed is not None:
            await self._end_all(steps, Outcome(Result.FAILED, 503, "step_abandoned", complete=False))
            raise failed
        return steps

    async def _decide(self, exchange: Exchange, place: int, text: str) -> _Taken:
        parent, runtime = exchange.decision, exchange.runtime
        request = _part(parent.request, self._ids.new(), text, exchange, place)
        decision = await runtime.pipeline.decide(request, part=Part(parent.id, parent.signals))
        step = Exchange(runtime, _keyed(exchange.head, place), decision, exchange.started_ns, _Body(request.body.data))
        return _Taken(step, decision.outcome)

    async def _none(self, exchange: Exchange, steps: Sequence[_Taken], outcome: Outcome, send: Send) -> None:
        await self._end_all(steps, outcome)
        detail = _DETAIL if outcome.reason == UNCLEAR else "Not every step may be taken at once, so none was."
        told = replace(outcome, steps=_linked(steps), total_ns=self._relay.elapsed(exchange))
        code = SEVERAL_INTENTS if outcome.reason == UNCLEAR else outcome.reason
        stories = [_story(step, place) for place, step in enumerate(steps, start=1)]
        await respond_problem(send, outcome.status, code, detail, exchange.decision.id, steps=stories)
        await self._relay.end(exchange, told)

    async def _end_all(self, steps: Sequence[_Taken], outcome: Outcome) -> None:
        for step in steps:
            if step.ready:
                step.outcome = outcome
                await self._relay.end(step.exchange, outcome)
            elif step.decision.outcome is not None and step.decision.outcome.result is Result.HELD:
                step.outcome = replace(outcome, result=Result.DENIED)  # it was not put where reviewers look
                await self._relay.end(step.exchange, step.outcome)

    async def _one_by_one(self, steps: Sequence[_Taken], options: StepOptions) -> None:
        done, stopped, claims = False, None, list[tuple[_Taken, Claim | None]]()
        try:
            for step in steps:
                if (done or stopped is not None) and (step.ready or _is_held(step.decision)):
                    step.outcome = stopped or Outcome(Result.DENIED, 409, NOT_NEEDED)
                    await self._relay.end(step.exchange, step.outcome)
                    continue
                found = await self._begun(step, alternatives=True)
                claims.append((step, found.claim))
                await self._dispatched(step, options)
                done = done or found.before or _is_done(step.outcome)
                stopped = stopped or _instead(step, found)
        finally:
            for step, claim in claims:
                await settled(claim, step.outcome if step.taken else None, step.answer, for_good=done)

    async def _once(self, step: _Taken, options: StepOptions) -> None:
        claim = (await self._begun(step)).claim
        try:
            await self._dispatched(step, options)
        finally:
            await settled(claim, step.outcome if step.taken else None, step.answer)

    async def _begun(self, step: _Taken, *, alternatives: bool = False) -> Begun:
        """A repetition ends here. A step that policy refuses is looked up where others would be taken instead of it."""
        elapsed_ns = self._relay.elapsed(step.exchange)
        if not (step.ready or _is_held(step.decision)):
            return replace(await looked_up(step.exchange, elapsed_ns), claim=None) if alternatives else Begun()
        found = await begun(step.exchange, elapsed_ns)
        if found.outcome is not None:
            step.outcome, step.answer, step.taken = found.outcome, found.answer, True
            await self._relay.end(step.exchange, found.outcome)
        return found

    async def _dispatched(self, step: _Taken, options: StepOptions) -> None:
        if step.taken:
            return
        if not step.ready:
            if _is_held(step.decision):
                step.outcome = await self._held(step)
            if step.outcome is not None and step.outcome == step.decision.outcome:
                self._observer.ended(step.decision, step.outcome)
        else:
            step.outcome = await self._relay.settle(step.exchange, self._sent(step, options))
        step.taken = True

    async def _sent(self, step: _Taken, options: StepOptions) -> Outcome:
        exchange, sent_ns = step.exchange, self._clock.monotonic_ns()
        route = exchange.decision.route
        try:
            if route is not None and route.name in exchange.runtime.deliveries:
                raise undeliverable()
            reply = await exchange.runtime.dispatcher.send(exchange.decision, outbound(exchange))
        except DestinationError as error:
            step.uncertain = error.sent and (error.untold or error.code in _UNTOLD)
            return replace(failure(error, self._relay.elapsed(exchange)), upstream_ns=self._clock.monotonic_ns() - sent_ns)
        except LockgateError as error:  # an obligation that cannot be met: nothing was sent
            return Outcome(Result.DENIED, 403, error.code, total_ns=self._relay.elapsed(exchange))
        limit = response_limit(exchange.decision.verdict.obligations)
        step.answer = await received(reply, limit, options.answer)
        step.uncertain = bool(step.answer.reason) and reply.status < 400  # it began to say that it was done
        digest = exchange.reader.digest or ""
        return step.answer.outcome(digest, self._relay.elapsed(exchange), self._clock.monotonic_ns() - sent_ns)

    async def _held(self, step: _Taken) -> Outcome:
        exchange, decision = step.exchange, step.decision
        try:
            held = exchange.runtime.dispatcher.oblige(decision, outbound(exchange))
            content_digest(held)
            await exchange.runtime.holder.hold(decision, held)
        except LockgateError as error:
            step.uncertain, failed = error.unsettled, unheld(error)
            await self._relay.end(exchange, failed)
            return failed
        return step.outcome or Outcome(Result.HELD, 202)

    async def _told(self, exchange: Exchange, steps: Sequence[_Taken], send: Send) -> None:
        body = {
            "decision_id": exchange.decision.id,
            "steps": [_story(step, place) for place, step in enumerate(steps, start=1)],
        }
        headers: Headers = [(b"content-type", b"application/json"), (b"x-lockgate-decision-id", exchange.decision.id.encode())]
        content = orjson.dumps(body)
        await respond(send, MULTI_STATUS, content, headers)
        whole = all(step.outcome is not None and step.outcome.complete for step in steps)
        outcome = Outcome(
            Result.SPLIT,
            MULTI_STATUS,
            SEVERAL_INTENTS,
            total_ns=self._relay.elapsed(exchange),
            request_digest=exchange.reader.digest,
            response_bytes=len(content),
            complete=whole,
            steps=_linked(steps),
        )
        await self._relay.end(exchange, outcome)


class _Body:
    """A step's body, which is all there."""

    complete = True

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.digest: str | None = hashlib.sha256(data).hexdigest()

    async def rest(self) -> Any:
        yield self.data


def _stopped(steps: Sequence[_Taken], options: StepOptions) -> Outcome | None:
    """Why nothing is done, if nothing is."""
    if any(step.outcome is not None and step.outcome.result is Result.ABSTAINED for step in steps):
        return Outcome(Result.ABSTAINED, 422, UNCLEAR)
    if options.together and not all(step.ready for step in steps):
        return Outcome(Result.DENIED, 403, NOT_TOGETHER)
    return None


def _is_done(outcome: Outcome | None) -> bool:
    """Or will be, when a person says so: what is tried in its place meanwhile would be done beside it."""
    return outcome is not None and (outcome.result is Result.HELD or (outcome.result is Result.ROUTED and outcome.status < 400))


def _instead(step: _Taken, found: Begun) -> Outcome | None:
    """How alternatives end that nobody may try now: what they would stand in for is, or may have been, done. None where they may be."""
    if only_once(found.outcome):
        return found.outcome
    return Outcome(Result.DENIED, 409, UNCERTAIN) if step.uncertain else None


def _is_held(decision: Decision) -> bool:
    return decision.outcome is not None and decision.outcome.result is Result.HELD


def _part(request: Request, new_id: str, text: str, exchange: Exchange, place: int) -> Request:
    options = exchange.runtime.options
    data = _with_text(request, text, options.text_paths)
    key = f"{request.idempotency_key}-{place}" if request.idempotency_key else request.idempotency_key
    view = whole_body_view(data, request.content_type, options.text_paths, options.limits)
    return replace(request, id=new_id, body=view, idempotency_key=key)


def _with_text(request: Request, text: str, paths: Sequence[tuple[str, ...]]) -> bytes:
    """The request's body with a clause instead of the text: other fields stay, for they may be about any of the steps."""
    document = request.body.json
    if document is None:
        return text.encode()
    if isinstance(document, str):
        return orjson.dumps(text)
    for path in paths:
        changed = _changed(document, path, text)
        if changed is not None:
            return orjson.dumps(changed)
    raise RefusedError("The request's text was not found in it again.", "request_invalid", 422)


def _changed(document: Any, path: tuple[str, ...], text: str) -> Any:
    """A copy with the text at the path; None where there is no text."""
    if not path:
        return text if isinstance(document, str) else None
    inner = _changed(document.get(path[0]), path[1:], text) if isinstance(document, dict) else None
    return None if inner is None else {**document, path[0]: inner}


def _keyed(head: Head, place: int) -> Head:
    """A caller's key is for the whole request: each step has one of its own, the same whenever the request comes again."""
    key = head.fields.get(b"idempotency-key")
    if not key:
        return head
    own = b"%b-%d" % (key, place)
    headers = [(name, own if name == b"idempotency-key" else value) for name, value in head.headers]
    return replace(head, headers=headers, fields={**head.fields, b"idempotency-key": own})


def _linked(steps: Sequence[_Taken]) -> tuple[Step, ...]:
    return tuple(Step(step.decision.id, step.outcome.result, step.outcome.status) for step in steps if step.outcome is not None)


def _story(step: _Taken, place: int) -> dict[str, Any]:
    outcome, decision = step.outcome, step.decision
    told: dict[str, Any] = {
        "step": place,
        "decision_id": decision.id,
        "intent": decision.classification.intent,
        "outcome": outcome.result.value if outcome is not None else "unknown",
        "status": outcome.status if outcome is not None else 0,
        "reason": outcome.reason if outcome is not None else "",
    }
    if step.answer is not None:
        told["content_type"] = step.answer.content_type
        told["body"] = _readable(step.answer)
        told["whole"] = len(step.answer.body) == step.answer.total_bytes and not step.answer.reason
    return told


def _readable(answer: Received) -> Any:
    kind = answer.content_type.partition(";")[0].strip().lower()
    try:
        if (kind == "application/json" or kind.endswith("+json")) and len(answer.body) == answer.total_bytes:
            return orjson.loads(answer.body)
        return answer.body.decode()
    except (orjson.JSONDecodeError, UnicodeDecodeError):
        return None
