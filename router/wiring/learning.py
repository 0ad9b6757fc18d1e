"""Learning in the control process: opinions on decisions, and what is proposed because of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Protocol, TypeVar

from adapters.kept_lessons import KeptLessons
from adapters.rego.approvals import ApprovalRego
from adapters.sqlite.index import INDEX_FILE, SqliteIndex
from router.acting import actors
from router.adaptation.approving import Approvals
from router.adaptation.feedback import Decided, FeedbackService, Heard, Verdict
from router.adaptation.keeping import ROUND_S, Keeping
from router.adaptation.keeping import Ledger as Appending
from router.adaptation.labelling import LabelService
from router.adaptation.overrides import REASONS, Overrides, Step
from router.adaptation.proposals import Proposals
from router.adaptation.route_effects import Window
from router.adaptation.seeding import KnownAnswers
from router.audit.questions.columns import nanoseconds
from router.audit.questions.conditions import Compare, Some
from router.audit.questions.query import Found, Query, Trail
from router.audit.questions.reader import KeyLookup, LedgerReader, Stored
from router.config.learning import SamplingConfig
from router.control.services import Json, Page
from router.cursors import place_after
from router.decision import Status, Subject
from router.errors import LockgateError, StateError
from router.ports import Clock, Ids
from router.review.people import KeysById
from router.wiring.control_policy import approval_policy
from router.wiring.deciding import Steps
from router.wiring.learned_versions import LearnedVersions, Reloading
from router.wiring.ledger_place import ledger_place
from router.wiring.nodes import lessons_of
from router.wiring.proposal_material import Material
from router.wiring.proposals import ProposalDesk
from router.wiring.reviewers import ReviewerFigures
from router.wiring.route_history import History, history, inputs
from router.wiring.route_suggestions import RouteDesk
from router.wiring.sampling import LabelDesk, Sampler
from router.wiring.watching import QualityDesk, Watch
from router.wiring.wording import make_drafter
from router.workspace import Workspace

T = TypeVar("T")
log = logging.getLogger("lockgate.learning")
ABSTAINED = (Status.OUT_OF_SCOPE, Status.UNDETERMINED, Status.AMBIGUOUS)
LOOKED_AT = 10  # decisions for each text that is looked for: many have none


class Evidence(Protocol):
    @property
    def ledger(self) -> Appending: ...

    @property
    def keys(self) -> KeysById: ...


class LedgerDecisions:
    """Decisions by their ids, from the ledger's files; on a thread."""

    def __init__(self, workspace: Workspace, keys: KeysById) -> None:
        self._keys = keys
        self._place = ledger_place(workspace)
        self._index = workspace.path(workspace.config.state) / INDEX_FILE
        self._thread = ThreadPoolExecutor(1, "learning-decisions")
        self._files: tuple[LedgerReader, SqliteIndex] | None = None

    async def decided(self, decision_id: str) -> Decided | None:
        return await self._run(lambda: self._found(decision_id))

    async def opened(self, decision_ids: Sequence[str]) -> dict[str, tuple[str, str | None]]:
        """By decision (key of the one who asked, text); None for a text that can no longer be opened."""
        keys = self._lookup()
        return await self._run(lambda: self._texts(decision_ids, keys))

    async def size(self) -> int:
        return await self._run(lambda: self._opened()[0].size())

    async def decisions_after(self, record: int, limit: int) -> Sequence[Found]:
        """In the ledger's order, nothing opened."""
        asked = Query(kind="decision")
        return await self._run(lambda: Trail(*self._opened(), None).page(asked, record, limit, newest=False).rows)

    async def steps_after(self, record: int, limit: int) -> Sequence[Step]:
        """Decisions of reviewers, in the ledger's order; those that say something of the intent with who took them."""
        keys = self._lookup()
        return await self._run(lambda: self._steps(record, limit, keys))

    async def recent(self, most: int, besides: Collection[str]) -> list[str]:
        """Texts of the newest decisions but these."""
        keys = self._lookup()
        return await self._run(lambda: self._newest(most, besides, keys))

    async def close(self) -> None:
        await self._run(self._close)
        self._thread.shutdown()

    def _lookup(self) -> KeyLookup:
        """Asked on the thread, answered on the loop, which owns the subjects' keys."""
        loop = asyncio.get_running_loop()
        return lambda key_id: asyncio.run_coroutine_threadsafe(self._keys.key(key_id), loop).result()

    def _texts(self, decision_ids: Sequence[str], keys: KeyLookup) -> dict[str, tuple[str, str | None]]:
        found: dict[str, tuple[str, str | None]] = {}
        for decision_id in decision_ids:
            for each in Trail(*self._opened(), keys).find(Query(kind="decision", decision_id=decision_id), newest=False):
                found[decision_id] = (each.columns["key_id"] or "", (each.personal or {}).get("text"))
                break
        return found

    def _steps(self, record: int, limit: int, keys: KeyLookup) -> list[Step]:
        asked = Query(kind="review", where=Some(tuple(Compare("event", "=", each) for each in REASONS)))
        return [Step(each.index, _heard(each)) for each in Trail(*self._opened(), keys).page(asked, record, limit, newest=False).rows]

    def _newest(self, most: int, besides: Collection[str], keys: KeyLookup) -> list[str]:
        found = list[str]()
        for each in islice(Trail(*self._opened(), keys).find(Query(kind="decision"), newest=True), LOOKED_AT * most):
            if (text := (each.personal or {}).get("text")) and each.leaf["id"] not in besides:
                found.append(text)
            if len(found) == most:
                break
        return found

    async def unanswered(self, most: int) -> list[tuple[str, str, str]]:
        """(decision, key of the one who asked, text) of the newest decisions that found no intent."""
        keys = self._lookup()
        return await self._run(lambda: self._without_intent(most, keys))

    def _without_intent(self, most: int, keys: KeyLookup) -> list[tuple[str, str, str]]:
        found = list[tuple[str, str, str]]()
        for each in islice(Trail(*self._opened(), keys).find(Query(kind="decision"), newest=True), LOOKED_AT * most):
            text = (each.personal or {}).get("text")
            if text and each.leaf["classification"]["status"] in ABSTAINED:
                found.append((each.leaf["id"], each.columns["key_id"] or "", text))
            if len(found) == most:
                break
        return found

    async def routed(self, intents: Collection[str], ruled: Collection[str], window: Window, most: int) -> History:
        return await self._run(lambda: history(*self._opened(), intents, ruled, window, most))

    async def policy_inputs(self, intent: str, window: Window, most: int) -> Mapping[str, Mapping[str, Any]]:
        keys = self._lookup()
        return await self._run(lambda: inputs(Trail(*self._opened(), keys), intent, window, most, LOOKED_AT * most))

    def _opened(self) -> tuple[LedgerReader, SqliteIndex]:
        if self._files is None:
            self._files = self._place.reader(Stored), SqliteIndex(self._index)
        return self._files

    def _found(self, decision_id: str) -> Decided | None:
        for found in Trail(*self._opened(), None).find(Query(kind="decision", decision_id=decision_id), newest=False):
            return Decided(decision_id, found.index, found.columns["key_id"] or "", found.leaf)
        return None

    def _close(self) -> None:
        for each in self._files or ():
            each.close()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _heard(found: Found) -> Heard | None:
    details, actor = found.leaf.get("details") or {}, (found.personal or {}).get("reviewer")
    if "opinion" not in details or not actor:
        return None
    event, by = found.leaf["event"], details.get("opinion_by", "")
    at_ns, key_id = nanoseconds(found.leaf["time"]), found.columns["key_id"] or ""
    return Heard(found.leaf["id"], at_ns, Verdict(details["opinion"]), details.get("opinion_intent"), REASONS[event], by, key_id, actor)


class LearningDesk:
    """Implements the control API's port."""

    def __init__(self, feedback: FeedbackService, proposals: ProposalDesk, hears_reviews: Callable[[], bool] = lambda: True) -> None:
        self._feedback = feedback
        self._hears_reviews = hears_reviews
        self.proposals = proposals

    def hears_reviews(self) -> bool:
        return self._hears_reviews()

    async def say(self, decision_id: str, said: Mapping[str, str], by: Subject) -> Json:
        return await self._feedback.say(decision_id, said, by)

    async def opinions(self, decision_id: str) -> Json:
        return await self._feedback.opinions(decision_id)

    async def feedback(self, verdict: str | None, cursor: str | None, limit: int) -> Page:
        found, following = await self._feedback.page(verdict, place_after(cursor) or 0, limit)
        return Page(found, None if following is None else str(following))


class Learning:
    """`reloading` serves the workspace; until it is there, there is nothing to ask for. `reviews`: what is told of how people decide."""

    def __init__(self, workspace: Workspace, store: KeptLessons, evidence: Evidence, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._decisions = LedgerDecisions(workspace, evidence.keys)
        self._workspace = workspace
        self._reloading: Reloading | None = None
        self.keeping = Keeping(store, evidence.ledger, clock, ids.new())
        keys = evidence.keys
        feedback = FeedbackService(self.keeping, self._decisions, keys, clock, lambda: self._current.catalog.intents)
        self._approval_policy = (workspace, approval_policy(workspace))
        self._approvals = Approvals(keys, clock, self._policy, actors)
        proposals = Proposals(self.keeping, keys, clock, ids, lambda: self._current.digests.catalog, self._approvals)
        versions = LearnedVersions(self.keeping, clock, self._serving)
        material = Material(self.keeping, proposals, self._decisions, keys, clock, lambda: self._current)
        self._routes = RouteDesk(self.keeping, proposals, self._decisions, keys, clock, lambda: self._current)
        self._desk = ProposalDesk(proposals, self.keeping, material, self._routes, versions, self._serving, make_drafter(workspace, clock))
        self.api = LearningDesk(feedback, self._desk, self._from_reviews)
        self._overrides = Overrides(self.keeping, self._decisions, feedback, clock, self._from_reviews)
        known = KnownAnswers(self.keeping, self._decisions, keys, clock, lambda: self._current.catalog.intents)
        self._sampler = Sampler(self.keeping, self._decisions, keys, clock, self._sampling, known)
        labelling = LabelService(
            self.keeping, feedback, keys, clock, lambda: self._current.catalog.intents, self._claim_s, material.text_of_task
        )
        self.reviews: Steps | None = None
        figures = ReviewerFigures(self.keeping, keys, clock, self._quick_s, lambda: self.reviews)
        self.labels = LabelDesk(labelling, self._sampler, known, figures, self._intents)
        self.watch = Watch(store, clock, lambda: self._current.config.learning)
        self.quality = QualityDesk(self.watch)

    def serve(self, reloading: Reloading) -> None:
        self._reloading = reloading

    async def forget(self, key_id: str) -> None:
        """What was learnt of somebody whose key was destroyed and is not rolled out. Raises AuditError, StateError."""
        await self._desk.forget(key_id)

    async def keep(self) -> None:
        """For as long as it runs: records what waits, and brings this node's file to what is in force."""
        while True:
            try:
                await self.keeping.record()
                await self._desk.reconcile()
                await self._overrides.round()
                await self._sampler.round()
                await self.watch.round()
                await self._routes.round()
            except LockgateError as error:
                log.error("what was learnt is not up to date: %s", error)
            except Exception:  # the rounds must go on
                log.exception("keeping up with what was learnt failed in a way that nobody foresaw")
            await asyncio.sleep(ROUND_S)

    async def close(self) -> None:
        await self._desk.close()
        await self._decisions.close()
        await self._store.close()

    @property
    def _current(self) -> Workspace:
        return self._workspace if self._reloading is None else self._reloading.workspace

    def _policy(self) -> ApprovalRego:
        """Of the workspace that serves. Raises ConfigError where its own rules are none: then nobody approves."""
        current = self._current
        if self._approval_policy[0] is not current:
            self._approval_policy = (current, approval_policy(current))
        return self._approval_policy[1]

    def _from_reviews(self) -> bool:
        settings = self._current.config.learning
        return settings is not None and settings.from_reviews

    def _sampling(self) -> SamplingConfig | None:
        settings = self._current.config.learning
        return None if settings is None else settings.sampling

    def _claim_s(self) -> float:
        return (self._sampling() or SamplingConfig()).claim

    def _quick_s(self) -> float:
        return (self._sampling() or SamplingConfig()).quick

    def _intents(self) -> dict[str, str]:
        return {name: intent.description for name, intent in self._current.catalog.intents.items()}

    def _serving(self) -> Reloading:
        if self._reloading is None:
            raise StateError("Lockgate does not serve yet.", "learning_store_closed")
        return self._reloading


async def open_learning(workspace: Workspace, evidence: Evidence, clock: Clock, ids: Ids) -> Learning | None:
    """None where nobody wants it. Raises ConfigError, StateError."""
    if workspace.config.learning is None:
        return None
    store = lessons_of(workspace)
    try:
        await store.open()
    except BaseException:
        await store.close()
        raise
    return Learning(workspace, store, evidence, clock, ids)
