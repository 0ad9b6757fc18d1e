"""A reviewer's question, and what whoever asked for the request says to it: which is which, what of it is shown, and whether the same was
said before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from router.errors import ReviewError
from router.ports import Change, Held, Review
from router.review import deadlines
from router.review.packing import Information
from router.review.people import People
from router.review.state import Event, State

MOST_CHARS = 4000
MOST_INFORMATION = 32
SHOWN, KEY = "shown", "idempotency_key"  # of the personal part of an answer's record: masked, where that is another text; the caller's key
EVIDENCE = "evidence"  # of a held request's summary


@dataclass(frozen=True, slots=True)
class Question:
    """One that is open. `respond_ns`: until when an answer is waited for, 0 where only the hard end counts; `number` from 1."""

    text: str
    respond_ns: int
    number: int


async def open_question(review: Review, people: People) -> Question | None:
    """Its text is empty where the reviewer's key was destroyed."""
    if review.state != State.MORE_INFORMATION:
        return None
    asked = [each for each in review.history if each.event == Event.INFORMATION_ASKED]
    text = (await people.opened(asked[-1].entries[0])).get("comment", "")
    return Question(text, deadlines.next_response(review) or 0, len(asked))


def answered(held: Held) -> int:
    """How often something was said to a question."""
    evidence = held.summary.get(EVIDENCE)
    return int(evidence["count"]) if isinstance(evidence, Mapping) else 0


def askable(held: Held) -> None:
    """Raises ReviewError where no answer would be taken any more, so that nobody is asked in vain."""
    if answered(held) >= MOST_INFORMATION:
        raise ReviewError(f"A request has at most {MOST_INFORMATION} answers.", "information_too_much")


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_masked(information: Information) -> bool:
    """Whether what is shown of it is not what was said."""
    return information.digest not in ("", digest_of(information.text))


def evidence(told: tuple[Information, ...]) -> dict[str, int | str]:
    """What an approval covers of all that was said: what reviewers saw, and by its digest what was meant."""
    text = json.dumps([[each.question, each.text, each.by, each.at_ns, each.digest] for each in told])
    return {"count": len(told), "digest": hashlib.sha256(text.encode()).hexdigest()}


async def repeated(review: Review, people: People, who: str, fingerprint: str, version: int | None, key: str) -> bool:
    """Whether that person said this very thing before: under this key, to the question that this version names, or just now. Raises
    ReviewError where the key was used for something else."""
    for at, change in enumerate(review.history):
        told = await _own(change, people, who)
        if told is None:
            continue
        same = told.get("asked") == fingerprint
        if key and told.get(KEY) == key:
            if not same:
                raise ReviewError("This Idempotency-Key was used for another answer.", "idempotency_key_reused")
            return True
        if same and at == (version if version is not None else review.version - 1):
            return True
    return False


async def _own(change: Change, people: People, who: str) -> Mapping[str, str] | None:
    if change.event != Event.INFORMATION_GIVEN or not change.entries:
        return None
    told = await people.opened(change.entries[0])
    return told if told.get("reviewer") == who else None
