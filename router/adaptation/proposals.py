"""Proposals: made, measured, approved by somebody else, rolled out and taken back, each step on record before it has an effect.

Texts are sealed one by one, each under the key of the one who wrote it: who is erased takes theirs along, whoever forgets to remove them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from router.adaptation.approving import CLEARED, Approvals, Keys, given
from router.adaptation.drafting import Example, changes
from router.adaptation.keeping import Keeping
from router.adaptation.state import KIND, OPEN, Event, State, Type, check_approval, content_digest, digest_of, move
from router.adaptation.wording import LENGTHS, Wording, prompt_digest, used_of
from router.audit.records.record import system_entry
from router.audit.records.sealing import seal, unseal
from router.decision import Subject
from router.errors import RefusedError
from router.ports import Clock, Entry, Ids, LearntText, Lesson
from router.times import instant

SCHEMA = "lockgate.learning.v1"
SHOWN = (
    "type",
    "author",
    "approver",
    "intents",
    "out_of_scope",
    "left_out",
    "catalog_digest",
    "evaluation",
    "overridden",
    "version",
    "over",
    "effect",
    "why",
    "rationale",
    "wording",
)
ON_RECORD = (
    "intent",
    "from",
    "to",
    "requests",
    "moved",
    "stopped",
    "let_through",
    "policy_asked",
    "too_few",
    "success",
    "cost",
    "latency_p95_ms",
)
"""Of what another route would do."""


class Proposals:
    """`catalog_digest` is that of what serves. `approvals` judges who may approve."""

    def __init__(
        self,
        keeping: Keeping,
        keys: Keys,
        clock: Clock,
        ids: Ids,
        catalog_digest: Callable[[], str],
        approvals: Approvals,
    ) -> None:
        self._keeping = keeping
        self._keys = keys
        self._clock = clock
        self._ids = ids
        self._catalog_digest = catalog_digest
        self._approvals = approvals

    async def draft(
        self,
        kind: Type,
        examples: Sequence[Example],
        about: Mapping[str, Any],
        left_out: Mapping[str, int],
        by: Subject,
        comment: str,
        effect: Mapping[str, Any] | None = None,
    ) -> Lesson:
        """`about`: by intent what else is to change; `effect` is what was simulated. Raises AuditError, StateError."""
        await self._keeping.ping()
        author = await self._approvals.person(by)
        intents, outside, sources = changes(examples)
        for name, more in about.items():
            intents[name] = {**intents.get(name, {"examples": []}), **more}
        proposal_id = self._ids.new()
        texts = [await self._sealed(proposal_id, name, each) for name, each in zip(sources, examples, strict=True)]
        kept = tuple(text for text in texts if text is not None)  # who was erased meanwhile teaches nothing
        terms = {
            **_terms(kind, self._catalog_digest(), effect),
            **author.authored(),
            "intents": intents,
            "out_of_scope": outside,
            "sources": sources,
            "left_out": dict(left_out),
        }
        lesson = _without(Lesson(KIND, proposal_id, "", "", self._clock.now_ns(), terms, kept), {text.name for text in kept})
        return await self._moved(lesson, Event.DRAFTED, by, comment)

    def wanted(self, proposal: Lesson) -> dict[str, Any] | None:
        """How many must approve it, with which roles, and whether they have; None where policy cannot say so."""
        return self._approvals.wanted(proposal)

    async def suggest(self, proposal_id: str, intent: str, route: str, why: str, effect: Mapping[str, Any]) -> Lesson | None:
        """By Lockgate, of which nobody is the author. None where another node suggested it already. Raises AuditError, StateError."""
        terms = {**_terms(Type.ROUTE, self._catalog_digest(), effect), "intents": {intent: {"examples": [], "route": route}}, "why": why}
        lesson = Lesson(KIND, proposal_id, "", "", self._clock.now_ns(), terms)
        try:
            return await self._moved(lesson, Event.SUGGESTED, None, reason=why)
        except RefusedError:
            return None

    async def adopt(self, proposal_id: str, by: Subject, comment: str) -> Lesson:
        """Somebody makes a suggestion theirs: from now on it is as if they had drafted it."""
        await self._keeping.ping()
        proposal = await self.found(proposal_id)
        author = await self._approvals.person(by)
        return await self._moved(_with(proposal, **author.authored()), Event.ADOPTED, by, comment)

    async def own_intent(self, proposal_id: str, event: Event, by: Subject) -> Lesson:
        """A proposal of a new intent, for its author to give it words. Raises RefusedError."""
        proposal = await self.found(proposal_id)
        move(proposal.state, event)
        if proposal.terms["type"] != Type.NEW_INTENT:
            raise RefusedError("Only a proposal of a new intent has words of its own.", "wording_other", 409)
        author, _ = await self._keys.key_for(by.id)
        if author != proposal.terms["author"]:
            raise RefusedError("Only who made the proposal gives it its words: somebody else approves them.", "proposal_author_only", 403)
        return proposal

    async def worded(self, proposal: Lesson, wording: Wording, model: str, by: Subject) -> Lesson:
        """Kept beside what the proposal says, until its author takes it over."""
        offered = {**asdict(wording), "model": model, "prompt": prompt_digest(), "used": None}
        return await self._moved(_with(proposal, wording=offered), Event.WORDED, by)

    async def edit(self, proposal_id: str, by: Subject, words: Wording) -> Lesson:
        """Other words by its author, a model's or not; what was measured and approved was another proposal. Raises RefusedError."""
        await self._keeping.ping()
        proposal = await self.own_intent(proposal_id, Event.EDITED, by)
        ((_, about),) = proposal.terms["intents"].items()
        intents = {words.name: {**about, "new": {**about["new"], "description": words.description}}}
        acting = {*proposal.terms.get("author_acting", ()), *(await self._approvals.person(by)).acting}
        wording = used_of(proposal.terms.get("wording"), words)
        said = {"intents": intents, "rationale": words.rationale, "wording": wording, "author_acting": sorted(acting)}
        changed = _with(proposal, **said, evaluation=None, **CLEARED)
        return await self._moved(changed, Event.EDITED, by)

    async def withdraw(self, proposal: Lesson, reason: str) -> None:
        """Whoever adopts it at the same time has it."""
        with suppress(RefusedError):
            await self._moved(proposal, Event.WITHDRAWN, None, reason=reason)

    async def found(self, proposal_id: str) -> Lesson:
        """Raises RefusedError, StateError."""
        lesson = await self._keeping.store.get(KIND, proposal_id)
        if lesson is None:
            raise RefusedError("There is no such proposal.", "proposal_not_found", 404)
        return lesson

    async def page(self, states: Sequence[str], after: int, limit: int) -> Sequence[tuple[int, Lesson]]:
        return await self._keeping.store.page(KIND, states, after, limit)

    async def measured(
        self, proposal: Lesson, catalog_digest: str, figures: Mapping[str, Any], faults: Sequence[str], by: Subject
    ) -> Lesson:
        """What an evaluation of this very version found. Raises RefusedError where it changed meanwhile."""
        evaluation = {"digest": content_digest(proposal), "catalog": catalog_digest, "figures": dict(figures), "faults": list(faults)}
        evaluation["binding"] = digest_of(evaluation)
        return await self._moved(_with(proposal, evaluation=evaluation, **CLEARED), Event.EVALUATED, by)

    async def approve(self, proposal_id: str, by: Subject, binding: str, comment: str, override: str) -> Lesson:
        await self._keeping.ping()
        proposal, person = await self._fresh(await self.found(proposal_id), by), await self._approvals.person(by)
        before = await self._approvals.standing(proposal)
        try:
            move(proposal.state, Event.APPROVED)
            await self._author_is_there(proposal)
            known = {name for each in before for name in (each["key"], *each["acting"])}
            check_approval(proposal, {person.key_id, *person.acting}, known, binding, override)
            judged = self._approvals.may_approve(proposal, person, before, bool(override))
            if proposal.state == State.APPROVED and self._approvals.enough(proposal):
                raise RefusedError("The proposal is approved, and by as many as it takes.", "proposal_state", 409)
        except RefusedError as error:
            await self._refused(proposal, "approve", error.code, by, comment)
            raise
        overridden = bool(proposal.terms["evaluation"]["faults"])
        said = f"{comment}\n{override}".strip() if overridden else comment
        event = Event.APPROVED if judged.pop("complete") else Event.ENDORSED
        approvals = [*before, person.approval(self._clock.now_ns())]
        approved = _with(proposal, approver=person.key_id, approvals=approvals, overridden=overridden, **judged)
        return await self._moved(approved, event, by, said)

    async def reject(self, proposal_id: str, by: Subject, comment: str) -> Lesson:
        """The texts are of no more use, and go."""
        proposal = await self.found(proposal_id)
        move(proposal.state, Event.REJECTED)
        return await self._moved(replace(proposal, texts=()), Event.REJECTED, by, comment)

    async def to_roll_out(self, proposal_id: str, by: Subject) -> Lesson:
        """Approved, and what was approved is what would come. Raises RefusedError."""
        await self._keeping.ping()
        proposal = await self._fresh(await self.found(proposal_id), by)
        try:
            move(proposal.state, Event.ROLLED_OUT)
            await self._author_is_there(proposal)
            self._approvals.may_roll_out(proposal, await self._approvals.person(by))
        except RefusedError as error:
            await self._refused(proposal, "roll_out", error.code, by)
            raise
        return proposal

    async def rolled_out(self, proposal: Lesson, version: str, over: str, by: Subject, comment: str) -> Lesson:
        """`version` is what would be in force, `over` what was before."""
        return await self._moved(replace(_with(proposal, version=version, over=over), texts=()), Event.ROLLED_OUT, by, comment)

    async def ended(self, proposal: Lesson, event: Event, by: Subject | None, comment: str = "") -> Lesson:
        return await self._moved(proposal, event, by, comment)

    async def texts(self, proposal: Lesson) -> dict[str, str]:
        """Opened, by name; those whose author was erased are not among them. Raises AuditError."""
        found: dict[str, str] = {}
        for text in proposal.texts:
            key = await self._keys.key(text.key_id)
            if key is not None:
                found[text.name] = unseal(key, SCHEMA, f"{proposal.id}/{text.name}", text.sealed)["text"]
        return found

    async def used(self) -> set[str]:
        """Decisions that a proposal was made of, unless it was rejected."""
        found: set[str] = set()
        async for lesson in self._all():
            if lesson.state != State.REJECTED:
                found |= set(lesson.terms["sources"].values())
        return found

    async def forget(self, key_id: str) -> None:
        """Removes the texts of somebody who is being erased from what is not rolled out; what was measured with them is void."""
        for lesson in await self._keeping.store.sealed_under(key_id):
            if lesson.kind == KIND and lesson.state in OPEN:
                kept = tuple(text for text in lesson.texts if text.key_id != key_id)
                without = _without(replace(lesson, texts=kept), {text.name for text in kept})
                await self._moved(_with(without, evaluation=None, **CLEARED), Event.VOIDED, None, reason="subject_erased")

    async def _fresh(self, proposal: Lesson, by: Subject) -> Lesson:
        """What was measured against another catalog is void, and has to be measured anew."""
        evaluation = proposal.terms["evaluation"]
        if proposal.state not in OPEN or evaluation is None:
            return proposal
        if (evaluation["catalog"], evaluation["digest"]) == (self._catalog_digest(), content_digest(proposal)):
            return proposal
        await self._moved(_with(proposal, evaluation=None, **CLEARED), Event.VOIDED, by, reason="proposal_stale")
        raise RefusedError("The catalog or the proposal changed since it was measured; have it evaluated again.", "proposal_stale", 409)

    async def _author_is_there(self, proposal: Lesson) -> None:
        if await self._keys.key(proposal.terms["author"]) is None:
            message = "The key of who made the proposal was destroyed, so nobody can tell who somebody else is; reject it."
            raise RefusedError(message, "proposal_author_erased", 409)

    async def _refused(self, proposal: Lesson, attempt: str, reason: str, by: Subject, comment: str = "") -> None:
        """What was tried, and why it was not done: on record before who tried hears so."""
        key_id, key = await self._keys.key_for(by.id)
        terms = proposal.terms
        details = {"attempt": attempt, "reason": reason, "type": terms["type"], "digest": _digest(proposal), "state": proposal.state}
        personal = {"actor": by.id, "comment": comment}
        now_ns = self._clock.now_ns()
        await self._keeping.append([system_entry("proposal_refused", now_ns, details, proposal.id, personal, key_id, key)])

    async def _sealed(self, proposal_id: str, name: str, example: Example) -> LearntText | None:
        key = await self._keys.key(example.subject)
        if key is None:
            return None
        return LearntText(name, example.subject, seal(key, SCHEMA, f"{proposal_id}/{name}", {"text": example.text}))

    async def _moved(self, proposal: Lesson, event: Event, by: Subject | None, comment: str = "", reason: str = "") -> Lesson:
        after = move(proposal.state, event)
        key_id, key = await self._keys.key_for(by.id) if by is not None else ("", b"")
        now_ns = self._clock.now_ns()
        step = {"event": event.value, "at_ns": now_ns, "by": key_id, "reason": reason}
        lesson = replace(_with(proposal, history=[*proposal.terms["history"], step]), state=after.value, at_ns=now_ns)
        entry = _entry(lesson, event, now_ns, reason, {"actor": by.id, "comment": comment} if by is not None else None, key_id, key)
        if not await self._keeping.put(lesson, [entry]):
            raise RefusedError("Somebody else changed the proposal at the same time; look at it again.", "proposal_changed", 409)
        return replace(lesson, version=lesson.version + 1)

    async def _all(self) -> AsyncIterator[Lesson]:
        after = 0
        while page := await self._keeping.store.page(KIND, [], after, 200):
            for _, lesson in page:
                yield lesson
            after = page[-1][0]


def view(proposal: Lesson, texts: Mapping[str, str] | None = None) -> dict[str, Any]:
    """`texts`: opened ones, for who may see them."""
    terms = proposal.terms
    shown = {name: terms.get(name) for name in SHOWN}
    history = [{**each, "at": instant(each["at_ns"])} for each in terms["history"]]
    return {
        "id": proposal.id,
        "state": proposal.state,
        **shown,
        "digest": _digest(proposal),
        "approvals": [{"by": each["key"], "roles": each["roles"], "at": instant(each["at_ns"])} for each in given(proposal)],
        "decisions": len(set(terms["sources"].values())),
        "people": len({text.key_id for text in proposal.texts}),
        "texts": None if texts is None else dict(texts),
        "history": [{name: each[name] for name in ("at", "event", "by", "reason")} for each in history],
    }


def _terms(kind: Type, catalog_digest: str, effect: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "type": kind.value,
        "author": None,
        **CLEARED,
        "intents": {},
        "out_of_scope": [],
        "sources": {},
        "left_out": {},
        "catalog_digest": catalog_digest,
        "effect": None if effect is None else dict(effect),
        "why": None,
        "rationale": "",
        "wording": None,
        "evaluation": None,
        "overridden": False,
        "version": None,
        "over": None,
        "history": [],
    }


def _digest(proposal: Lesson) -> str:
    """Of what was measured, also once the texts are gone from it."""
    evaluation = proposal.terms["evaluation"]
    return content_digest(proposal) if evaluation is None else str(evaluation["digest"])


def _with(proposal: Lesson, **changed: Any) -> Lesson:
    return replace(proposal, terms={**proposal.terms, **changed})


def _without(proposal: Lesson, names: Iterable[str]) -> Lesson:
    """With no other texts than these in its terms."""
    kept, terms = set(names), proposal.terms
    intents = {
        name: {**about, "examples": [each for each in about["examples"] if each in kept]} for name, about in terms["intents"].items()
    }
    return _with(
        proposal,
        intents={name: about for name, about in intents.items() if about["examples"] or len(about) > 1},
        out_of_scope=[each for each in terms["out_of_scope"] if each in kept],
        sources={name: decision for name, decision in terms["sources"].items() if name in kept},
    )


def _judged(terms: Mapping[str, Any], event: Event) -> dict[str, Any]:
    """By which policy it was approved, and by how many of how many; not there for what an older release had approved."""
    judged = terms.get("judged") if event in (Event.ENDORSED, Event.APPROVED, Event.ROLLED_OUT) else None
    if judged is None:
        return {}
    return {"approvals": len(terms["approvals"]), "wanted": judged["approvals"], "each_of": judged["each_of"], "policy": judged["policy"]}


def _entry(lesson: Lesson, event: Event, at_ns: int, reason: str, personal: Mapping[str, str] | None, key_id: str, key: bytes) -> Entry:
    terms = lesson.terms
    evaluation = terms["evaluation"] or {}
    details = {
        "type": terms["type"],
        "digest": _digest(lesson),
        "catalog_digest": evaluation.get("catalog") or terms["catalog_digest"],
        "evaluation": evaluation.get("binding"),
        "faults": len(evaluation.get("faults", ())),
        "author": terms["author"],
        "approver": terms["approver"],
        "overridden": terms["overridden"],
        "version": terms["version"],
        "texts": len(lesson.texts),
        "number": len(terms["history"]),
        **({"reason": reason} if reason else {}),
        **_judged(terms, event),
        **_effect_on_record(terms, event),
        **_wording_on_record(terms, event),
    }
    return system_entry(f"proposal_{event}", at_ns, details, lesson.id, personal, key_id, key)


def _effect_on_record(terms: Mapping[str, Any], event: Event) -> dict[str, Any]:
    """What another route would do, where it was simulated."""
    simulated = terms["effect"] if event in (Event.SUGGESTED, Event.DRAFTED) else None
    if event == Event.EVALUATED:
        simulated = terms["evaluation"]["figures"].get("route")
    if simulated is None:
        return {}
    return {"effect": {**{name: simulated[name] for name in ON_RECORD}, "digest": digest_of(simulated)}}


def _wording_on_record(terms: Mapping[str, Any], event: Event) -> dict[str, Any]:
    """Which model, asked what, and what became of it; not its words, for a record stays."""
    wording = terms.get("wording")
    if event not in (Event.WORDED, Event.EDITED) or wording is None:
        return {}
    texts = digest_of([wording[name] for name in LENGTHS])
    return {"wording": {"model": wording["model"], "prompt": wording["prompt"], "digest": texts, "used": wording["used"]}}
