"""Steps on routes that remember requests by their `Idempotency-Key`: each is taken once under a key of its own, however often the whole
request comes.

Steps that are alternatives (`run: first_success`) have to be gone through as the first time: one that failed then, without any effect, must
not be taken now that another was. So their keys are settled together, when it is known whether one succeeded.
"""

from __future__ import annotations

from dataclasses import dataclass

from router.decision import Outcome, Result
from router.dispatch import failure
from router.doors.relay import Exchange
from router.doors.repeating import LONGEST_STEP_KEY, Claim, claimed, had_no_effect, keeping, packed, replayed, succeeded, unpacked
from router.errors import DestinationError, RefusedError
from router.review.sending import Received

CONTENT_TYPE = b"content-type"
_ONLY_ONCE = frozenset(("idempotency_under_way", "idempotency_unanswered", "idempotency_key_reused", "idempotency_unavailable"))


@dataclass(frozen=True, slots=True)
class Begun:
    """`claim`: the key is this step's, and is to be settled. `outcome`: the step ended here, answered from what was kept (`answer`), or
    refused. Without either nobody remembers it. `before`: it succeeded the first time, or was held, whatever is told of that now."""

    claim: Claim | None = None
    outcome: Outcome | None = None
    answer: Received | None = None
    before: bool = False


async def begun(exchange: Exchange, elapsed_ns: int) -> Begun:
    """For a step that would be dispatched or held now. Raises nothing."""
    settings = keeping(exchange)
    if settings is None:
        return Begun()
    try:
        found = await claimed(exchange, settings, LONGEST_STEP_KEY)
    except RefusedError as error:
        return Begun(outcome=Outcome(Result.DENIED, error.status, error.code, total_ns=elapsed_ns))
    if not isinstance(found, bytes):
        return Begun(claim=found)
    before = succeeded(found)
    try:
        status, headers, body = unpacked(found, exchange.decision)
    except DestinationError as error:
        return Begun(outcome=failure(error, elapsed_ns), before=before)
    outcome = replayed(exchange, status, body, elapsed_ns)
    if outcome.result is Result.HELD:
        return Begun(outcome=outcome, before=before)
    content_type = next((value for name, value in headers if name == CONTENT_TYPE), b"").decode("latin-1")
    return Begun(outcome=outcome, answer=Received(status, "", 0, content_type, body, len(body)), before=before)


async def looked_up(exchange: Exchange, elapsed_ns: int) -> Begun:
    """For a step that policy refuses by now: how it ended the first time, if it did. Its key is as it was afterwards. Raises nothing."""
    found = await begun(exchange, elapsed_ns)
    if found.claim is not None:
        await found.claim.release()
    return found


async def settled(claim: Claim | None, outcome: Outcome | None, answer: Received | None, *, for_good: bool = False) -> None:
    """Says how the step ended. `outcome`: None where it is not known. `for_good`: it is not taken again, also where it had no effect."""
    if claim is None:
        return
    told = _told(outcome, answer, claim.settings.most)
    if for_good and outcome is not None and had_no_effect(outcome):
        await claim.spend(told)
    else:
        await claim.end(outcome, told)


def only_once(outcome: Outcome | None) -> bool:
    """Whether this may be a repetition of what is, or was, done elsewhere, so that no other step may be tried in its place."""
    return outcome is not None and outcome.result is Result.DENIED and outcome.reason in _ONLY_ONCE


def _told(outcome: Outcome | None, answer: Received | None, most: int) -> bytes | None:
    if outcome is None:
        return None
    if answer is None:
        return packed(outcome.status, [], b"", waits=True)
    whole = not answer.reason and len(answer.body) == answer.total_bytes <= most
    return packed(answer.status, [(CONTENT_TYPE, answer.content_type.encode("latin-1"))], answer.body) if whole else None
