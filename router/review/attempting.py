"""One attempt of a person at a held request: judged, then a step that is durable, or a refusal that is in the ledger.

1 the rules that hold whatever policy says     crash before 4: nothing has happened
2 for an approval: would it be judged as it was?
3 policy: `data.lockgate.review`
4 the step durable in the store                crash after it: its record is appended later, and nothing happens before it is
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from router.acting import actors, maker
from router.decision import Subject
from router.errors import ReviewError
from router.ports import Change, Clock, Held, HeldRequests, Ledger, Review
from router.review import answering, deadlines, records, terms
from router.review.approving import Approval, approvals, enough
from router.review.attempts import APPROVING, Attempt, Kind, Reviewer, check, in_state
from router.review.changing import escalated, informed, modified
from router.review.judging import Again, Judging, document, permit
from router.review.opinions import Opinion, Opinions
from router.review.packing import Content, Information, open_content
from router.review.people import People
from router.review.state import Event, State, said
from router.review.superseding import Superseding
from router.review.taking import take
from router.review.views import maybe_time

LASTING = frozenset({*APPROVING, Kind.REJECT, Kind.CANCEL})  # what may be asked for again also after other steps
BY_KIND: Mapping[Kind, frozenset[Event]] = {
    Kind.CLAIM: frozenset({Event.CLAIMED, Event.RENEWED}),
    Kind.RELEASE: frozenset({Event.UNCLAIMED}),
    Kind.APPROVE: frozenset({Event.APPROVED, Event.ENDORSED}),
    Kind.REJECT: frozenset({Event.REJECTED}),
    Kind.MODIFY: frozenset({Event.MODIFIED}),
    Kind.REROUTE: frozenset({Event.REROUTED}),
    Kind.ASK: frozenset({Event.INFORMATION_ASKED}),
    Kind.ANSWER: frozenset({Event.INFORMATION_GIVEN}),
    Kind.ESCALATE: frozenset({Event.ESCALATED}),
    Kind.CANCEL: frozenset({Event.CANCELLED}),
}
TELLING: Mapping[Kind, Event] = {Kind.REJECT: Event.REJECTED, Kind.MODIFY: Event.MODIFIED, Kind.REROUTE: Event.REROUTED}
UNRECORDED = frozenset({"review_not_found", "review_store_unavailable", "review_store_closed", "review_elsewhere"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks for. `digest` and `version`: of what they saw; `becomes`: the digest of what they saw that it would become; `key`:
    under which they say so, and may say so again. `intent` and `reason`: what they say of the classification."""

    kind: Kind
    comment: str = ""
    digest: str | None = None
    version: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    route: str | None = None
    becomes: str | None = None
    key: str = ""
    intent: str | None = None
    reason: str = ""

    @property
    def fingerprint(self) -> str:
        said = [self.kind.value, self.digest, self.changes, self.route]
        if self.kind in (Kind.ASK, Kind.ANSWER):
            said.append(self.comment)
        if self.intent is not None or self.reason:
            said += [self.intent, self.reason]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Step:
    change: Change
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class Trying:
    """`key` is the reviewer's own; `content` None where it is no more, or cannot be opened."""

    attempt: Attempt
    asked: Asked
    key: bytes
    content: Content | None
    opinion: Opinion | None = None

    @property
    def review(self) -> Review:
        return self.attempt.review

    @property
    def now_ns(self) -> int:
        return self.attempt.now_ns


class Attempting:
    def __init__(self, store: HeldRequests, ledger: Ledger, people: People, clock: Clock, judging: Judging, opinions: Opinions) -> None:
        self._store = store
        self._opinions = opinions
        self._ledger = ledger
        self._people = people
        self._clock = clock
        self._judging = judging
        self._superseding = Superseding(store, people, clock, judging)
        self._steps: Mapping[Kind, Callable[[Trying], Awaitable[Step]]] = {
            Kind.CLAIM: self._claim,
            Kind.RELEASE: self._release,
            Kind.APPROVE: self._approve,
            Kind.REJECT: self._reject,
            Kind.MODIFY: self._modify,
            Kind.REROUTE: self._reroute,
            Kind.ASK: self._ask,
            Kind.ANSWER: self._answer,
            Kind.ESCALATE: self._escalate,
            Kind.CANCEL: self._cancel,
        }

    async def attempt(self, review_id: str, subject: Subject, asked: Asked) -> Change | None:
        """The step that was taken; None where it was taken before. Raises ReviewError, AuditError."""
        await self._ledger.ping()  # a person is told before, not after, that nothing can be recorded
        reviewer, key = await self._reviewer(subject)
        while True:  # again when somebody else was quicker: what they did may change what this is
            review = await self._store.get(review_id)
            if review is None:
                raise ReviewError("There is no such held request.", "review_not_found")
            if await self._repeated(review, reviewer, asked):
                return None
            self._opinions.check(asked.intent, asked.reason)
            try:
                step = await self._judged(review, reviewer, key, asked)
            except ReviewError as error:
                if error.code not in UNRECORDED:
                    now_ns = self._clock.now_ns()
                    await self._ledger.append(records.refused(review, asked.kind, error.code, now_ns, reviewer, key, asked.comment))
                raise
            if step is not None and await take(self._store, review, step.change, step.held):  # 4
                return step.change

    async def _reviewer(self, subject: Subject) -> tuple[Reviewer, bytes]:
        key_id, key = await self._people.key_for(subject.id)
        acting = frozenset([(await self._people.key_for(name))[0] for name in actors(subject)])
        reviewer = Reviewer(
            subject.id, key_id, subject.roles, acting, subject.groups, subject.tenant, subject.type, subject.authenticated_by
        )
        return reviewer, key

    async def _repeated(self, review: Review, reviewer: Reviewer, asked: Asked) -> bool:
        """Whether this very step is the person's last: an answer that got lost is given again. Raises ReviewError."""
        if asked.kind is Kind.ANSWER:
            return await answering.repeated(review, self._people, reviewer.id, asked.fingerprint, asked.version, asked.key)
        own = [(at, each) for at, each in enumerate(review.history) if each.entries and each.entries[0].key_id == reviewer.key_id and at]
        if not own or own[-1][1].event not in BY_KIND[asked.kind]:
            return False
        at, change = own[-1]
        if asked.version is not None and asked.version != at:
            return False
        if asked.kind not in LASTING and (at != review.version - 1 or (asked.kind is Kind.CLAIM and asked.version is None)):
            return False
        if asked.kind is Kind.APPROVE and asked.digest != terms.covers(review.held):
            return False
        return (await self._people.opened(change.entries[0])).get("asked") == asked.fingerprint

    async def tried(self, review_id: str, subject: Subject, asked: Asked, *, through: bool = True) -> tuple[Trying, Step | None]:
        """As `attempt`, with nothing taken, superseded or recorded: what the step would be. Without `through` only whether this person may
        try it at all. Raises ReviewError, AuditError, RefusedError for a word of the classification that nobody would hear."""
        reviewer, key = await self._reviewer(subject)
        review = await self._store.get(review_id)
        if review is None:
            raise ReviewError("There is no such held request.", "review_not_found")
        self._opinions.check(asked.intent, asked.reason)
        trying = await self._trying(review, reviewer, key, asked)
        permit(await self._judging.attempt(document(trying.attempt, trying.content)))
        return trying, await self._steps[asked.kind](trying) if through else None

    async def _judged(self, review: Review, reviewer: Reviewer, key: bytes, asked: Asked) -> Step | None:
        """None where it must be read anew. Raises ReviewError."""
        trying = await self._trying(review, reviewer, key, asked)  # 1
        content = trying.content
        if asked.kind in APPROVING and content is not None:
            again = await self._superseding.looked(review, content)  # 2
            if again is not None and not again.same:
                await self._superseding.supersede(review, again)
                raise ReviewError("It would be judged otherwise now, and was judged again: look at it anew.", "review_superseded")
        permit(await self._judging.attempt(document(trying.attempt, content)))  # 3
        return await self._steps[asked.kind](trying)

    async def _trying(self, review: Review, reviewer: Reviewer, key: bytes, asked: Asked) -> Trying:
        """Raises ReviewError for what no policy is asked about."""
        if asked.kind is Kind.ANSWER:
            in_state(asked.kind, review.state)  # that nothing is asked any more says more than that something has changed
        if asked.version is not None and asked.version != review.version:
            raise ReviewError(f"The request has changed: it has version {review.version}, not {asked.version}.", "review_changed")
        in_state(asked.kind, review.state)
        content = await self._content(review, needed=asked.kind in APPROVING or asked.kind in (Kind.ANSWER, Kind.ESCALATE))
        given = await approvals(review, self._people)
        asker, made_by = await self._asker(review, content), await self._maker(content)
        attempt = Attempt(asked.kind, review, reviewer, asker, given, self._clock.now_ns(), asked.digest, asked.route, made_by)
        check(attempt)
        return Trying(attempt, asked, key, content, self._opinion(attempt, asked))

    def _opinion(self, attempt: Attempt, asked: Asked) -> Opinion | None:
        """Who takes back what they asked for themselves teaches nothing by it."""
        event = TELLING.get(asked.kind)
        if event is None or attempt.by_asker:
            return None
        return self._opinions.of(attempt.review, event, asked.intent, asked.reason, asked.route)

    async def _content(self, review: Review, *, needed: bool) -> Content | None:
        """Raises ReviewError where it is needed and cannot be opened."""
        key = await self._people.key(review.held.subject_key_id)
        try:
            if key is None:
                raise ReviewError("The key of the one who asked was destroyed.", "subject_erased")
            if not review.held.sealed:
                raise ReviewError(f"The request is {said(review.state)}, so its content is no more.", "review_not_pending")
            return open_content(key, review.held)
        except ReviewError:
            if needed:
                raise
            return None

    async def question(self, review: Review, subject: Subject) -> dict[str, Any]:
        """Raises ReviewError `not_requester`."""
        reviewer, _ = await self._reviewer(subject)
        if not reviewer.people & await self._asker(review, await self._content(review, needed=False)):
            raise ReviewError("Only who asked for the request may see this.", "not_requester")
        found = await answering.open_question(review, self._people)
        return {"question": None if found is None else found.text, "respond_by": maybe_time(deadlines.next_response(review))}

    async def _asker(self, review: Review, content: Content | None) -> frozenset[str]:
        names = content.actors if content is not None else ()
        return frozenset([review.held.subject_key_id, *[(await self._people.key_for(name))[0] for name in names]])

    async def _maker(self, content: Content | None) -> str | None:
        name = maker(json.loads(content.document)["subject"]["claims"]) if content is not None and content.document else None
        return None if name is None else (await self._people.key_for(name))[0]

    async def escalated(self, review: Review) -> Held:
        """For the next level's people. Raises ReviewError."""
        content = await self._content(review, needed=True)
        if content is None:
            raise ReviewError("The request cannot be opened.", "content_changed")
        return await self._sealed(escalated(review.held), content)

    async def _sealed(self, held: Held, content: Content) -> Held:
        return await self._superseding.sealed(held, content)

    async def _claim(self, trying: Trying) -> Step:
        own = deadlines.claimant(trying.review) == trying.attempt.reviewer.key_id
        if trying.review.state == State.ASSIGNED and not own:
            raise ReviewError("Another reviewer's claim has just ended; try again.", "review_claimed")
        return _step(trying, Event.RENEWED if own else Event.CLAIMED)

    async def _release(self, trying: Trying) -> Step:
        return _step(trying, Event.UNCLAIMED, to=terms.resting(trying.review.held))

    async def _approve(self, trying: Trying) -> Step:
        return self._approval(trying, None, Event.APPROVED, Event.ENDORSED)

    async def _reject(self, trying: Trying) -> Step:
        return _step(trying, Event.REJECTED)

    async def _modify(self, trying: Trying) -> Step:
        content = _there(trying)
        outbound = modified(trying.review.held, content.outbound, trying.asked.changes)
        again = await self._judging.again(trying.review.held, content, outbound=outbound)
        return await self._otherwise(trying, again, Event.MODIFIED)

    async def _reroute(self, trying: Trying) -> Step:
        route = trying.asked.route or ""
        if route not in terms.other_routes(trying.review.held):
            raise ReviewError(f"Policy does not let a reviewer send this to '{route[:64]}'.", "reroute_refused")
        again = await self._judging.again(trying.review.held, _there(trying), route=route)
        if not again.denied and again.held.route != route:
            raise ReviewError("Policy would send it elsewhere from there.", "reroute_refused")
        return await self._otherwise(trying, again, Event.REROUTED)

    async def _otherwise(self, trying: Trying, again: Again, event: Event) -> Step:
        """What policy denies is not sent, whoever approves it. What was approved before was something else."""
        if again.settled().denied:
            code = again.verdict.reasons[0].code if again.verdict.reasons else again.verdict.effect.value
            raise ReviewError(f"Policy denies what this would become ({code}).", "change_denied")
        held = await self._sealed(again.held, again.content)
        if trying.asked.becomes is not None and trying.asked.becomes != terms.covers(held):
            raise ReviewError("It would become something else than what was shown; look at it anew.", "content_changed")
        moved = replace(trying, attempt=replace(trying.attempt, given=(), review=replace(trying.review, held=held), digest=None))
        check(moved.attempt)  # who must approve may be others now
        step = self._approval(trying, held, event, event)
        return Step(step.change, held)

    def _approval(self, trying: Trying, held: Held | None, last: Event, one: Event) -> Step:
        following, attempt = held or trying.review.held, trying.attempt
        before = attempt.given if held is None else ()
        reviewer = attempt.reviewer
        own = Approval(reviewer.key_id, reviewer.people, frozenset(reviewer.roles), terms.covers(following), reviewer.id)
        done = enough(following, (*before, own))
        to = State.APPROVED if done else terms.resting(following)
        return _step(trying, last if done else one, to=to, held=held, approvals=len(before) + 1)

    async def _ask(self, trying: Trying) -> Step:
        answering.askable(trying.review.held)
        return _step(trying, Event.INFORMATION_ASKED)

    async def _answer(self, trying: Trying) -> Step:
        """Whoever gives it, it is about the one who asked, and is gone with that one's key."""
        question = await answering.open_question(trying.review, self._people)
        said, by = trying.asked.comment, trying.attempt.reviewer
        shown = await self._judging.mask(said)
        told = Information(question.text if question is not None else "", shown, by.id, trying.now_ns, answering.digest_of(said))
        held, content = informed(trying.review.held, _there(trying), told)
        key = await self._people.key(held.subject_key_id) or trying.key
        own = replace(trying, key=key, attempt=replace(trying.attempt, reviewer=replace(by, key_id=held.subject_key_id)))
        more = {**({answering.SHOWN: shown} if shown != said else {}), **({answering.KEY: trying.asked.key} if trying.asked.key else {})}
        return _step(own, Event.INFORMATION_GIVEN, to=terms.resting(held), held=await self._sealed(held, content), more=more)

    async def _escalate(self, trying: Trying) -> Step:
        return _step(trying, Event.ESCALATED, held=await self.escalated(trying.review))

    async def _cancel(self, trying: Trying) -> Step:
        return _step(trying, Event.CANCELLED)


def _there(trying: Trying) -> Content:
    if trying.content is None:
        raise ReviewError("The request cannot be opened.", "content_changed")
    return trying.content


def _step(
    trying: Trying,
    event: Event,
    *,
    to: State | None = None,
    held: Held | None = None,
    approvals: int | None = None,
    more: Mapping[str, str] | None = None,
) -> Step:
    changes = json.dumps(trying.asked.changes, sort_keys=True) if trying.asked.changes else ""
    asked = {**(more or {}), "asked": trying.asked.fingerprint, "changes": changes}
    change = records.taken(
        trying.review,
        event,
        trying.now_ns,
        trying.attempt.reviewer,
        trying.key,
        trying.asked.comment,
        to=to,
        held=held,
        approvals=approvals,
        sealed=asked,
        opinion=trying.opinion,
    )
    return Step(change, held)
