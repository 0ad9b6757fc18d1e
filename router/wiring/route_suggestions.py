"""Other routes for intents, in the control process: what they would do, whoever proposes one, and suggestions by Lockgate itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Protocol

import orjson

from router.adaptation.keeping import Keeping
from router.adaptation.proposals import Proposals, view
from router.adaptation.route_effects import Change, Way, Went, Window, effect
from router.adaptation.state import OPEN, Event, State, Type
from router.adaptation.suggesting import Considered, Judged, Margins, WhyNot, chosen, consider
from router.audit.questions.reading import EVENT, Reading
from router.audit.records.record import system_entry
from router.config.learning import SuggestionsConfig
from router.decision import Subject
from router.errors import RefusedError
from router.ports import Clock, Lesson, SubjectKeys
from router.wiring.proposal_trials import asked
from router.wiring.route_history import History, both, own_routes, ways
from router.workspace import Workspace

log = logging.getLogger("lockgate.learning")
NS = 1_000_000_000
MANY = 500
REPLAYED = 500
CURSOR, THE_ONE = "suggesting", "cursor"
OUTDATED = "suggestion_outdated"
UNFIT = "proposal_unfit"
CHANGED = (Event.ROLLED_OUT, Event.REVERTED)


class Trail(Protocol):
    async def routed(self, intents: Collection[str], ruled: Collection[str], window: Window, most: int) -> History:
        """Nothing is opened for it."""

    async def policy_inputs(self, intent: str, window: Window, most: int) -> Mapping[str, Mapping[str, Any]]:
        """What policy was told, by record; opened."""


@dataclass(frozen=True, slots=True)
class _Before:
    """What proposals about routes say: intents of open ones, when each intent's last one ended, and when its route was last changed."""

    suggested: Sequence[Lesson]
    open: frozenset[str]
    ended: Mapping[str, int]
    changed: Mapping[str, int]


class RouteDesk:
    def __init__(
        self, keeping: Keeping, proposals: Proposals, trail: Trail, keys: SubjectKeys, clock: Clock, workspace: Callable[[], Workspace]
    ) -> None:
        self._keeping = keeping
        self._proposals = proposals
        self._trail = trail
        self._keys = keys
        self._clock = clock
        self._workspace = workspace

    async def effect(self, intent: str, route: str, by: Subject, proposal: str, seconds: int | None = None) -> dict[str, Any] | None:
        """Of this route for the intent, by the catalog that serves; with `seconds`, by what policy says, which is asked about recorded
        inputs for at most that long. None where the intent has this route. Raises RefusedError, AuditError."""
        catalog, settings = self._workspace().catalog, self._settings
        change = Change(intent, catalog.intents[intent].route, route)
        if route == change.before:
            return None
        if route not in catalog.routes:
            raise RefusedError(f"The catalog has no route '{route}'.", UNFIT, 422)
        known, window = ways(catalog), self._window(self._clock.now_ns())
        said = None if seconds is None else await self._asked(change, known, window, by, proposal, seconds)
        await self._read("routes", proposal, by, opened=False)
        found = await self._trail.routed([intent], own_routes(catalog), window, settings.decisions)
        seen, within = found.seen.get(intent, ()), replace(window, capped=found.capped)
        told: dict[str, Any] = plain(await asyncio.to_thread(effect, change, known, seen, within, said))
        return told

    async def suggest(self, by: Subject | None) -> dict[str, Any]:
        """What was looked at, and what became of each; `by` is who asks, None for a round. Raises AuditError, StateError."""
        await self._keeping.ping()
        if by is not None:
            await self._read("routes", "", by, opened=False)
        before, now_ns = await self._before(), self._clock.now_ns()
        found = await self._considered(before, now_ns)
        if await self._withdrawn(before, found, now_ns):
            before = await self._before()
        resting = {intent for intent, at_ns in before.ended.items() if now_ns - at_ns < self._window_ns}
        done, made = chosen(found, before.open, resting, self._settings.most - len(before.suggested)), list[dict[str, Any]]()
        for each in done:
            if each.why is not None and (lesson := await self._suggested(each, now_ns)) is not None:
                made.append(view(lesson))
        return {"suggested": made, "considered": [_told(each) for each in done]}

    async def round(self) -> None:
        """Once in a while, by one node, and first when that while has passed. A crash after the first step lets one round pass."""
        settings = self._workspace().config.learning
        if settings is None or settings.suggestions is None:
            return
        now_ns = self._clock.now_ns()
        known = await self._keeping.store.get(CURSOR, THE_ONE)
        if known is not None and now_ns - known.at_ns < settings.suggestions.every * NS:
            return
        mark = Lesson(CURSOR, THE_ONE, "", "", now_ns, {}, version=known.version if known is not None else 0)
        if await self._keeping.store.put(mark, [], "", 0) and known is not None:
            await self.suggest(None)

    async def _considered(self, before: _Before, now_ns: int) -> list[Considered]:
        catalog, settings, known = self._workspace().catalog, self._settings, ways(self._workspace().catalog)
        changes = [
            Change(name, intent.route, other) for name, intent in catalog.intents.items() for other in known[intent.route].alternatives
        ]
        if not changes:
            return []
        window, margins = self._window(now_ns), Margins(settings.gain, settings.loss)
        history = await self._trail.routed({each.intent for each in changes}, own_routes(catalog), window, settings.decisions)
        found = []
        for change in changes:
            since_ns = max(window.since_ns, before.changed.get(change.intent, 0))
            seen = [each for each in history.seen.get(change.intent, ()) if each.at_ns >= since_ns]
            judged = history.judged.get(change.intent, Judged())
            within = replace(window, since_ns=since_ns, capped=history.capped)
            found.append(await asyncio.to_thread(consider, change, known, seen, judged, within, margins))
        return found

    async def _suggested(self, one: Considered, now_ns: int) -> Lesson | None:
        """Under an id that follows from what it is about, so that two nodes make one."""
        change, why = one.change, one.why
        about = orjson.dumps([self._workspace().digests.catalog, change.intent, change.after, now_ns // self._window_ns])
        suggestion = sha256(about).hexdigest()[:32]
        return await self._proposals.suggest(suggestion, change.intent, change.after, str(why), plain(one.effect))

    async def _withdrawn(self, before: _Before, found: Sequence[Considered], now_ns: int) -> int:
        """What nobody wanted for as long as its figures were of, and what is not so any more."""
        still = {(each.change.intent, each.change.before, each.change.after) for each in found if each.why_not is not WhyNot.NO_GAIN}
        gone = [each for each in before.suggested if _change(each) not in still or now_ns - each.at_ns > self._window_ns]
        for lesson in gone:
            await self._proposals.withdraw(lesson, OUTDATED)
        return len(gone)

    async def _before(self) -> _Before:
        suggested, opened, ended, changed, after = list[Lesson](), set[str](), dict[str, int](), dict[str, int](), 0
        while page := await self._proposals.page([], after, MANY):
            for _, lesson in page:
                if lesson.terms["type"] != Type.ROUTE:
                    continue
                (intent,) = lesson.terms["intents"]
                if lesson.state == State.SUGGESTED:
                    suggested.append(lesson)
                if lesson.state in (State.SUGGESTED, *OPEN):
                    opened.add(intent)
                    continue
                ended[intent] = max(ended.get(intent, 0), lesson.at_ns)
                steps = [step["at_ns"] for step in lesson.terms["history"] if step["event"] in CHANGED]
                changed[intent] = max(changed.get(intent, 0), *steps, 0)
            after = page[-1][0]
        return _Before(suggested, frozenset(opened), ended, changed)

    async def _asked(
        self, change: Change, known: Mapping[str, Way], window: Window, by: Subject, proposal: str, seconds: int
    ) -> dict[str, tuple[Went, Went]] | None:
        """None where policies are not here to be asked or cannot be read here, as another engine's may be, or of no decision it is known
        what they were told."""
        workspace = self._workspace()
        if not workspace.policies:
            return None
        await self._read("evaluation", proposal, by, opened=True)
        found = await self._trail.policy_inputs(change.intent, window, REPLAYED)
        documents = [orjson.dumps(each) for document in found.values() for each in both(document, change, known)]
        try:
            said = await asked(workspace.policies, workspace.policy_data, documents, seconds) if documents else []
        except RefusedError as error:
            if error.code != UNFIT:
                raise
            log.warning("policy was not asked about another route: %s", error)
            return None
        return {record: (said[2 * place], said[2 * place + 1]) for place, record in enumerate(found)} or None

    async def _read(self, what: str, filters: str, by: Subject, *, opened: bool) -> None:
        key_id, _ = await self._keys.key_for(by.id)
        reading = Reading(what, filters, REPLAYED if opened else None, opened=opened)
        await self._keeping.append([system_entry(EVENT, self._clock.now_ns(), reading.details(key_id))])

    @property
    def _settings(self) -> SuggestionsConfig:
        settings = self._workspace().config.learning
        return (settings.suggestions if settings is not None else None) or SuggestionsConfig()

    @property
    def _window_ns(self) -> int:
        return round(self._settings.window * NS)

    def _window(self, now_ns: int) -> Window:
        return Window(now_ns - self._window_ns, now_ns, self._settings.least)


def _change(suggested: Lesson) -> tuple[str, str, str]:
    told = suggested.terms["effect"]
    return told["intent"], told["from"], told["to"]


def _told(one: Considered) -> dict[str, Any]:
    return {"why": one.why, "why_not": one.why_not, "effect": plain(one.effect)}


def plain(value: Any) -> Any:
    """Rounded, so that what is kept, shown and approved is the same."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value
