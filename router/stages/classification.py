"""From text to intent: the cascade of tiers, and the thresholds that turn a tier's scores into an answer or an abstention."""

from __future__ import annotations

import asyncio
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from router.decision import UNDETERMINED_LANGUAGE, Candidate, Classification, EarlierTier, Language, Request, RuleMatch, Status, Turn
from router.errors import ClassifierError
from router.ports import Arbiter, Clock, Tier
from router.stages.clauses import clauses
from router.stages.conversation import chosen, continued
from router.stages.courtesy import without_courtesies
from router.stages.negation import negations

_KEPT_CHARS = 256
KEPT_CANDIDATES = 3  # of a tier that did not decide; each decision has them on record
MOST_ASKED = 3  # more than so many plausible intents are no question that anybody could answer
# Circumstances stand in clauses of their own, and are about the same things as requests: a clause must be plainer than a text.
LEAST_CLAUSE_SCOPE = 0.7
NEGATED = "negated"  # the text says what is not to be done
SEVERAL_INTENTS = "several_intents"  # it asks for more than one thing
IN_CONVERSATION = "in_conversation"
NO_TEXT = "no_text"  # no rule matched, and there is nothing to classify
LANGUAGE_UNKNOWN = "language_unknown_to_encoder"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Calibrated probability, top-two margin and in-scope probability that an answer must reach; all in 0..1. `negated`: what a text may
    say is not to be done and mean the intent all the same. `max_error`: the stated risk that `confidence` was chosen for, if one was."""

    confidence: float
    margin: float
    scope: float
    negated: frozenset[str] = frozenset()
    max_error: float | None = None

    def judge(self, scored: Classification) -> Classification:
        """A tier's scores as an answer. A number that is missing or no probability never passes; nor does, however sure it is, an answer
        beside which another one is plausible. A tier without prediction sets stands by its one intent."""
        if scored.status is not Status.CLASSIFIED:
            return replace(scored, threshold=self.confidence)
        plausible = scored.prediction_set or ((scored.intent,) if scored.intent else ())
        if not _reaches(scored.scope, self.scope):
            return self._abstained(scored, Status.OUT_OF_SCOPE, "out_of_scope", ())
        if len(plausible) > MOST_ASKED:
            return self._abstained(scored, Status.UNDETERMINED, "too_many_plausible", plausible)
        if len(plausible) > 1:
            return self._abstained(scored, Status.AMBIGUOUS, "several_plausible", plausible)
        if not _reaches(scored.margin, self.margin):
            return self._abstained(scored, Status.AMBIGUOUS, "margin_too_small", tuple(each.intent for each in scored.candidates[:2]))
        if not _reaches(scored.confidence, self.confidence):
            return self._abstained(scored, Status.UNDETERMINED, "confidence_too_low", plausible)
        return replace(scored, threshold=self.confidence, prediction_set=plausible)

    def _abstained(self, scored: Classification, status: Status, reason: str, plausible: tuple[str, ...]) -> Classification:
        return replace(scored, status=status, intent=None, threshold=self.confidence, prediction_set=plausible, reason=reason)

    def settle(self, answer: Classification) -> Classification:
        """An arbiter's answer, accepted or UNDETERMINED. All its answers of a kind have one confidence, so that a stated risk is kept only
        where each of them keeps it: what an encoder's higher scores make up for, nothing makes up for here."""
        least = self.confidence if self.max_error is None else max(self.confidence, 1.0 - self.max_error)
        if not _reaches(answer.confidence, least):
            return replace(answer, status=Status.UNDETERMINED, intent=None, threshold=least)
        return replace(answer, threshold=least, prediction_set=(answer.intent,) if answer.intent else ())


def _reaches(value: float | None, least: float) -> bool:
    return value is not None and least <= value <= 1.0


class Cascade:
    """Asks the tiers in order until one stands by an answer. Answers are cached by normalised text, scores and not verdicts, so that
    thresholds apply afresh. Everything that goes wrong with a tier is `unavailable`; what goes wrong with the arbiter leaves the abstention
    as it was, with another reason. `languages`: what the tiers know, None for any; confidence was calibrated on texts in these, so that
    there is none for a text in another. `in_passages`: of which texts the tiers look at each sentence themselves."""

    def __init__(
        self,
        tiers: Sequence[Tier],
        default: Thresholds,
        by_intent: Mapping[str, Thresholds],
        *,
        catalog_digest: str,
        deadline_s: float,
        cache_size: int,
        clock: Clock,
        languages: Collection[str] | None = None,
        arbiter: Arbiter | None = None,
        in_passages: Callable[[str], bool] = lambda text: False,
    ) -> None:
        self._tiers = tuple(tiers)
        self._arbiter = arbiter
        self._in_passages = in_passages
        self._languages = None if languages is None else frozenset({UNDETERMINED_LANGUAGE.code, *languages})
        self._default = default
        self._by_intent = by_intent
        self._catalog_digest = catalog_digest
        self._deadline = deadline_s
        self._clock = clock
        self._cache: OrderedDict[str | bytes, Classification] = OrderedDict()
        self._cache_size = cache_size

    async def classify(
        self, request: Request, rule: RuleMatch | None, undecided: bool, language: Language = UNDETERMINED_LANGUAGE
    ) -> Classification:
        """`rule` is the deterministic answer if there was one; `undecided` says that a rule could not be judged."""
        body = request.body
        if rule is not None:
            return self._by_rule(rule)
        if body.problem is not None:
            return self._none(Status.UNDETERMINED, body.problem)
        if body.truncated:
            return self._none(Status.UNDETERMINED, "body_truncated")
        if undecided:
            return self._none(Status.UNDETERMINED, "rule_undecided")
        text = normalise(body.text or "")
        if not text:
            return self._none(Status.UNDETERMINED, NO_TEXT)
        if self._languages is not None and language.code not in self._languages:
            return self._none(Status.UNDETERMINED, LANGUAGE_UNKNOWN)
        if request.earlier and (chose := chosen(text, request.earlier)) in self._by_intent:
            return self._by_choice(str(chose))
        scored, judged = await self.tiers_say(text)
        if request.earlier and judged.status is not Status.CLASSIFIED:
            judged = await self._continuing(text, request.earlier, judged)
            if judged.status is Status.CLASSIFIED:
                return judged
        if self._arbiter is None or not self._arbiter.asks(judged):
            return judged
        return await self._arbitrated(self._arbiter, text, scored, judged)

    async def _continuing(self, text: str, earlier: Sequence[Turn], alone: Classification) -> Classification:
        """More of what was accepted before, where the two together are accepted as that; else as it was alone. Cached by both together."""
        following = continued(text, earlier) if alone.reason != NEGATED and not negations(text) else None
        if following is None:
            return alone
        _, judged = await self.tiers_say(following[0])
        if judged.status is Status.CLASSIFIED and judged.intent == following[1]:
            return replace(judged, reason=IN_CONVERSATION)
        return alone

    async def tiers_say(self, text: str) -> tuple[Classification, Classification]:
        """The tiers' scores of a normalised text, and what the thresholds make of them; the arbiter is not asked."""
        scored = await self._scored(text)
        return scored, self._judge(scored)

    async def _scored(self, text: str) -> Classification:
        key = _key(text)
        cached = self._cache.get(key)
        if cached is not None:
            self._cache.move_to_end(key)
            return cached
        try:
            async with asyncio.timeout(self._deadline):
                scored = await self._ask(text)
        except ClassifierError as error:
            return self._none(Status.UNAVAILABLE, error.code)
        except TimeoutError:
            return self._none(Status.UNAVAILABLE, "classifier_late")
        except Exception:  # noqa: BLE001  # any failure of a tier is `unavailable`, never an answer
            return self._none(Status.UNAVAILABLE, "classifier_failed")
        scored = replace(scored, catalog_digest=self._catalog_digest)
        self._remember(key, scored)
        return scored

    async def _ask(self, text: str) -> Classification:
        """What is said of the text as a whole, unless its clauses say otherwise."""
        whole = self._unless_negated(text, await self._first(without_courtesies(text)))
        parts = () if self._in_passages(text) else clauses(text)
        return await self._unless_several(whole, parts) if parts else whole

    async def _unless_several(self, whole: Classification, parts: Sequence[str]) -> Classification:
        """One request is dispatched once: where the whole or clauses are accepted as different intents, the caller is asked for one."""
        if whole.reason == NEGATED:
            return whole
        found = [self._unless_negated(part, await self._first(without_courtesies(part))) for part in parts]
        sure = [whole, *[each for each in found if _reaches(each.scope, LEAST_CLAUSE_SCOPE)]]
        judged = (self._judge(each) for each in sure)
        intents = tuple(dict.fromkeys(each.intent for each in judged if each.status is Status.CLASSIFIED and each.intent is not None))
        if len(intents) < 2:
            return whole
        return replace(whole, status=Status.AMBIGUOUS, intent=None, prediction_set=intents, reason=SEVERAL_INTENTS)

    def _unless_negated(self, text: str, scored: Classification) -> Classification:
        """Vectors hardly tell "cancel it" from "don't cancel it"."""
        if self._judge(scored).status is not Status.CLASSIFIED:
            return scored
        allowed = self._by_intent[str(scored.intent)].negated
        if allowed.issuperset(negations(text)):
            return scored
        return replace(scored, status=Status.UNDETERMINED, intent=None, reason=NEGATED)

    async def _first(self, text: str) -> Classification:
        """The first tier's answer that is accepted, else the last one's; with what those before it held likeliest."""
        if not self._tiers:
            raise ClassifierError("no classification tier is configured", "classifier_missing")
        earlier: tuple[EarlierTier, ...] = ()
        for tier in self._tiers[:-1]:
            scored = _after(earlier, await _answer(tier, text))
            judged = self._judge(scored)
            if judged.status is Status.CLASSIFIED:
                return scored
            earlier += (_passed(tier.name, scored, judged),)
        return _after(earlier, await _answer(self._tiers[-1], text))

    def _judge(self, scored: Classification) -> Classification:
        if (scored.intent is not None or scored.status is Status.CLASSIFIED) and scored.intent not in self._by_intent:
            return self._none(Status.UNAVAILABLE, "intent_unknown")
        thresholds = self._by_intent.get(scored.intent, self._default) if scored.intent is not None else self._default
        return thresholds.judge(scored)

    async def _arbitrated(self, arbiter: Arbiter, text: str, scored: Classification, judged: Classification) -> Classification:
        """Outside of the tiers' deadline and after their answer is remembered: nothing that happens here can lose it."""
        began = self._clock.monotonic_ns()
        try:
            answer = self._settle(await arbiter.arbitrate(text, scored), scored, text)
            answer = _after((*scored.earlier_tiers, _passed(scored.tier, scored, judged)), answer)
        except ClassifierError as error:
            answer = replace(judged, reason=error.code)
        except TimeoutError:
            answer = replace(judged, reason="llm_late")
        except Exception:  # noqa: BLE001  # a failing arbiter must not cost what the tiers found
            answer = replace(judged, reason="llm_failed")
        return replace(answer, stages_ns=(*judged.stages_ns, (arbiter.name, self._clock.monotonic_ns() - began)))

    def _settle(self, answer: object, scored: Classification, text: str) -> Classification:
        if isinstance(answer, Classification) and answer.status is Status.OUT_OF_SCOPE and answer.intent is None:
            return replace(answer, threshold=self._default.confidence, prediction_set=(), catalog_digest=self._catalog_digest)
        offered = {candidate.intent for candidate in scored.candidates}
        if not isinstance(answer, Classification) or answer.status is not Status.CLASSIFIED or answer.intent not in offered:
            raise ClassifierError("the arbiter answered with something that it was not offered", "llm_malformed")
        thresholds = self._by_intent.get(answer.intent)
        if thresholds is None:
            raise ClassifierError("the arbiter named an intent that the catalog does not have", "intent_unknown")
        if not thresholds.negated.issuperset(negations(text)):
            raise ClassifierError("the text says what is not to be done, and the arbiter chose an intent all the same", NEGATED)
        settled = thresholds.settle(answer)
        if settled.status is not Status.CLASSIFIED:
            raise ClassifierError("the arbiter's answer is not sure enough for this intent", "llm_confidence_too_low")
        return replace(settled, catalog_digest=self._catalog_digest)

    def _remember(self, key: str | bytes, scored: Classification) -> None:
        if self._cache_size <= 0 or scored.status is Status.UNAVAILABLE:
            return
        self._cache[key] = replace(scored, cached=True, stages_ns=())
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)

    def _by_rule(self, rule: RuleMatch) -> Classification:
        digest = self._catalog_digest
        if rule.intent is None:
            return Classification(Status.SKIPPED, tier="rule", rule=rule, reason="rule", catalog_digest=digest)
        only = (Candidate(rule.intent, 1.0, 1.0),)
        return Classification(
            Status.CLASSIFIED,
            rule.intent,
            1.0,
            1.0,
            1.0,
            0.0,
            only,
            (rule.intent,),
            "rule",
            "rule",
            rule,
            catalog_digest=digest,
            novelty=0.0,
        )

    def _by_choice(self, intent: str) -> Classification:
        """Its sender was offered it, and took it: as certain as a rule."""
        only, digest = (Candidate(intent, 1.0, 1.0),), self._catalog_digest
        return Classification(
            Status.CLASSIFIED,
            intent,
            1.0,
            1.0,
            1.0,
            0.0,
            only,
            (intent,),
            "conversation",
            IN_CONVERSATION,
            catalog_digest=digest,
            novelty=0.0,
        )

    def _none(self, status: Status, reason: str) -> Classification:
        return Classification(status, reason=reason, catalog_digest=self._catalog_digest)


def _key(text: str) -> str | bytes:
    """Ten thousand of the longest texts would be hundreds of megabytes, which callers could fill at will."""
    return text if len(text) <= _KEPT_CHARS else sha256(text.encode("utf-8", "surrogatepass")).digest()


def _passed(tier: str, scored: Classification, judged: Classification) -> EarlierTier:
    """A tier that abstained by itself did so by a threshold of its own."""
    least = judged.threshold if scored.status is Status.CLASSIFIED else scored.threshold
    likeliest = scored.candidates[:KEPT_CANDIDATES]
    intent = likeliest[0].intent if likeliest else None
    return EarlierTier(tier, intent, judged.reason, scored.confidence, least, scored.margin, scored.scope, likeliest)


def _after(earlier: tuple[EarlierTier, ...], scored: Classification) -> Classification:
    return replace(scored, earlier_tiers=earlier) if earlier else scored


async def _answer(tier: Tier, text: str) -> Classification:
    answer: object = await tier.classify(text)
    if not isinstance(answer, Classification):
        raise ClassifierError(f"the tier '{tier.name}' answered with something that is no classification", "classifier_malformed")
    return answer


_INVISIBLE = {"Cf", "Cc", "Cs", "Co", "Cn"}


def normalise(text: str) -> str:
    """NFKC, without control, bidirectional and zero-width characters, white space folded: what cannot be seen cannot sway the answer."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    folded = unicodedata.normalize("NFKC", text)
    return " ".join("".join(" " if c.isspace() else c for c in folded if c.isspace() or unicodedata.category(c) not in _INVISIBLE).split())
