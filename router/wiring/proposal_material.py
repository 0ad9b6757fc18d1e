"""What proposals are made of and measured on: opinions, and the texts behind them, whose opening is on record first."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from embeddings.topics import MOST
from router.adaptation import feedback
from router.adaptation.drafting import Correction, Example, corrections, examples, one_line
from router.adaptation.keeping import Keeping
from router.adaptation.proposals import Proposals
from router.adaptation.topics import Unanswered, salient
from router.adaptation.topics import words as words_of
from router.adaptation.wording import shared
from router.audit.questions.reading import EVENT, Reading
from router.audit.records.record import system_entry
from router.config.learning import LearningConfig
from router.decision import Subject
from router.ports import Clock, Lesson, SubjectKeys
from router.stages.signals import SignalDetector
from router.wiring.proposal_trials import read_held_out
from router.wiring.stages import recogniser
from router.workspace import Workspace

MANY = 500
REPLAYED = 500


class Trail(Protocol):
    async def opened(self, decision_ids: Sequence[str]) -> Mapping[str, tuple[str, str | None]]:
        """By decision (key of the one who asked, text); None for a text that can no longer be opened."""

    async def recent(self, most: int, besides: Collection[str]) -> Sequence[str]:
        """Texts of the newest decisions but these."""

    async def unanswered(self, most: int) -> Sequence[tuple[str, str, str]]:
        """(decision, key of the one who asked, text) of the newest decisions that found no intent."""


class Material:
    def __init__(
        self, keeping: Keeping, proposals: Proposals, trail: Trail, keys: SubjectKeys, clock: Clock, workspace: Callable[[], Workspace]
    ) -> None:
        self._keeping = keeping
        self._proposals = proposals
        self._trail = trail
        self._keys = keys
        self._clock = clock
        self._workspace = workspace

    @property
    def settings(self) -> LearningConfig:
        return self._workspace().config.learning or LearningConfig()

    async def corrections(self, intent: str | None) -> tuple[list[Correction], dict[str, int]]:
        """What may be learnt, of one intent or of all, and what is left out."""
        found, left_out = corrections(await self._opinions(), await self._proposals.used(), self._workspace().catalog.intents)
        return [each for each in found if intent is None or each.intent == intent], dict(left_out)

    async def examples(
        self, wanted: Sequence[Correction], left_out: Mapping[str, int], by: Subject
    ) -> tuple[Sequence[Example], dict[str, int]]:
        if not wanted:
            return (), dict(left_out)
        await self.read("learning", f"{len(wanted)} decisions", len(wanted), by)
        opened = await self._trail.opened([each.decision_id for each in wanted])
        known = [each for each in wanted if each.decision_id in opened]
        if missing := len(wanted) - len(known):
            left_out = {**left_out, "unknown": missing}
        wanted = [Correction(each.decision_id, each.intent, opened[each.decision_id][0]) for each in known]
        workspace, settings = self._workspace(), self.settings
        catalog = workspace.catalog
        learnt = [*(text for intent in catalog.intents.values() for text in intent.examples), *catalog.out_of_scope.examples]
        mask = SignalDetector(recogniser=recogniser(workspace)).mask
        texts = {name: text for name, (_, text) in opened.items()}
        drafted = await asyncio.to_thread(examples, wanted, texts, learnt, mask, settings.subjects, settings.examples)
        return drafted.examples, {**left_out, **drafted.left_out}

    async def held_out(self, proposal: Lesson, by: Subject) -> list[tuple[str, str | None]]:
        """The configured file's, and decisions that people agree about and that this proposal is not made of."""
        settings, workspace = self.settings, self._workspace()
        found = await asyncio.to_thread(read_held_out, workspace.path(settings.held_out)) if settings.held_out is not None else []
        agreed = await self._agreed(set(proposal.terms["sources"].values()))
        await self.read("evaluation", proposal.id, len(agreed) + REPLAYED, by)
        opened = await self._trail.opened(list(agreed))
        return [*found, *((text, agreed[name]) for name, (_, text) in opened.items() if text)]

    async def _agreed(self, besides: set[str]) -> dict[str, str | None]:
        by_decision = dict[str, list[Lesson]]()
        for each in await self._opinions():
            by_decision.setdefault(each.about, []).append(each)
        found: dict[str, str | None] = {}
        for decision_id, said in by_decision.items():
            others = [each for each in said if not each.terms["own"]]
            if others and decision_id not in besides and not feedback.disagree(said):
                terms = others[0].terms
                right = terms["classified"] if terms["verdict"] == feedback.Verdict.RIGHT else terms["intent"]
                if right is not None or terms["verdict"] != feedback.Verdict.WRONG:
                    found[decision_id] = right
        return found

    async def recorded(self, proposal: Lesson) -> Sequence[str]:
        """Not those that it is made of: that they would be classified differently is what it is for."""
        return await self._trail.recent(REPLAYED, set(proposal.terms["sources"].values()))

    async def unanswered(self, by: Subject) -> list[Unanswered]:
        """Masked."""
        await self.read("topics", "", MOST, by)
        found = await self._trail.unanswered(MOST)
        mask = SignalDetector(recogniser=recogniser(self._workspace())).mask
        return await asyncio.to_thread(lambda: [Unanswered(name, who, one_line(mask(text))) for name, who, text in found])

    async def text_of_task(self, task: Lesson, by: Subject) -> str | None:
        """Masked, for who labels it. The reading names the task and not the decision, which they must not find by it."""
        await self.read("labelling", task.id, 1, by)
        _, text = (await self._trail.opened([task.about])).get(task.about, ("", None))
        if not text:
            return None
        mask = SignalDetector(recogniser=recogniser(self._workspace())).mask
        return await asyncio.to_thread(mask, text)

    async def told_to_model(self, proposal: Lesson, by: Subject) -> tuple[list[str], list[str]]:
        """(requests, their most telling words): masked once more, and of both only words that as many people used as a topic needs."""
        await self.read("wording", proposal.id, len(proposal.texts), by)
        texts, settings = await self._proposals.texts(proposal), self.settings
        mask = SignalDetector(recogniser=recogniser(self._workspace())).mask
        asked = [Unanswered("", each.key_id, one_line(mask(texts[each.name]))) for each in proposal.texts if each.name in texts]
        return shared([(each.subject, each.text) for each in asked], settings.subjects), list(self.words(asked))

    def words(self, asked: Sequence[Unanswered]) -> tuple[str, ...]:
        """The most telling that as many people used as a topic needs."""
        return salient(asked, Counter(word for each in asked for word in words_of(each.text)), len(asked), self.settings.subjects)

    async def _opinions(self) -> list[Lesson]:
        found, after = list[Lesson](), 0
        while page := await self._keeping.store.page(feedback.KIND, [], after, MANY):
            found += [each for _, each in page]
            after = page[-1][0]
        return found

    async def read(self, what: str, filters: str, rows: int, by: Subject) -> None:
        """That texts are opened is on record before they are."""
        key_id, _ = await self._keys.key_for(by.id)
        reading = Reading(what, filters, rows, opened=True)
        await self._keeping.append([system_entry(EVENT, self._clock.now_ns(), reading.details(key_id))])
