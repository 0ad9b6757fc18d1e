"""Learning in the control process: opinions on decisions, and what is proposed because of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from adapters.kept_lessons import KeptLessons
from adapters.sqlite.index import INDEX_FILE, SqliteIndex
from router.adaptation.feedback import Decided, FeedbackService
from router.adaptation.keeping import Keeping
from router.adaptation.keeping import Ledger as Appending
from router.audit.questions.query import Query, Trail
from router.audit.questions.reader import LedgerReader, Stored
from router.control.services import Json, Page
from router.decision import Subject
from router.errors import RefusedError
from router.ports import Clock, Ids
from router.review.people import KeysById
from router.wiring.ledger_place import ledger_place
from router.wiring.nodes import lessons_of
from router.workspace import Workspace

T = TypeVar("T")
DIGITS = 18


class Evidence(Protocol):
    @property
    def ledger(self) -> Appending: ...

    @property
    def keys(self) -> KeysById: ...


class LedgerDecisions:
    """Decisions by their ids, from the ledger's files; on a thread. Nothing of them is opened."""

    def __init__(self, workspace: Workspace) -> None:
        self._place = ledger_place(workspace)
        self._index = workspace.path(workspace.config.state) / INDEX_FILE
        self._thread = ThreadPoolExecutor(1, "learning-decisions")
        self._files: tuple[LedgerReader, SqliteIndex] | None = None

    async def decided(self, decision_id: str) -> Decided | None:
        return await self._run(lambda: self._found(decision_id))

    async def close(self) -> None:
        await self._run(self._close)
        self._thread.shutdown()

    def _found(self, decision_id: str) -> Decided | None:
        if self._files is None:
            self._files = self._place.reader(Stored), SqliteIndex(self._index)
        for found in Trail(*self._files, None).find(Query(kind="decision", decision_id=decision_id), newest=False):
            return Decided(decision_id, found.index, found.columns["key_id"] or "", found.leaf)
        return None

    def _close(self) -> None:
        for each in self._files or ():
            each.close()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class LearningDesk:
    """Implements the control API's port."""

    def __init__(self, feedback: FeedbackService) -> None:
        self._feedback = feedback

    async def say(self, decision_id: str, said: Mapping[str, str], by: Subject) -> Json:
        return await self._feedback.say(decision_id, said, by)

    async def opinions(self, decision_id: str) -> Json:
        return await self._feedback.opinions(decision_id)

    async def feedback(self, verdict: str | None, cursor: str | None, limit: int) -> Page:
        found, following = await self._feedback.page(verdict, place(cursor), limit)
        return Page(found, None if following is None else str(following))


class Learning:
    def __init__(self, workspace: Workspace, store: KeptLessons, evidence: Evidence, clock: Clock, owner: str) -> None:
        self._store = store
        self._decisions = LedgerDecisions(workspace)
        self.workspace: Callable[[], Workspace] = lambda: workspace
        self.keeping = Keeping(store, evidence.ledger, clock, owner)
        feedback = FeedbackService(self.keeping, self._decisions, evidence.keys, clock, lambda: self.workspace().catalog.intents)
        self.api = LearningDesk(feedback)

    async def keep(self, workspace: Callable[[], Workspace]) -> None:
        """For as long as it runs. `workspace` gives the one in force."""
        self.workspace = workspace
        await self.keeping.keep_recording()

    async def close(self) -> None:
        await self._decisions.close()
        await self._store.close()


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
    return Learning(workspace, store, evidence, clock, ids.new())


def place(cursor: str | None) -> int:
    """Raises RefusedError."""
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) <= DIGITS):
        raise RefusedError("The cursor is not one that this API gave.", "request_invalid", 400)
    return int(cursor or 0)
