"""Calls of the decide API that carry an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), where they are remembered.

1 is there a key   2 is it the first call with it   3 decide (durable)   4 keep the decision, or answer with the one that is kept

A decision has no effect here, so that a crash between 2 and 4 costs its caller a minute: then the next call is the first. Not where it may
be held: that may have been done, and takes long while its store is away. A repetition is judged and recorded as any call, and its outcome
says that another decision was given; what is refused by now stays refused.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from router.decision import Decision, Outcome, Result, Subject
from router.doors.decide_models import DecideRequest
from router.doors.repeating import LONGEST_KEY, MISSING_CALL, REPLAYED, UNKNOWN, own_key, refusal
from router.doors.runtime import KeptAnswers, Observer, Runtime
from router.errors import AuditError, LockgateError, RefusedError, StateError
from router.ports import Ids, Repeats, Turn

log = logging.getLogger("lockgate.decide")
SECONDS_UNDER_WAY = 60
"""How long a key stays claimed by a call that never ends; longer than a decision takes."""
SECONDS_HELD = 3600
"""The least for one that may be held."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What the caller is given; `replayed`: it is the decision of an earlier call. `headers`: further fields of the answer."""

    document: bytes
    replayed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asking:
    """A call: decides, says what is to be held, puts that before reviewers, and writes down what the caller is given."""

    decide: Callable[[], Awaitable[Decision]]
    waits: Callable[[Decision], bool]
    hold: Callable[[Decision], Awaitable[None]]
    told: Callable[[Decision], bytes]


class RepeatedCalls:
    def __init__(self, ids: Ids, observer: Observer) -> None:
        self._ids = ids
        self._observer = observer

    async def decide(
        self,
        runtime: Runtime,
        key: str | None,
        caller: Subject,
        client: str,
        wanted: DecideRequest,
        asking: Asking,
    ) -> Decided:
        """`key`: the call's own, see `key_of`. Raises RefusedError and what `asking` raises."""
        settings, repeats = runtime.options.decide_keeping, runtime.repeats
        if settings is None:
            return await self._decided(asking)
        if key is None:  # 1
            if settings.required:
                raise RefusedError(MISSING_CALL, "idempotency_key_missing", 400)
            return await self._decided(asking)
        name, token = "decide " + own_key(caller, client, key), self._ids.new()
        if repeats is None:
            log.error("it cannot be told whether a call was repeated: nobody remembers calls here")
            if not settings.open:
                raise RefusedError(UNKNOWN, "idempotency_unavailable", 503)
            return await self._decided(asking)
        seconds = max(SECONDS_HELD, settings.seconds) if wanted.hold else SECONDS_UNDER_WAY
        try:
            turn, answer = await repeats.begin(name, _fingerprint(wanted), token, seconds)  # 2
        except StateError as error:
            log.error("it cannot be told whether a call was repeated: %s", error)
            if not settings.open:  # who was asked may have heard it, and nothing of this call will follow
                await _quietly(repeats.release(name, token), token)
                raise RefusedError(UNKNOWN, "idempotency_unavailable", 503) from None
            turn = Turn.FIRST  # the key may be this call's
        if turn is Turn.FIRST:
            return await self._first(repeats, settings, name, token, asking)
        if turn is Turn.ANSWERED:
            return await self._again(runtime, answer, asking)
        raise refusal(turn)

    async def _first(self, repeats: Repeats, settings: KeptAnswers, name: str, token: str, asking: Asking) -> Decided:
        holding = False
        try:
            decision = await asking.decide()  # 3
            holding = asking.waits(decision)
            decided = await self._ended(asking, decision)
        except BaseException as error:
            # Reviewers may have it, and are not asked twice; also where this call was cut off, or failed in a way that nobody foresaw.
            if error.unsettled if isinstance(error, LockgateError) else holding:
                await _quietly(repeats.end(name, token, None, settings.seconds), token)
            else:
                await _quietly(repeats.release(name, token), token)
            raise
        await _quietly(repeats.end(name, token, decided.document, settings.seconds), token)  # 4
        return decided

    async def _again(self, runtime: Runtime, answer: bytes, asking: Asking) -> Decided:
        """Nothing is held a second time: what reviewers have is the first one's."""
        kept, decision = orjson.loads(answer), await asking.decide()  # 3
        refused = decision.outcome is not None and decision.outcome.result is not Result.HELD
        if refused:
            self._observer.ended(decision, decision.outcome)
            was_refused = kept["outcome"] is not None and kept["outcome"]["result"] != Result.HELD
            return Decided(answer, True) if was_refused else Decided(asking.told(decision))
        result = Result.ROUTED if decision.outcome is None else Result.HELD
        outcome = Outcome(result, 200, REPLAYED, response_bytes=len(answer))
        self._observer.ended(decision, outcome)
        try:
            await runtime.pipeline.ended(decision, outcome)
        except AuditError as error:  # the decision that is given is on record, and the one that is not is, too
            log.error("no outcome recorded for decision %s: %s", decision.id, error)
        return Decided(answer, True)  # 4

    async def _decided(self, asking: Asking) -> Decided:
        return await self._ended(asking, await asking.decide())

    async def _ended(self, asking: Asking, decision: Decision) -> Decided:
        if asking.waits(decision):
            await asking.hold(decision)
        self._observer.ended(decision, decision.outcome)
        return Decided(asking.told(decision))


def key_of(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """Raises RefusedError."""
    found = [value.strip() for name, value in headers if name.lower() == b"idempotency-key"]
    if not found:
        return None
    if len(found) > 1 or not found[0] or len(found[0]) > LONGEST_KEY:
        detail = f"One Idempotency-Key of 1 to {LONGEST_KEY} characters may come with a call."
        raise RefusedError(detail, "idempotency_key_invalid", 400)
    return found[0].decode("latin-1")


async def _quietly(work: Awaitable[None], token: str) -> None:
    """The decision is on record, whether or not it is remembered."""
    try:
        await work
    except StateError as error:
        log.error("how call %s ended is not kept: %s", token, error)


def _fingerprint(wanted: DecideRequest) -> str:
    """Of what is asked, however it is written."""
    return hashlib.sha256(json.dumps(wanted.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()).hexdigest()
