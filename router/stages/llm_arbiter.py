"""The language model as arbiter: asked about what the encoder left open, believed as far as it was measured."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256

from router.decision import Classification
from router.errors import ClassifierError
from router.ports import Chat, SharedAnswers
from router.stages.llm_calibration import LlmCalibration, merge
from router.stages.llm_choice import MOST_CANDIDATES, Described, ask, choice_of

MOST_CHARACTERS = 2_000  # of normalised text: one long text must not spend what all others may
UNSURE = frozenset({"margin_too_small", "confidence_too_low", "several_plausible", "too_many_plausible"})

Key = tuple[bytes, tuple[str, ...], str]


@dataclass(frozen=True, slots=True)
class Choice:
    """A valid answer and the version that gave it."""

    intent: str | None
    model: str
    cached: bool = False


class LlmArbiter:
    """A model that may change nothing is not asked: it would cost time, money and the text's privacy for nothing.

    `allowed` are the intents whose routes permit it: a text is sent only where the encoder's first candidate is one of them, and only
    one of them may be chosen. `mask` makes of a text what may leave this process; where it fails, nothing does.
    """

    name = "llm"

    def __init__(
        self,
        chat: Chat,
        described: Mapping[str, Described],
        calibration: LlmCalibration | None,
        *,
        allowed: frozenset[str],
        mask: Callable[[str], str],
        prompt_digest: str,
        catalog_digest: str,
        candidates: int = MOST_CANDIDATES,
        asked_about: frozenset[str] = UNSURE,
        cache_size: int = 0,
        shared: SharedAnswers | None = None,
    ) -> None:
        self._chat = chat
        self._described = described
        fits = calibration is not None and (calibration.prompt_digest, calibration.catalog_digest) == (prompt_digest, catalog_digest)
        self._calibration = calibration if fits else None
        self._prompt_digest = prompt_digest
        self._most = min(candidates, MOST_CANDIDATES)
        self._allowed = allowed
        self._mask = mask
        self._asked_about = asked_about
        self._cache: OrderedDict[Key, Choice] = OrderedDict()
        self._cache_size = cache_size
        self._shared = shared
        self._about = f"{prompt_digest} {catalog_digest} {calibration.digest if calibration is not None else ''}"

    def asks(self, judged: Classification) -> bool:
        return judged.reason in self._asked_about and bool(judged.candidates) and judged.candidates[0].intent in self._allowed

    async def arbitrate(self, text: str, scored: Classification) -> Classification:
        calibration = self._calibration
        if calibration is None:
            raise ClassifierError("there is no calibration for this prompt and this catalog", "llm_uncalibrated")
        if not calibration.may_override:
            raise ClassifierError("the model was not found to be a gain", "llm_no_gain")
        choice = await self.choose(text, scored)
        return replace(merge(scored, choice.intent, choice.model, calibration), cached=choice.cached)

    async def choose(self, text: str, scored: Classification) -> Choice:
        """The model's choice, whatever it is worth. Raises ClassifierError."""
        offered = [self._described[each.intent] for each in scored.candidates[: self._most] if each.intent in self._described]
        choice = await self._ask(text, offered)
        if choice.intent is not None and choice.intent not in self._allowed:
            raise ClassifierError("the route of the chosen intent does not allow a language model to choose it", "llm_not_allowed")
        return choice

    async def _ask(self, text: str, offered: list[Described]) -> Choice:
        """Only valid answers are remembered. `text` is masked here."""
        if len(text) > MOST_CHARACTERS:
            raise ClassifierError("the text is longer than what a language model is asked about", "llm_text_long")
        shown = self._mask(text)
        key = (sha256(shown.encode("utf-8", "surrogatepass")).digest(), tuple(each.intent for each in offered), self._prompt_digest)
        remembered = self._cache.get(key)
        if remembered is not None:
            self._cache.move_to_end(key)
            return remembered
        choice = await self._elsewhere(key) or await self._chosen(shown, offered, key)
        if self._cache_size > 0:
            self._cache[key] = replace(choice, cached=True)
            if len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        return choice

    async def _chosen(self, shown: str, offered: list[Described], key: Key) -> Choice:
        question = ask(shown, offered)
        completion = await self._chat.complete(question.system, question.user, question.schema)
        choice = Choice(choice_of(question, completion.text), completion.model)
        if self._shared is not None:
            self._shared.put(self.name, self._digest(key), json.dumps([choice.intent, choice.model]).encode())
        return choice

    async def _elsewhere(self, key: Key) -> Choice | None:
        """What another node was answered to the same question. It is held to what was offered as a model's own answer is."""
        kept = await self._shared.get(self.name, self._digest(key)) if self._shared is not None else None
        try:
            intent, model = json.loads(kept) if kept is not None else (None, "")
        except (ValueError, TypeError):
            return None
        if not isinstance(model, str) or not model or (intent is not None and intent not in key[1]):
            return None
        return Choice(intent, model, cached=True)

    def _digest(self, key: Key) -> bytes:
        return sha256(json.dumps([self._about, key[0].hex(), *key[1:]]).encode()).digest()
