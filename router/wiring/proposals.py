"""Proposals in the control process: made of opinions and the texts behind them, measured aside, and put in force."""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from router.adaptation.drafting import Correction
from router.adaptation.judging import Bounds, faults
from router.adaptation.keeping import Keeping
from router.adaptation.proposals import Proposals, view
from router.adaptation.state import OPEN, Event, State, Type, move
from router.adaptation.topics import Unanswered, name_of, told
from router.adaptation.wording import Wording, plain_description
from router.control.services import Json, Page
from router.cursors import place_after
from router.decision import Subject
from router.errors import ConfigError, LockgateError, RefusedError
from router.ports import Lesson
from router.utterances import BACKGROUND
from router.wiring.learned_versions import LearnedVersions, Reloading, with_proposal
from router.wiring.proposal_material import Material
from router.wiring.proposal_trials import grouped, measured
from router.wiring.route_suggestions import RouteDesk, plain
from router.wiring.wording import Drafter

log = logging.getLogger("lockgate.learning")
MANY = 500
REPLAYED = 500
WAIT_S = 45.0
UNNAMED = "new"


class ProposalDesk:
    """Implements the control API's port."""

    def __init__(
        self,
        proposals: Proposals,
        keeping: Keeping,
        material: Material,
        routes: RouteDesk,
        versions: LearnedVersions,
        reloading: Callable[[], Reloading],
        drafter: Drafter | None = None,
    ) -> None:
        self._drafter = drafter
        self._proposals = proposals
        self._routes = routes
        self._keeping = keeping
        self._material = material
        self._versions = versions
        self._reloading = reloading
        self._one_at_a_time = asyncio.Lock()
        self._evaluating: dict[str, asyncio.Task[None]] = {}
        self._problems: dict[str, str] = {}

    async def draft(self, wanted: Mapping[str, Any], by: Subject) -> Json:
        """Raises RefusedError, AuditError, StateError."""
        kind, about, effect = Type(wanted["type"]), dict[str, Any](), None
        if kind is Type.NEW_EXAMPLES:
            found, left_out = await self._material.corrections(wanted.get("intent"))
        elif kind is Type.NEW_INTENT:
            return await self._new_intent(wanted, by)
        else:
            found, left_out = [], {}
            about[self._known(_named(wanted, "intent"))] = _setting(kind, wanted)
            if kind is Type.ROUTE:
                effect = await self._route_effect(wanted["intent"], wanted["route"], by, "")
        drafted, left_out = await self._material.examples(found, left_out, by)
        if not drafted and not about:
            raise RefusedError(_nothing(left_out), "proposal_nothing", 409)
        return view(await self._proposals.draft(kind, drafted, about, left_out, by, wanted["comment"], effect))

    async def _new_intent(self, wanted: Mapping[str, Any], by: Subject) -> Json:
        """What nobody named is called by words that several people used."""
        found = [Correction(each, wanted.get("intent") or UNNAMED, "") for each in wanted["decisions"]]
        drafted, left_out = await self._material.examples(found, {}, by)
        if not drafted:
            raise RefusedError(_nothing(left_out), "proposal_nothing", 409)
        words = self._material.words([Unanswered(each.decision_id, each.subject, each.text) for each in drafted])
        named = {"intent": name_of(words), "description": plain_description(words) if words else ""}
        wanted = {**wanted, **{name: wanted.get(name) or plain for name, plain in named.items()}}
        intent = _named(wanted, "intent")
        if intent in self._reloading().workspace.catalog.intents:
            raise RefusedError(f"The catalog has an intent '{intent}' already; give this one another name.", "request_invalid", 422)
        new = {name: wanted[name] for name in ("description", "owner", "risk") if wanted.get(name)}
        new["description"] = _named(wanted, "description")
        about = {intent: {"new": new, "route": _named(wanted, "route")}}
        drafted = [replace(each, intent=intent) for each in drafted]
        return view(await self._proposals.draft(Type.NEW_INTENT, drafted, about, left_out, by, wanted["comment"]))

    async def suggest(self, by: Subject) -> Json:
        """Other routes, of what became of requests; and what was looked at."""
        return await self._routes.suggest(by)

    async def adopt(self, proposal_id: str, by: Subject, comment: str) -> Json:
        return self._view(await self._proposals.adopt(proposal_id, by, comment))

    @property
    def drafts(self) -> bool:
        return self._drafter is not None

    async def word(self, proposal_id: str, by: Subject) -> Json:
        """Words that a language model drafts, beside the proposal's own. Raises RefusedError, and nothing is changed."""
        if self._drafter is None:
            raise RefusedError("The configuration names no language model for it ('learning.wording').", "wording_off", 409)
        proposal = await self._proposals.own_intent(proposal_id, Event.WORDED, by)
        wording, model = await self._drafter.drafted(*await self._material.told_to_model(proposal, by), self._taken(proposal))
        return self._view(await self._proposals.worded(proposal, wording, model, by))

    async def edit(self, proposal_id: str, words: Mapping[str, Any], by: Subject) -> Json:
        """What is left out stays as it is."""
        proposal = await self._proposals.own_intent(proposal_id, Event.EDITED, by)
        ((name, about),) = proposal.terms["intents"].items()
        now = {"name": name, "description": about["new"]["description"], "rationale": proposal.terms.get("rationale") or ""}
        said = Wording(**{**now, **{key: value for key, value in words.items() if value is not None}})
        if said.name != name and said.name in self._taken(proposal):
            raise RefusedError(f"The name '{said.name}' is taken.", "request_invalid", 422)
        return self._view(await self._proposals.edit(proposal_id, by, said))

    def _taken(self, proposal: Lesson) -> set[str]:
        return {*self._reloading().workspace.catalog.intents, BACKGROUND} - set(proposal.terms["intents"])

    async def list(self, state: str | None, cursor: str | None, limit: int) -> Page:
        found = await self._proposals.page([state] if state is not None else [], place_after(cursor) or 0, limit)
        return Page([self._view(each) for _, each in found], str(found[-1][0]) if len(found) == limit else None)

    async def show(self, proposal_id: str, by: Subject, *, personal: bool) -> Json:
        proposal = await self._proposals.found(proposal_id)
        if not personal or not proposal.texts:
            return self._view(proposal)
        await self._material.read("proposal", proposal_id, len(proposal.texts), by)
        return self._view(proposal, await self._proposals.texts(proposal))

    async def evaluate(self, proposal_id: str, by: Subject) -> Json:
        """Answers when it is measured, or after a while with `evaluating`."""
        proposal = await self._proposals.found(proposal_id)
        move(proposal.state, Event.EVALUATED)
        task = self._evaluating.get(proposal_id)
        if task is None:
            if self._evaluating:
                raise RefusedError("Another proposal is being evaluated; try again.", "proposal_busy", 429, retry_after=5)
            content = await self._content(proposal)
            task = self._evaluating[proposal_id] = asyncio.create_task(self._evaluated(proposal, content, by))
            task.add_done_callback(lambda done: self._done(proposal_id, done))
        await asyncio.wait((task,), timeout=WAIT_S)
        if task.done() and (error := task.exception()) is not None:
            raise error
        return self._view(await self._proposals.found(proposal_id))

    def _done(self, proposal_id: str, task: asyncio.Task[None]) -> None:
        """Who asked may not wait any more."""
        self._evaluating.pop(proposal_id, None)
        self._problems.pop(proposal_id, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, LockgateError):
            self._problems[proposal_id] = str(error)
        elif error is not None:
            log.error("evaluating the proposal %s failed in a way that nobody foresaw", proposal_id, exc_info=error)
            self._problems[proposal_id] = "The evaluation failed; the log says more."

    async def approve(self, proposal_id: str, by: Subject, binding: str, comment: str, override: str) -> Json:
        return self._view(await self._proposals.approve(proposal_id, by, binding, comment, override))

    async def reject(self, proposal_id: str, by: Subject, comment: str) -> Json:
        return self._view(await self._proposals.reject(proposal_id, by, comment))

    async def roll_out(self, proposal_id: str, by: Subject, comment: str) -> Json:
        async with self._one_at_a_time:
            proposal = await self._proposals.to_roll_out(proposal_id, by)
            await self._versions.check_writable()
            base = await self._versions.base()
            content = await self._content(proposal)
            await asyncio.to_thread(self._versions.candidate, content)
            version = await self._versions.keep_version(content, proposal_id)
            over = await self._versions.keep_version(base, None)
            proposal = await self._proposals.rolled_out(proposal, version, over, by, comment)  # 1: a round goes on from here
            try:
                await self._versions.put_in_force(version, over, proposal_id)  # 2
            except ConfigError as error:
                await self._back(proposal, None)
                raise RefusedError(f"It was taken back, for it cannot serve: {error}", "proposal_unfit", 422) from error
            await self._supersede(proposal)
            return self._view(proposal)

    async def revert(self, proposal_id: str, by: Subject, comment: str) -> Json:
        async with self._one_at_a_time:
            await self._keeping.ping()
            proposal = await self._proposals.found(proposal_id)
            move(proposal.state, Event.REVERTED)
            version = proposal.terms["version"]
            if version != await self._versions.current():
                raise RefusedError("Something else was rolled out after it; revert that first.", "proposal_not_latest", 409)
            await self._versions.base()
            return self._view(await self._back(proposal, by, comment))

    async def export(self, proposal_id: str, by: Subject) -> Json:
        """A patch of the file, for who keeps the workspace in version control and has it reviewed there."""
        proposal = await self._proposals.found(proposal_id)
        if proposal.state not in (State.EVALUATED, State.APPROVED):
            raise RefusedError(f"The proposal is {proposal.state}; there is a patch of evaluated and approved ones.", "proposal_state", 409)
        await self._material.read("proposal", proposal_id, len(proposal.texts), by)
        base, content, name = await self._versions.base(), await self._content(proposal), self._versions.name
        before = f"a/{name}" if base else "/dev/null"
        lines = difflib.unified_diff(base.decode().splitlines(True), content.decode().splitlines(True), before, f"b/{name}")
        return {"id": proposal_id, "patch": "".join(lines)}

    async def topics(self, by: Subject) -> Json:
        """What people asked for and nobody serves; no text of anybody."""
        settings = self._material.settings
        asked = await self._material.unanswered(by)
        texts = [each.text for each in asked]
        found = await grouped(self._reloading().snapshot, texts, settings.likeness, settings.topic, round(settings.evaluation))
        return {"topics": [asdict(each) for each in told(found, asked, settings.subjects)], "texts": len(asked)}

    async def reconcile(self) -> None:
        """What a crash left half done, and what other nodes put in force. Raises LockgateError."""
        async with self._one_at_a_time:
            if self._reloading().workspace.catalog.learned is None:
                return
            current = await self._versions.current()
            for _, proposal in await self._proposals.page([State.ROLLED_OUT, State.REVERTED], 0, MANY):
                version, over = proposal.terms["version"], proposal.terms["over"]
                if proposal.state == State.ROLLED_OUT and current in (None, over):
                    await self._versions.put_in_force(version, over, proposal.id)
                elif proposal.state == State.REVERTED and current == version:
                    await self._versions.put_in_force(over, version, proposal.id)
            await self._versions.write()

    async def forget(self, key_id: str) -> None:
        await self._proposals.forget(key_id)

    async def close(self) -> None:
        for task in [*self._evaluating.values()]:
            task.cancel()
        await asyncio.gather(*self._evaluating.values(), return_exceptions=True)

    async def _evaluated(self, proposal: Lesson, content: bytes, by: Subject) -> None:
        settings, reloading = self._material.settings, self._reloading()
        before, catalog = reloading.snapshot, reloading.workspace.digests.catalog
        after = await asyncio.to_thread(self._versions.candidate, content)
        held_out = await self._material.held_out(proposal, by)
        recorded = await self._material.recorded(proposal)
        seconds = round(settings.evaluation)
        figures = await measured(before, after, held_out, recorded, seconds)
        for intent, other in proposal.terms["intents"].items() if proposal.terms["type"] == Type.ROUTE else ():
            figures["route"] = await self._route_effect(intent, other["route"], by, proposal.id, seconds)
        bounds = settings.bounds
        found = faults(figures, Bounds(bounds.accuracy, bounds.intent, bounds.ece, bounds.flips, bounds.least, bounds.failures))
        await self._proposals.measured(proposal, catalog, plain(figures), found, by)

    async def _content(self, proposal: Lesson) -> bytes:
        texts = await self._proposals.texts(proposal)
        if len(texts) < len(proposal.texts):
            raise RefusedError("The author of one of its texts was erased; have it evaluated again.", "proposal_stale", 409)
        return with_proposal(self._versions.learnt(await self._versions.base()), proposal.terms, texts)

    async def _route_effect(self, intent: str, route: str, by: Subject, proposal: str, seconds: int | None = None) -> dict[str, Any]:
        found = await self._routes.effect(intent, route, by, proposal, seconds)
        if found is None:
            raise RefusedError(f"The intent '{intent}' goes to '{route}' already.", "proposal_nothing", 409)
        return found

    async def _back(self, proposal: Lesson, by: Subject | None, comment: str = "") -> Lesson:
        ended = await self._proposals.ended(proposal, Event.REVERTED, by, comment)
        await self._versions.put_in_force(proposal.terms["over"], proposal.terms["version"], proposal.id)
        return ended

    async def _supersede(self, proposal: Lesson) -> None:
        if proposal.terms["type"] not in (Type.THRESHOLD, Type.ROUTE):
            return
        for _, other in await self._proposals.page([State.ROLLED_OUT], 0, MANY):
            same = (other.terms["type"], *other.terms["intents"]) == (proposal.terms["type"], *proposal.terms["intents"])
            if same and other.id != proposal.id:
                await self._proposals.ended(other, Event.SUPERSEDED, None)

    def _known(self, intent: str) -> str:
        if intent not in self._reloading().workspace.catalog.intents:
            raise RefusedError(f"The catalog has no intent '{intent}'.", "feedback_intent_unknown", 422)
        return intent

    def _view(self, proposal: Lesson, texts: Mapping[str, str] | None = None) -> dict[str, Any]:
        return {
            **view(proposal, texts),
            "wanted": self._proposals.wanted(proposal) if proposal.state in OPEN else None,
            "evaluating": proposal.id in self._evaluating,
            "problem": self._problems.get(proposal.id),
        }


def _named(wanted: Mapping[str, Any], name: str) -> str:
    if not wanted.get(name):
        raise RefusedError(f"A proposal of the type '{wanted['type']}' needs '{name}'.", "request_invalid", 422)
    return str(wanted[name])


def _setting(kind: Type, wanted: Mapping[str, Any]) -> dict[str, Any]:
    if kind is Type.ROUTE:
        return {"route": _named(wanted, "route")}
    if wanted.get("min_confidence") is None:
        raise RefusedError("A proposal of the type 'threshold' needs 'min_confidence'.", "request_invalid", 422)
    return {"min_confidence": f"{wanted['min_confidence']:.6f}"}


def _nothing(left_out: Mapping[str, int]) -> str:
    told = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in left_out.items() if count)
    return f"There is nothing that could be learnt from; left out were: {told or 'none'}."
